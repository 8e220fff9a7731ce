"""What kind of failure a failing record is.

The row's own error type or code decides where it has one; else the admin's patterns, then the
words of its text. Rate limits come first, because systems wrap a 429 in "500: … rate limit exceeded".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from notifyd.core.rules import Pattern, Rules
from notifyd.model import EventType, Record


@dataclass(frozen=True, slots=True)
class Failure:
    """A classified failure. `auth` means that credentials are to be looked at, not the data."""

    event_type: EventType
    error_type: str
    auth: bool = False


def _status(code: str) -> str:
    """An HTTP status among other words. A number that says no more of itself may be an order's, or count rows."""
    return (
        rf"(?:http/?[\d.]*\s*|status(?:\s*code)?\W*|(?:error|response)[ _-]?code\W*|\bcode\s*[:=]\s*){code}\b"
        rf"|\({code}\s*[):;,-]|(?:error|answered)\W*{code}\b(?!\s*\w)|(?:^|[:,]\s*){code}\s*(?:[:-]|$)"
    )


# What is looked for in a text, each by an example of itself: config/README.md lists them.

RATE_LIMIT_WORDS = {
    "rate limit": r"rate.?limit",
    "too many requests": r"too many requests",
    "HTTP 429": _status("429"),
    "throttled": r"\bthrottl(?:ed|ing)|\b(?:api|requests?) throttle",
    # A full disk or mailbox is none: that must not be a mere warning.
    "API quota": r"\b(?:api|requests?|rate|calls?|quer(?:y|ies))\b.{0,40}\b(?<!disk )(?<!mailbox )(?<!storage )quota\b"
    r"|(?<!disk )(?<!mailbox )(?<!storage )\bquota\b.{0,40}\b(?:api|requests?|rate|calls?|quer(?:y|ies))\b",
}

CONNECTION_WORDS = {
    "connection refused": r"connection (?:\w+ ){0,2}(?:refused|reset|aborted|closed|timed out|lost|failed)"
    r"|refused the connection|closed (?:the )?connection",
    "could not connect": r"failed to connect|could ?n[o']t connect|cannot connect",
    "broken pipe": r"broken pipe|socket hang up|\beof (?:occurred|detected|while)\b",
    "timed out": r"timed? ?out|timeout",
    "unreachable": r"unreachable|no route to host",
    "DNS": r"\bdns\b|name resolution|name or service not known|nodename nor servname|could not resolve",
    "TLS": r"\b(?:tls|ssl)\b|handshake",
    "certificate has expired": r"certificate.{0,10}(?:expired|revoked|invalid|not (?:yet )?valid|not trusted|verif)"
    r"|\b(?:self.?signed|issuer|server|peer|client|verify)\b.{0,10}certificate|certificate signed by|\bx509\b",
    "error sending request": r"error sending request|network error",
    "ECONNREFUSED": r"\b(?:econnrefused|econnreset|etimedout|enotfound|ehostunreach|enetunreach|eai_again|epipe)\b",
}

AUTH_WORDS = {
    "HTTP 401": _status("40[13]"),
    "unauthorized": r"unauthori[sz]ed|forbidden|access denied|permission denied",
    "invalid credentials": r"(?:invalid|bad|wrong|incorrect)\b.{0,30}"
    r"\b(?:credentials?|token|api.?key|signature|password)",
    "expired token": r"(?:credentials?|api.?key|token)\b.{0,30}\b(?:not found|missing|expired|revoked|invalid)"
    r"|expired token",
    "login failed": r"\b(?:log|sign).?(?:in|on) (?:failed|denied|incorrect|required)|failed to (?:log|sign).?in"
    r"|authenticat",
}


def _any(words: Mapping[str, str]) -> re.Pattern[str]:
    return re.compile("|".join(words.values()), re.IGNORECASE)


RATE_LIMIT, CONNECTION, AUTH = _any(RATE_LIMIT_WORDS), _any(CONNECTION_WORDS), _any(AUTH_WORDS)

# "WooCommerce API error (503 Service Unavailable)": the other side answered, so the connection is fine. So it is where
# a database made somebody wait for too long.
ANSWERED = re.compile(
    r"(?:api error|http(?: error)?|status(?: code)?|responded with)\W{0,3}[45]\d\d\b"
    r"|\block(?:s|ed)?\b.{0,40}time(?:d )?.?out|time(?:d )?.?out.{0,40}\block(?:s|ed)?\b|\bstatement time.?out",
    re.IGNORECASE,
)

