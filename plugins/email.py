"""E-mail over SMTP: one message to all recipients, as plain text and as HTML."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import aiosmtplib
from aiosmtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException
from pydantic import AfterValidator, Field, model_validator

from notifyd.api import Channel, Context, Notification, Options, Reject, Retry, Secret, Severity, hookimpl

_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_LOCKOUT_PAUSE = 300.0  # seconds between two logins with a password that was refused

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST = re.compile(r"(?:[\w-]{1,63}\.)*[\w-]{1,63}", re.ASCII)
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """This plugin's channel."""
    return [EmailChannel]


# Options


def parse_mailbox(text: str) -> Address:
    """`ops@example.com` or `Ops <ops@example.com>`, as an address that cannot break out of a header or a command.

    Stricter than RFC 5322, and not left to the standard library: its parser takes nearly anything,
    and decodes `=?…?=` on the way. An international domain is turned into its ASCII form.
    """
    match = re.fullmatch(r'(?:"?(?P<name>[^<>"\\]*?)"?\s*<(?P<spec>[^<>]+)>|(?P<bare>[^<>]+))', text.strip())
    if match and "=?" not in text:
        name, spec = match["name"] or "", match["spec"] or match["bare"]
        local, _, domain = spec.rpartition("@")
        with suppress(UnicodeError):
            domain = domain.encode("idna").decode()
        if name.isprintable() and _is_address(local, domain):
            return Address(name, local, domain)
    raise ValueError("is not an e-mail address; expected ops@example.com or Ops <ops@example.com>")


def _is_address(local: str, domain: str) -> bool:
    """Whether both parts have the form, and at most the length, that RFC 5321 gives them."""
    fits = len(local) <= 64 and len(domain) <= 253
    return fits and bool(_LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(domain))


def _mailbox(text: str) -> str:
    parse_mailbox(text)
    return text


