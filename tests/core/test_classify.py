"""Which kind of failure a text is: the texts that real systems write, and some that only look like them."""

from __future__ import annotations

from typing import Any

import pytest

from notifyd.core.classify import AUTH_WORDS, CONNECTION_WORDS, RATE_LIMIT_WORDS, Failure, classify
from notifyd.core.rules import Pattern, Rules
from notifyd.expression import CHANCES, Expression
from notifyd.model import EventType
from tests.core.logs import RULES, row

RATE_LIMIT, CONNECTION, SYNC = EventType.RATE_LIMIT, EventType.CONNECTION_FAILURE, EventType.SYNC_ERROR


def kind_of(message: str | None, rules: Rules = RULES, **values: Any) -> Failure | None:
    return classify(row("1", "failure", message=message, **values), rules)


# -- what EasySale's connectors write ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "event_type", "auth"),
    [
        ("Failed to fetch WooCommerce orders (page 1): 500: WooCommerce rate limit exceeded", RATE_LIMIT, False),
        ("500: QuickBooks rate limit exceeded", RATE_LIMIT, False),
        (
            "500: WooCommerce API request failed: error sending request for url (https://shop.example/wp-json/wc/v3)",
            CONNECTION,
            False,
        ),
        ("401: Invalid QuickBooks credentials or expired token", SYNC, True),
        ("403: Access denied to QuickBooks resource", SYNC, True),
        ("500: WooCommerce API error (503 Service Unavailable): try again later", SYNC, False),
        ("WooCommerce credentials not found", SYNC, True),
        ("Sync blocked by circuit breaker: woocommerce (retry after 41234ms)", SYNC, False),
    ],
)
def test_texts_of_easysale(text: str, event_type: EventType, auth: bool) -> None:
    failure = kind_of(text)
    assert failure is not None
    assert (failure.event_type, failure.auth) == (event_type, auth)


@pytest.mark.parametrize(
    "text",
    [
        "Sync already running for tenant T connector C",
        "sync already running.",
        "Another sync is already in progress",
        "The nightly order sync was already running, skipped",
        "Job already running since 21 h",
    ],
)
def test_a_sync_that_finds_another_at_work_has_not_failed(text: str) -> None:
    assert kind_of(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Backup failed: another operation is already in progress",
        "ERROR: relation is locked, VACUUM already in progress",
        "Transaction already in progress",
        "Sync already running for tenant T: could not lock the queue",
        "Order export failed, sync already running",
        "Sync already running for 3 days\nOut of memory",
    ],
)
def test_a_failure_that_mentions_another_at_work_is_one(text: str) -> None:
    assert kind_of(text) is not None


# -- what other systems write --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "429 Too Many Requests",
        "HTTP 429",
        "HTTP/1.1 429",
        "429",
        "429: slow down",
        "page 3: 429: slow down",
        "status code: 429",
        "Request failed with status code 429",
        "(429) slow down",
        "Too many requests, please slow down",
        "Rate limit exceeded",
        "rate-limited by the server",
        "RateLimitError: requests per minute",
        "API quota exceeded for project 7",
        "Quota exceeded for quota metric 'Read requests' of service 'sheets.googleapis.com'",
        "request throttle limit reached",
        "error: 429",
        "error code 429",
        "answered 429",
        "Request was throttled. Expected available in 5 seconds.",
        "ThrottlingException: Rate exceeded",
        "error sending request: 429 Too Many Requests",  # also where it is wrapped in words of a connection
        "Connection closed: rate limit exceeded",
    ],
)
def test_rate_limits(text: str) -> None:
    assert kind_of(text) == Failure(RATE_LIMIT, "rate_limit")


