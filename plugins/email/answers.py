"""What a mail server says, and what it means for a delivery: retry or reject, in words for a person."""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import Mapping

import aiosmtplib
from aiosmtplib import SMTPException, SMTPRecipientsRefused, SMTPResponse, SMTPResponseException

from notifyd.api import Reject, Retry
from notifyd_plugins.email.options import EmailOptions

_LOCKOUT_PAUSE = 300.0  # seconds between two logins with a password that was refused
_LONGEST_QUOTE = 300
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


class Answers:
    """Reads the answers of one config's server; `errors` are those that it has a verdict on."""

    errors = (SMTPException, OSError)

    def __init__(self, options: EmailOptions) -> None:
        self.options = options

    def verdict(self, error: SMTPException | OSError) -> Retry | Reject:
        """What an error of the library means for the delivery."""
        if isinstance(error, SMTPRecipientsRefused):
            return self._all_refused(error)
        if isinstance(error, SMTPResponseException):
            return self._answered(error)
        return Retry(f"{self.options.server}: {_network_problem(error)}")

    def note(self, refused: Mapping[str, SMTPResponse], recipients: int) -> str:
        """What is kept beside "sent" where some of the recipients were refused."""
        if not refused:
            return ""
        answers = "; ".join(f"{address}: {self.quote(*answer)}" for address, answer in refused.items())
        note = f"taken for {recipients - len(refused)} of {recipients} recipients, refused for {answers}"
        if any(answer.code < 500 for answer in refused.values()):
            note += "; who was refused for now (4xx) is not tried again, because the others would get it twice"
        return note

    def quote(self, code: int, text: str) -> str:
        """The server's answer as one short line, or its code alone where it repeats the password."""
        line = _UNPRINTABLE.sub(" ", text).strip()
        if any(form in line for form in self._forms_of_password()):
            return f"{code} (its text repeats the password)"
        return f"{code} {line[:_LONGEST_QUOTE]}".rstrip() if code > 0 else line[:_LONGEST_QUOTE]

    def _all_refused(self, error: SMTPRecipientsRefused) -> Retry | Reject:
        """Every recipient was refused: again, if at least one may be taken later."""
        answers = "; ".join(f"{each.recipient}: {self.quote(each.code, each.message)}" for each in error.recipients)
        mildest = min(each.code for each in error.recipients)
        verdict = Retry if mildest < 500 else Reject
        return verdict(f"{self.options.server} refused every recipient: {answers}", status_code=mildest)

    def _answered(self, error: SMTPResponseException) -> Retry | Reject:
        server, code, answer = self.options.server, error.code, self.quote(error.code, error.message)
        if isinstance(error, aiosmtplib.SMTPAuthenticationError) and code == 535:
            reason = f"{server} refused the login of {self.options.smtp_username}: {answer}; check smtp_password"
            return Retry(reason, _LOCKOUT_PAUSE, status_code=code)
        if code < 200:
            return Retry(f"{server} does not answer like a mail server: {answer}")
        verdict = Reject if code >= 500 else Retry
        return verdict(f"{server} answered {answer}", status_code=code)

    def _forms_of_password(self) -> tuple[str, ...]:
        """The password as it may come back: as it is, and as AUTH LOGIN and AUTH PLAIN encode it."""
        if not self.options.smtp_password:
            return ()
        password = self.options.smtp_password.reveal()
        plain = f"\0{self.options.smtp_username}\0{password}"
        return (password, *(base64.b64encode(form.encode()).decode() for form in (password, plain)))


def _network_problem(error: SMTPException | OSError) -> str:
    """Why there was no conversation, in words."""
    cause = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) else error
    match cause:
        case ssl.SSLCertVerificationError():
            return f"its TLS certificate is not trusted: {cause.verify_message}"
        case ssl.SSLError():
            return f'TLS failed ({cause.reason}); does this port speak TLS the way that "tls" says?'
        case aiosmtplib.SMTPServerDisconnected():
            return "the server closed the connection"
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
    return str(cause or error)
