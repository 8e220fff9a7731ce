"""A channel that mails to a server of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from notifyd.api import Channel, Notification
from notifyd_plugins.email import EmailChannel, EmailOptions
from tests.sinks.context import TestContext, a_notification
from tests.sinks.smtp import Received, SmtpSink

PASSWORD = "corréct-horse"


def values(**changes: Any) -> dict[str, Any]:
    given = {
        "smtp_host": "127.0.0.1",
        "from_address": "Sync Monitor <notifyd@example.com>",
        "to_addresses": ["ops@example.com"],
        "tls": "none",
    }
    return {**given, **changes}


def options(**changes: Any) -> EmailOptions:
    return EmailOptions.model_validate(values(**changes))


def channel(sink: SmtpSink, **changes: Any) -> EmailChannel:
    return EmailChannel(options(smtp_port=sink.port, **changes))


async def send(channel: Channel[Any], notification: Notification | None = None, **changes: Any) -> TestContext:
    notification = notification or a_notification()
    context = TestContext(notification, **changes)
    await channel.open()
    await channel.send(notification, context)
    await channel.close()
    return context


async def note(sink: SmtpSink, **changes: Any) -> str | None:
    """What the channel wants to be kept beside "sent"."""
    mailing = channel(sink, **changes)
    said = await mailing.send(a_notification(), TestContext(a_notification()))
    await mailing.close()
    return said


async def sent(sink: SmtpSink, notification: Notification | None = None, **changes: Any) -> Received:
    """The message that the sink took."""
    await send(channel(sink, **changes), notification)
    [received] = await sink.wait_for(1)
    return received


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(ca: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
