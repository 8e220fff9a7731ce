"""A notification as a message, with its envelope."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8

from notifyd.api import Context, Notification, Severity
from notifyd_plugins.email.addresses import parse_mailbox
from notifyd_plugins.email.options import EmailOptions

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_LABEL = 40


@dataclass(frozen=True, slots=True)
class Letter:
    """One message as it goes over the wire, and its envelope."""

    content: bytes
    sender: str
    recipients: tuple[str, ...]

    @property
    def international(self) -> str | None:
        """An address that only servers with SMTPUTF8 take, if there is one."""
        return next((address for address in (self.sender, *self.recipients) if not address.isascii()), None)


@dataclass(frozen=True, slots=True)
class Stationery:
    """From whom and to whom: what all messages of a config share."""

    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]

    @classmethod
    def of(cls, options: EmailOptions) -> Stationery:
        """The addresses of these options."""
        to, cc = (tuple(map(parse_mailbox, texts)) for texts in (options.to_addresses, options.cc_addresses))
        return cls(parse_mailbox(options.from_address), to, cc)

    def letter(self, notification: Notification, ctx: Context) -> Letter:
        """The message; a repeat of it has the same Message-ID, by which receivers can drop it."""
        recipients = tuple(dict.fromkeys(address.addr_spec for address in (*self.to, *self.cc)))
        envelope = Letter(b"", self.sender.addr_spec, recipients)
        policy = SMTPUTF8 if envelope.international else SMTP
        content = self._message(notification, ctx).as_bytes(policy=policy)
        return Letter(content, envelope.sender, recipients)

    def _message(self, notification: Notification, ctx: Context) -> EmailMessage:
        rendered = ctx.render()
        message = EmailMessage(policy=SMTP)
        message["From"] = self.sender
        message["To"] = self.to
        if self.cc:
            message["Cc"] = self.cc
        message["Subject"] = _unencoded(rendered.title)
        message["Date"] = ctx.now
        for name, value in self._marks(notification, ctx).items():
            message[name] = value
        # Quoted-printable passes through every server, whatever the text holds and however long its lines.
        message.set_content(rendered.text, cte="quoted-printable")
        message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
        return message

    def _marks(self, notification: Notification, ctx: Context) -> dict[str, str]:
        """Headers for machines: what belongs together, and that no person wrote it (RFC 3834), nor awaits an answer."""
        event = notification.event
        marks = {"Message-ID": self._id(ctx.delivery_id)}
        if notification.thread:
            # What no message has as its own id is the root of the thread: so it does not matter which comes first.
            marks["In-Reply-To"] = marks["References"] = self._id(f"{notification.thread}.thread")
        marks["List-Id"] = f"<{_label(notification.config)}.notifyd.{self.sender.domain}>"
        marks["Auto-Submitted"] = "auto-generated"
        marks["X-Auto-Response-Suppress"] = "All"
        marks["X-Notifyd-Event"] = event.event_type.value
        marks["X-Notifyd-Severity"] = event.severity.value
        if event.severity is Severity.CRITICAL:
            marks["Importance"] = "high"
        return marks

    def _id(self, name: str) -> str:
        parts = (_NOT_IN_AN_ID.sub("-", part) for part in name.split("."))
        return f"<{'.'.join(parts)}@{self.sender.domain}>"


def _label(config: str) -> str:
    """The config's name as a label of RFC 2919; where the name does not fit, with what tells it from similar ones."""
    label = _NOT_IN_AN_ID.sub("-", config.lower()).strip("-_")[:_LONGEST_LABEL]
    if label == config:
        return label
    mark = hashlib.sha256(config.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{label}-{mark}".lstrip("-")


def _unencoded(title: str) -> str:
    """The title without `=?`: the standard library takes it for an encoded word, and decodes line breaks from it."""
    return title.replace("=?", "= ?")