@pytest.mark.parametrize(
    "text",
    [
        "connection refused",
        "connect ECONNREFUSED 10.0.0.7:443",
        "getaddrinfo ENOTFOUND api.shop.example",
        "getaddrinfo EAI_AGAIN api.shop.example",
        "read ECONNRESET",
        "connect ETIMEDOUT 10.0.0.7:443",
        "Connection reset by peer",
        "[Errno 111] Connection refused",
        "[Errno -2] Name or service not known",
        "Temporary failure in name resolution",
        "could not resolve host: api.shop.example",
        "dns error: failed to lookup address information",
        "No route to host",
        "Network is unreachable",
        "operation timed out",
        "Read timed out. (read timeout=30)",
        "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        "TLS handshake timeout",
        "SSL: CERTIFICATE_VERIFY_FAILED",
        "certificate has expired",
        "x509: certificate signed by unknown authority",
        "unable to get local issuer certificate",
        "self-signed certificate in chain",
        "Could not connect to server",
        "Failed to connect to api.shop.example port 443",
        "Remote end closed connection without response",
        "The connection was closed unexpectedly",
        'connection to server at "10.0.0.7", port 5432 failed: Connection refused',
        "unexpected EOF while reading",
        "socket hang up",
        "Broken pipe",
        "504 Gateway Time-out: upstream timed out",
    ],
)
def test_connection_failures(text: str) -> None:
    assert kind_of(text) == Failure(CONNECTION, "connection_failure")


@pytest.mark.parametrize(
    "text",
    [
        "401 Unauthorized",
        "HTTP 403 Forbidden",
        "Request failed with status code 401",
        "Unauthorised",
        "Permission denied for scope read_orders",
        "AuthenticationFailed: token expired",
        "The access token has expired",
        "OAuth refresh token was revoked",
        "invalid API key",
        "Invalid signature",
        "invalid_grant: token has been expired or revoked",
        "API key missing",
        "login failed",
        "Login failed for user 'sync'",
        "wrong user name or password",
        "HTTP 401",
        "error 403: no",
    ],
)
def test_what_only_better_credentials_mend(text: str) -> None:
    assert kind_of(text) == Failure(SYNC, "sync_failure", auth=True)


@pytest.mark.parametrize(
    "text",
    [
        "order 7 is not complete",
        "order 429 not found",
        "ERROR: 429 rows could not be matched",
        "ERROR: 401 rows could not be matched",
        "(429 rows skipped)",
        "product code 429 is unknown",
        "disk quota exceeded",
        "API error: disk quota exceeded",
        "write failed: Disk quota exceeded (EDQUOT)",
        "mailbox quota exceeded for bob",
        "No space left on device",
        "throttle valve sensor out of range",
        "timeout waiting for lock on table orders",
        "Lock wait timeout exceeded; try restarting transaction",
        "canceling statement due to lock timeout",
        "canceling statement due to statement timeout",
        "gift certificate 7 is used up",
        "429 records could not be written",
        "order 429: no such product",
        "401 items could not be written",
        "product 403 has no SKU",
        "Item 4290 is missing a price",
        "HTTP 500: internal error",
        "Validation failed: price must be positive",
        "The customer's hosting plan is unknown",
        "HTTP 502 Bad Gateway: upstream connection refused",  # somebody answered
        "constraint failed: UNIQUE orders.id",
        "",
    ],
)
def test_other_failures_are_sync_errors(text: str) -> None:
    assert kind_of(text) == Failure(SYNC, "sync_failure")


@pytest.mark.parametrize("example", [*RATE_LIMIT_WORDS, *AUTH_WORDS, *CONNECTION_WORDS])
def test_each_kind_of_word_is_an_example_of_itself(example: str) -> None:
    kinds = {
        **dict.fromkeys(CONNECTION_WORDS, Failure(CONNECTION, "connection_failure")),
        **dict.fromkeys(AUTH_WORDS, Failure(SYNC, "sync_failure", auth=True)),
        **dict.fromkeys(RATE_LIMIT_WORDS, Failure(RATE_LIMIT, "rate_limit")),
    }
    assert kind_of(example) == kinds[example]


def test_a_failure_without_a_text_is_a_sync_error() -> None:
    assert kind_of(None) == Failure(SYNC, "sync_failure")


def test_a_text_that_is_long_and_repeats_itself_takes_no_time() -> None:
    """2,000 characters are kept of a message; no pattern may wander through them."""
    for text in (
        "invalid " * 250,
        "connection " * 180,
        "(" * 2000,
        "error " * 330,
        "credentials " * 160,
        "lock " * 400,
    ):
        assert kind_of(text) == Failure(SYNC, "sync_failure")