def _host(text: str) -> str:
    if "://" in text or re.fullmatch(r"[^:]*:\d*", text):
        raise ValueError("give the host name alone; the port goes into smtp_port")
    if not (_HOST.fullmatch(text) or re.fullmatch(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", text)):
        raise ValueError("is not a host name")
    return text


def _ca_file(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    _trust(path)
    return path


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    """TLS that trusts the certificates of this file and no others; ValueError says why it cannot be read."""
    if ca_file is None:
        return _trust_of_this_machine()
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file} holds no certificate in PEM form") from None
    except OSError as error:
        raise ValueError(f"cannot read {ca_file}: {error.strerror}") from None


@cache
def _trust_of_this_machine() -> ssl.SSLContext:
    """One for all configs: it takes long to make, and weighs much."""
    return ssl.create_default_context()


Mailbox = Annotated[str, AfterValidator(_mailbox)]


class EmailOptions(Options):
    """Which server takes the mail, from whom it comes, and to whom it goes."""

    smtp_host: Annotated[str, AfterValidator(_host)] = Field(description="The mail server.")
    smtp_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Its port. Default: what tls says, 587 (starttls), 465 (implicit) or 25 (none).",
    )
    smtp_username: str | None = Field(None, min_length=1, description="The name to log in with. Default: no login.")
    smtp_password: Secret | None = Field(None, description="The password of smtp_username.")
    from_address: Mailbox = Field(description="The sender: notifyd@example.com, or Sync Monitor <notifyd@example.com>.")
    to_addresses: tuple[Mailbox, ...] = Field(min_length=1, description="The recipients. They share one message.")
    tls: Literal["starttls", "implicit", "none"] = Field(
        "starttls",
        description='"starttls": encrypted or not sent; "implicit": TLS from the first byte; '
        '"none": nothing is encrypted, the password included.',
    )
    ca_file: Annotated[Path, AfterValidator(_ca_file)] | None = Field(
        None, description="A PEM file of the certificates to trust instead of the system's, for a CA of your own."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise ValueError("smtp_username and smtp_password go together: set both or neither")
        if self.ca_file and self.tls == "none":
            raise ValueError('ca_file has no use with tls = "none"')
        return self

    @property
    def port(self) -> int:
        """The port, given or implied."""
        return self.smtp_port or _PORTS[self.tls]

    @property
    def server(self) -> str:
        """Host and port, for people."""
        host = f"[{self.smtp_host}]" if ":" in self.smtp_host else self.smtp_host
        return f"{host}:{self.port}"


# The channel


class EmailChannel(Channel[EmailOptions]):
    """E-mail over SMTP, to one or several recipients in one message.

    The server's answer decides: 4xx is tried again, 5xx is final. Also final are a server without
    STARTTLS and one without a login, for no waiting mends them. A connection that cannot be made,
    breaks or takes too long is tried again, and so is a certificate that is not trusted.

    A refused login (535) is tried again, although it is a 5xx: it is about the password and not
    about the message. Passwords are rotated, and each attempt uses the options as they are by then, so a
    waiting message leaves once the password is mended, where a rejected one would first have to be
    missed. It is tried no sooner than after five minutes, because servers lock accounts.

    When some of the recipients are refused, the message counts as sent, and the log names them.
    """

    name = "email"
    Options = EmailOptions

    def __init__(self, options: EmailOptions) -> None:
        super().__init__(options)
        self._sender = parse_mailbox(options.from_address)
        self._recipients = tuple(parse_mailbox(text) for text in options.to_addresses)
        self._tls: ssl.SSLContext | None = None

    async def open(self) -> None:
        """Load the certificates to trust; off the event loop, and not again for each message."""
        if self.options.tls == "none":
            return
        try:
            self._tls = await asyncio.to_thread(_trust, self.options.ca_file)
        except ValueError as error:
            raise Retry(f"ca_file: {error}") from None

    async def send(self, notification: Notification, ctx: Context) -> None:
        """Build the message, hand it to the server, and say in the log who was refused."""
        if self._tls is None:
            await self.open()  # the certificates could not be read earlier
        client = self._client()
        try:
            refused = await self._deliver(client, self._message(notification, ctx), ctx.timeout)
        finally:
            client.close()
        for address, answer in refused.items():
            ctx.log.warning("recipient refused", recipient=address, answer=self._quote(answer.code, answer.message))

    async def _deliver(
        self, client: _Client, message: EmailMessage, timeout: float
    ) -> Mapping[str, aiosmtplib.SMTPResponse]:
        """The recipients that were refused, if at least one was not.

        It ends a little before `timeout`, when the daemon cancels the attempt, so that the history
        says which server was slow; and so that there is time left for a polite goodbye.
        """
        try:
            async with asyncio.timeout(timeout * 0.9):
                await self._connect(client)
                refused, _ = await client.send_message(
                    message,
                    sender=self._sender.addr_spec,
                    recipients=[recipient.addr_spec for recipient in self._recipients],
                )
        except TimeoutError:
            server = self.options.server
            raise Retry(f"timed out: {server} did not take the message within {timeout:g} s") from None
        except (SMTPException, OSError) as error:
            raise self._verdict(error) from None
        await _say_goodbye(client, timeout * 0.05)
        return refused

    def _client(self) -> _Client:
        return _Client(
            hostname=self.options.smtp_host,
            port=self.options.port,
            local_hostname=_own_name(),
            use_tls=self.options.tls == "implicit",
            start_tls=False,  # done by hand, to tell apart what can go wrong
            tls_context=self._tls,
            timeout=None,  # one for all steps together
        )

    async def _connect(self, client: _Client) -> None:
        await client.connect()
        if self.options.tls == "starttls":
            await self._encrypt(client)
        if self.options.smtp_username and self.options.smtp_password:
            await self._login(client, self.options.smtp_username, self.options.smtp_password)

    async def _encrypt(self, client: _Client) -> None:
        await client.ehlo()
        if not client.supports_extension("starttls"):
            hint = 'try tls = "implicit" (port 465); tls = "none" sends unencrypted'
            raise Reject(f"{self.options.server} does not offer STARTTLS; {hint}")
        await client.starttls()

    async def _login(self, client: _Client, username: str, password: Secret) -> None:
        await client.ehlo()
        if not client.supported_auth_methods:
            offered = ", ".join(client.server_auth_methods) or "none"
            raise Reject(f"{self.options.server} offers no login that is known here (it offers: {offered})")
        await client.login(username, password.reveal())

    # What is sent

    def _message(self, notification: Notification, ctx: Context) -> EmailMessage:
        """The message; a repeat of it has the same Message-ID, by which receivers can drop it."""
        rendered = ctx.render()
        event = notification.event
        message = EmailMessage(policy=SMTP_POLICY)
        message["From"] = self._sender
        message["To"] = self._recipients
        message["Subject"] = _unencoded(rendered.title)
        message["Date"] = ctx.now
        message["Message-ID"] = f"<{ctx.delivery_id}@{self._sender.domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        message["X-Notifyd-Event"] = event.event_type.value
        message["X-Notifyd-Severity"] = event.severity.value
        if event.severity is Severity.CRITICAL:
            message["Importance"] = "high"
        # Quoted-printable passes through every server, whatever the text holds and however long its lines.
        message.set_content(rendered.text, cte="quoted-printable")
        message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
        return message

    # What came of it

    def _verdict(self, error: SMTPException | OSError) -> Retry | Reject:
        """What an error of the library means for the delivery, in words for a person."""
        if isinstance(error, SMTPRecipientsRefused):
            return self._all_refused(error)
        if isinstance(error, SMTPResponseException):
            return self._answered(error)
        if isinstance(error, aiosmtplib.SMTPServerDisconnected):
            return Retry(f"{self.options.server} closed the connection")
        if isinstance(error, OSError):
            return Retry(f"{self.options.server}: {_network_problem(error)}")
        return Reject(f"{self.options.server}: {error}")

    def _all_refused(self, error: SMTPRecipientsRefused) -> Retry | Reject:
        """Every recipient was refused: again, if at least one may be taken later."""
        answers = "; ".join(f"{each.recipient}: {self._quote(each.code, each.message)}" for each in error.recipients)
        mildest = min(each.code for each in error.recipients)
        verdict = Retry if mildest < 500 else Reject
        return verdict(f"{self.options.server} refused every recipient: {answers}", status_code=mildest)

    def _answered(self, error: SMTPResponseException) -> Retry | Reject:
        server, code, answer = self.options.server, error.code, self._quote(error.code, error.message)
        if isinstance(error, aiosmtplib.SMTPAuthenticationError) and code == 535:
            reason = f"{server} refused the login of {self.options.smtp_username}: {answer}; check smtp_password"
            return Retry(reason, _LOCKOUT_PAUSE, status_code=code)
        if code < 200:
            return Retry(f"{server} does not answer like a mail server: {answer}")
        verdict = Reject if code >= 500 else Retry
        return verdict(f"{server} answered {answer}", status_code=code)

    def _quote(self, code: int, text: str) -> str:
        """The server's answer as one short line, or its code alone where it repeats the password."""
        line = _UNPRINTABLE.sub(" ", text).strip()
        if any(form in line for form in self._forms_of_password()):
            return f"{code} (its text repeats the password)"
        return f"{code} {line[:300]}".rstrip() if code > 0 else line[:300]

    def _forms_of_password(self) -> tuple[str, ...]:
        """The password as it may come back: as it is, and as AUTH LOGIN and AUTH PLAIN encode it."""
        if not self.options.smtp_password:
            return ()
        password = self.options.smtp_password.reveal()
        plain = f"\0{self.options.smtp_username}\0{password}"
        return (password, *(base64.b64encode(form.encode()).decode() for form in (password, plain)))


class _Client(aiosmtplib.SMTP):
    """A client that hangs up at once, where the library's waits for TLS to be taken down in turn."""

    def close(self) -> None:
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
        super().close()


async def _say_goodbye(client: _Client, timeout: float) -> None:
    """QUIT, for the server's log; the message is accepted, whatever comes of this."""
    with suppress(SMTPException, OSError):
        await client.quit(timeout=min(timeout, 1.0))


def _own_name() -> str:
    """What to call ourselves in EHLO; an address literal, as RFC 5321 wants it, where this machine has no full name.

    Not socket.getfqdn(), which asks the DNS and may hang there.
    """
    name = socket.gethostname()
    return name if "." in name and _DOMAIN.fullmatch(name) else "[127.0.0.1]"


def _unencoded(title: str) -> str:
    """The title without `=?`: the standard library takes it for an encoded word, and decodes line breaks from it."""
    return title.replace("=?", "= ?")


def _network_problem(error: OSError) -> str:
    """Why there was no conversation, in words."""
    cause = error.__cause__ if isinstance(error, aiosmtplib.SMTPConnectError) else error
    match cause:
        case ssl.SSLCertVerificationError():
            return f"its TLS certificate is not trusted: {cause.verify_message}"
        case ssl.SSLError():
            return f'TLS failed ({cause.reason}); does this port speak TLS the way that "tls" says?'
        case socket.gaierror():
            return "cannot resolve the host name"
        case aiosmtplib.SMTPServerDisconnected():
            return "closed the connection before it said a word"
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
    return str(cause or error)