# A sync that finds another one at work has not failed, where it says so and nothing else: "Backup failed: another
# operation is already in progress" has.
NOT_A_FAILURE = re.compile(
    r"(?!.*\b(?:fail|error|abort|lost))\s*(?:(?:an?|the|this|another)\s+)?(?:[\w-]+\s+){0,2}"
    r"(?:sync\w*|run|job|task|import|export)\s+(?:is\s+|was\s+)?already\s+(?:running|in\s+progress)"
    r"(?:\s+(?:for|in|on|by|since|at)\s[^:;\n]*|\W{1,3}skipp(?:ed|ing)\b[^:;\n]*)?[.!]?\s*",
    re.IGNORECASE,
)

_TYPE_WORDS: tuple[tuple[re.Pattern[str], EventType, bool], ...] = (
    (
        re.compile(
            r"rate.?limit|throttl(?:ed|ing)|^throttle$|throttle.?(?:error|exception)|too.?many.?requests|^429$"
            r"|(?<!disk)(?<!disk.)(?<!mailbox)(?<!mailbox.)(?<!storage)(?<!storage.)quota",
            re.IGNORECASE,
        ),
        EventType.RATE_LIMIT,
        False,
    ),
    (
        re.compile(
            r"^(?!.*lock).*time.?d?.?out|connect(?!or)|network|unreachable|\bdns\b|tls|ssl|^econn|^etimedout|^enotfound"
            r"|^eai_",
            re.IGNORECASE,
        ),
        EventType.CONNECTION_FAILURE,
        False,
    ),
    (re.compile(r"auth|credential|token|forbidden|access.?denied|^40[13]$", re.IGNORECASE), EventType.SYNC_ERROR, True),
)

# Words that a system writes for every failure; they say nothing, so the text is asked.
_SAYS_NOTHING = re.compile(
    r"(?:sync|api|http|unknown|internal|server|general|runtime|request)?[ _-]?"
    r"(?:error|failure|exception|failed)|unknown|other|none",
    re.IGNORECASE,
)

_DEFAULT_ERROR_TYPE = {EventType.SYNC_ERROR: "sync_failure"}


def classify(record: Record, rules: Rules) -> Failure | None:
    """The kind of a failing record; None if its text says that it is no failure at all."""
    text = record.message or ""
    for pattern in rules.patterns:
        if _applies(pattern, record, text):
            return _failure(pattern.event_type, pattern.error_type or record.error_type) if pattern.event_type else None
    if own := _by_own_word(record):
        return own
    if NOT_A_FAILURE.fullmatch(text):
        return None
    return _by_text(text, record.error_type)


def _applies(pattern: Pattern, record: Record, text: str) -> bool:
    return pattern.connector in (None, record.connector_id) and pattern.matches.found_in(text)


def _by_own_word(record: Record) -> Failure | None:
    """By the row's error type or, failing that, its error code; None where neither says anything."""
    for word in (record.error_type, record.error_code):
        if not word:
            continue
        for pattern, event_type, auth in _TYPE_WORDS:
            if pattern.search(word):
                return _failure(event_type, record.error_type, auth=auth)
    if record.error_type and not _SAYS_NOTHING.fullmatch(record.error_type):
        return _failure(EventType.SYNC_ERROR, record.error_type, auth=bool(AUTH.search(record.message or "")))
    return None


def _by_text(text: str, error_type: str | None) -> Failure:
    if RATE_LIMIT.search(text):
        return _failure(EventType.RATE_LIMIT, error_type)
    auth = bool(AUTH.search(text))
    if not auth and not ANSWERED.search(text) and CONNECTION.search(text):
        return _failure(EventType.CONNECTION_FAILURE, error_type)
    return _failure(EventType.SYNC_ERROR, error_type, auth=auth)


def _failure(event_type: EventType, error_type: str | None, *, auth: bool = False) -> Failure:
    return Failure(event_type, error_type or _DEFAULT_ERROR_TYPE.get(event_type, event_type.value), auth)
