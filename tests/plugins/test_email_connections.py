"""Conversations with a mail server are used again, and what a server does to them loses and doubles nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trustme

from notifyd.api import Reject, Retry
from notifyd.outbound import Dialer, Guard
from notifyd_plugins.email import EmailChannel, EmailOptions
from notifyd_plugins.email.connections import AT_ONCE, MESSAGES_EACH, Connections
from notifyd_plugins.email.message import Letter
from notifyd_plugins.email.session import Session
from tests.sinks.context import TestContext, a_notification
from tests.sinks.smtp import Deed, SmtpSink

LETTER = Letter(b"Subject: x\r\n\r\nx\r\n", "notifyd@example.com", ("ops@example.com",))


def options(sink: SmtpSink, **changes: Any) -> EmailOptions:
    values = {
        "smtp_host": "127.0.0.1",
        "smtp_port": sink.port,
        "from_address": "notifyd@example.com",
        "to_addresses": ["ops@example.com"],
        "tls": "none",
    }
    return EmailOptions.model_validate({**values, **changes})


@asynccontextmanager
async def an_open_channel(sink: SmtpSink, **changes: Any) -> AsyncIterator[EmailChannel]:
    channel = EmailChannel(options(sink, **changes))
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()
    await sink.wait_until_idle()


async def send(channel: EmailChannel, delivery: str = "d", **changes: Any) -> None:
    await channel.send(a_notification(), TestContext(a_notification(), delivery_id=delivery, **changes))


def ids(sink: SmtpSink) -> list[str]:
    """The deliveries that arrived, in order."""
    return [received.message["Message-ID"].removesuffix("@example.com>")[1:] for received in sink.messages]


@pytest.fixture
def sink() -> Iterator[SmtpSink]:
    with SmtpSink() as sink:
        yield sink


async def test_messages_that_follow_each_other_share_a_connection(sink: SmtpSink) -> None:
    async with an_open_channel(sink) as channel:
        for number in range(5):
            await send(channel, f"d{number}")
    assert ids(sink) == ["d0", "d1", "d2", "d3", "d4"]
    assert (sink.commands["CONNECT"], sink.commands["EHLO"], sink.commands["QUIT"]) == (1, 1, 1)


async def test_encryption_and_login_are_done_once(tmp_path: Any) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    login = {"smtp_username": "sync", "smtp_password": "secret"}
    certificate = ca.issue_cert("127.0.0.1")
    with SmtpSink(users={"sync": "secret"}, tls="starttls", certificate=certificate) as sink:
        async with an_open_channel(sink, tls="starttls", ca_file=str(tmp_path / "ca.pem"), **login) as channel:
            await send(channel, "d0")
            await send(channel, "d1")
        assert [(received.tls, received.username) for received in sink.messages] == [(True, "sync")] * 2
        assert (sink.commands["STARTTLS"], sink.commands["AUTH"], sink.commands["QUIT"]) == (1, 1, 1)


async def test_a_burst_takes_few_connections_and_all_of_it_arrives(sink: SmtpSink) -> None:
    async with an_open_channel(sink) as channel:
        await asyncio.gather(*(send(channel, f"d{number}") for number in range(40)))
    assert sorted(ids(sink)) == sorted(f"d{number}" for number in range(40))
    assert sink.commands["CONNECT"] == AT_ONCE


async def test_what_hangs_does_not_hold_up_the_other_connection(sink: SmtpSink) -> None:
    async with an_open_channel(sink) as channel:
        sink.answer("END-OF-DATA", Deed.HANG, times=1)
        hanging = asyncio.create_task(send(channel, "hangs", timeout=1.0))
        await sink.wait_for_command("END-OF-DATA")
        await asyncio.gather(*(send(channel, f"d{number}") for number in range(6)))
        assert not hanging.done()
        with pytest.raises(Retry, match="timed out"):
            await hanging
    assert ids(sink) == [f"d{number}" for number in range(6)]


@pytest.mark.parametrize("farewell", ["", "421 4.4.2 sink.example.com Error: timeout exceeded"])
async def test_a_connection_that_the_server_closed_is_replaced_at_once(sink: SmtpSink, farewell: str) -> None:
    async with an_open_channel(sink) as channel:
        await send(channel, "d0")
        await sink.hang_up(farewell)
        await send(channel, "d1")
    assert ids(sink) == ["d0", "d1"]
    assert sink.commands["CONNECT"] == 2


@pytest.mark.parametrize("reply", [Deed.DROP, "421 4.7.0 too many messages in this session"])
async def test_a_connection_that_proves_stale_is_replaced_in_the_same_attempt(
    sink: SmtpSink, reply: str | Deed
) -> None:
    async with an_open_channel(sink) as channel:
        await send(channel, "d0")
        sink.answer("MAIL", reply, times=1)
        await send(channel, "d1")
    assert ids(sink) == ["d0", "d1"]
    assert sink.commands["CONNECT"] == 2


@pytest.mark.parametrize("reply", [Deed.DROP, "421 4.3.2 shutting down"])
async def test_it_is_replaced_only_once(sink: SmtpSink, reply: str | Deed) -> None:
    async with an_open_channel(sink) as channel:
        await send(channel, "d0")
        sink.answer("MAIL", reply)
        with pytest.raises(Retry):
            await send(channel, "d1")
    assert sink.commands["CONNECT"] == 2


@pytest.mark.parametrize("phase", ["RCPT", "DATA", "END-OF-DATA"])
async def test_once_the_server_heard_of_the_message_nothing_is_begun_again(sink: SmtpSink, phase: Any) -> None:
    """It may have taken it: whether to send it again is for the retry plan to say."""
    async with an_open_channel(sink) as channel:
        await send(channel, "d0")
        sink.answer(phase, Deed.DROP, times=1)
        with pytest.raises(Retry, match="the server closed the connection"):
            await send(channel, "d1")
        assert sink.commands["MAIL"] == 2
        await send(channel, "d2")
    assert ids(sink) == ["d0", "d2"]


@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "DATA", "END-OF-DATA"])
async def test_after_a_refusal_the_next_message_has_a_fresh_connection(sink: SmtpSink, phase: Any) -> None:
    async with an_open_channel(sink) as channel:
        await send(channel, "d0")
        sink.answer(phase, "550 5.7.1 no", times=1)
        with pytest.raises(Reject):
            await send(channel, "d1")
        await send(channel, "d2")
    assert ids(sink) == ["d0", "d2"]
    assert sink.commands["CONNECT"] == 2


async def test_a_partial_refusal_leaves_the_connection_usable(sink: SmtpSink) -> None:
    sink.answer("RCPT", "550 5.1.1 no such user", address="gone@example.com")
    async with an_open_channel(sink, cc_addresses=["gone@example.com"]) as channel:
        await send(channel, "d0")
        await send(channel, "d1")
    assert ids(sink) == ["d0", "d1"]
    assert sink.commands["CONNECT"] == 1


async def test_a_cancelled_attempt_gives_its_turn_back(sink: SmtpSink) -> None:
    async with an_open_channel(sink) as channel:
        for _ in range(AT_ONCE + 1):
            sink.relent()
            sink.commands.clear()
            sink.answer("DATA", Deed.HANG)
            attempt = asyncio.create_task(send(channel))
            await sink.wait_for_command("DATA")
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
        sink.relent()
        await send(channel, "after")
    assert ids(sink) == ["after"]


async def test_after_many_messages_a_connection_is_left(sink: SmtpSink) -> None:
    connections = Connections(partial(Session.begin, options(sink), None))
    for _ in range(MESSAGES_EACH + 1):
        await connections.hand_over(LETTER, TestContext(a_notification()))
    await connections.close()
    await sink.wait_until_idle()
    assert len(sink.messages) == MESSAGES_EACH + 1
    assert (sink.commands["CONNECT"], sink.commands["QUIT"]) == (2, 2)


async def test_what_is_not_used_is_closed_after_a_while(sink: SmtpSink) -> None:
    connections = Connections(partial(Session.begin, options(sink), None), idle_seconds=0.05)
    await connections.hand_over(LETTER, TestContext(a_notification()))
    assert sink.commands["QUIT"] == 0
    await sink.wait_until_idle()
    assert sink.commands["QUIT"] == 1
    await connections.hand_over(LETTER, TestContext(a_notification()))
    assert sink.commands["CONNECT"] == 2
    await connections.close()


@pytest.mark.parametrize("deed", [Deed.DROP, Deed.HANG])
async def test_a_server_that_says_no_goodbye_is_left_all_the_same(sink: SmtpSink, deed: Deed) -> None:
    sink.answer("QUIT", deed)
    async with asyncio.timeout(5), an_open_channel(sink) as channel:
        await asyncio.gather(send(channel), send(channel))


async def test_what_is_still_being_sent_while_it_closes_keeps_nothing_open(sink: SmtpSink) -> None:
    connections = Connections(partial(Session.begin, options(sink), None))
    late = asyncio.create_task(connections.hand_over(LETTER, TestContext(a_notification())))
    await sink.wait_for_command("DATA")
    await connections.close()
    await late
    await sink.wait_until_idle()
    assert len(sink.messages) == 1


async def test_a_mail_server_is_under_the_guard_like_any_other_host(sink: SmtpSink) -> None:
    async with an_open_channel(sink) as channel:
        with pytest.raises(Reject, match="allow_private_targets"):
            await send(channel, dialer=Dialer(Guard()))
    assert sink.commands["CONNECT"] == 0