# -- the row's own word --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "event_type", "auth"),
    [
        ("rate_limit", RATE_LIMIT, False),
        ("RateLimitExceeded", RATE_LIMIT, False),
        ("ThrottlingException", RATE_LIMIT, False),
        ("QUOTA_EXCEEDED", RATE_LIMIT, False),
        ("429", RATE_LIMIT, False),
        ("ConnectionError", CONNECTION, False),
        ("network_error", CONNECTION, False),
        ("ECONNREFUSED", CONNECTION, False),
        ("LOCK_WAIT_TIMEOUT", SYNC, False),
        ("DISK_QUOTA_EXCEEDED", SYNC, False),
        ("throttle_valve", SYNC, False),
        ("CONNECTOR_CONFIG", SYNC, False),
        ("TimeoutError", CONNECTION, False),
        ("dns", CONNECTION, False),
        ("SSLError", CONNECTION, False),
        ("auth_failed", SYNC, True),
        ("401", SYNC, True),
        ("invalid_credentials", SYNC, True),
    ],
)
def test_the_error_type_or_code_decides_before_the_text(word: str, event_type: EventType, auth: bool) -> None:
    by_type = kind_of("order 7 is not complete", error_type=word)
    assert by_type == Failure(event_type, word, auth)
    by_code = kind_of("order 7 is not complete", error_code=word)
    assert by_code is not None
    assert (by_code.event_type, by_code.auth) == (event_type, auth)


def test_an_error_type_of_its_own_is_kept_and_the_text_is_not_asked() -> None:
    assert kind_of("connection refused", error_type="VALIDATION") == Failure(SYNC, "VALIDATION")
    assert kind_of("rate limit exceeded", error_type="mapping_error") == Failure(SYNC, "mapping_error")
    assert kind_of("401: Invalid credentials", error_type="UPSTREAM") == Failure(SYNC, "UPSTREAM", auth=True)


@pytest.mark.parametrize("word", ["error", "SyncError", "sync_failure", "ApiError", "Unknown", "internal error"])
def test_a_word_that_says_nothing_leaves_it_to_the_text(word: str) -> None:
    assert kind_of("connection refused", error_type=word) == Failure(CONNECTION, word)
    assert kind_of("Sync already running", error_type=word) is None


def test_a_code_decides_where_the_type_says_nothing() -> None:
    assert kind_of("oh no", error_type="ApiError", error_code="429") == Failure(RATE_LIMIT, "ApiError")


# -- the admin's own patterns --------------------------------------------------------------------


def rules(*patterns: Pattern) -> Rules:
    return Rules(patterns=patterns)


def pattern(text: str, event_type: EventType | None, **values: str) -> Pattern:
    return Pattern(Expression(text), event_type, **values)


def test_a_pattern_that_takes_for_ever_says_nothing_and_is_left_out_in_the_end() -> None:
    slow = pattern("(a|aa)+$", RATE_LIMIT)
    both = rules(slow, pattern("!", CONNECTION))
    for _ in range(CHANCES + 1):
        assert kind_of("a" * 60 + "!", both) == Failure(CONNECTION, "connection_failure")
    assert slow.matches.left_out


def test_the_first_pattern_that_matches_decides() -> None:
    both = rules(pattern("busy", RATE_LIMIT), pattern("busy tone", CONNECTION))
    assert kind_of("busy tone", both) == Failure(RATE_LIMIT, "rate_limit")


def test_a_pattern_comes_before_the_row_s_own_word() -> None:
    mine = rules(pattern("order 7", CONNECTION, error_type="warehouse_down"))
    assert kind_of("order 7 is stuck", mine, error_type="auth") == Failure(CONNECTION, "warehouse_down")


def test_a_pattern_without_an_error_type_keeps_the_row_s() -> None:
    mine = rules(pattern("order 7", CONNECTION))
    assert kind_of("order 7 is stuck", mine, error_type="STUCK") == Failure(CONNECTION, "STUCK")


def test_a_pattern_for_one_connector_leaves_the_others_alone() -> None:
    mine = rules(pattern("busy", RATE_LIMIT, connector="woo"))
    assert kind_of("busy", mine, connector_id="woo") == Failure(RATE_LIMIT, "rate_limit")
    assert kind_of("busy", mine, connector_id="quickbooks") == Failure(SYNC, "sync_failure")
    assert kind_of("busy", mine, connector_id=None) == Failure(SYNC, "sync_failure")


def test_a_pattern_can_ignore_what_is_known_to_be_harmless() -> None:
    assert kind_of("nothing to do", rules(pattern("^nothing to do$", None))) is None


def test_a_pattern_can_insist_that_it_is_a_failure() -> None:
    assert kind_of("Sync already running", rules(pattern("already running", SYNC))) == Failure(SYNC, "sync_failure")
