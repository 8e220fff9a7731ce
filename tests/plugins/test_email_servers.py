"""What mail servers do: TLS, logins, refusals, and conversations that break off."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from notifyd.api import Reject, Retry
from notifyd_plugins.email import EmailChannel
from tests.plugins.mailing import PASSWORD, channel, free_port, note, options, send, sent
from tests.sinks.context import TestContext, a_notification
from tests.sinks.smtp import Deed, SmtpSink

# TLS and login


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_it_speaks_tls_and_logs_in(tls: Any, ca: trustme.CA, ca_file: Path) -> None:
    login: dict[str, Any] = {"smtp_username": "sync", "smtp_password": PASSWORD}
    with SmtpSink(users={"sync": PASSWORD}, tls=tls, certificate=ca.issue_cert("127.0.0.1")) as sink:
        received = await sent(sink, tls=tls, ca_file=str(ca_file), **login)
        await sink.wait_until_idle()
    assert received.tls
    assert received.username == "sync"


async def test_without_tls_it_can_log_in_too() -> None:
    with SmtpSink(users={"sync": PASSWORD}) as sink:
        received = await sent(sink, smtp_username="sync", smtp_password=PASSWORD)
    assert (received.username, received.tls) == ("sync", False)


async def test_a_server_without_starttls_gets_nothing(sink: SmtpSink) -> None:
    unencrypted = channel(sink, tls="starttls", smtp_username="sync", smtp_password=PASSWORD)
    with pytest.raises(Reject, match=rf'127\.0\.0\.1:{sink.port} does not offer STARTTLS; try tls = "implicit"'):
        await send(unencrypted)
    assert not {"AUTH", "MAIL"} & set(sink.commands)


async def test_starttls_that_fails_for_now_is_tried_again(ca: trustme.CA, ca_file: Path) -> None:
    with SmtpSink(tls="starttls", certificate=ca.issue_cert("127.0.0.1")) as sink:
        sink.answer("STARTTLS", "454 4.7.0 TLS not available due to temporary reason")
        with pytest.raises(Retry, match=r"454 4\.7\.0 TLS not available"):
            await send(channel(sink, tls="starttls", ca_file=str(ca_file)))
        assert "MAIL" not in sink.commands


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize(
    ("name", "not_after", "trusted", "words"),
    [
        ("127.0.0.1", datetime(2099, 1, 1, tzinfo=UTC), False, "unable to get local issuer certificate"),
        ("mail.example.com", datetime(2099, 1, 1, tzinfo=UTC), True, "IP address mismatch"),
        ("127.0.0.1", datetime(2020, 1, 1, tzinfo=UTC), True, "certificate has expired"),
    ],
)
async def test_a_bad_certificate_is_named_and_nothing_is_sent(
    tls: Any, name: str, not_after: datetime, trusted: bool, words: str, ca: trustme.CA, ca_file: Path
) -> None:
    with SmtpSink(tls=tls, certificate=ca.issue_cert(name, not_after=not_after)) as sink:
        with pytest.raises(Retry, match=f"its TLS certificate is not trusted: {words}"):
            await send(channel(sink, tls=tls, ca_file=str(ca_file) if trusted else None))
        await sink.wait_until_idle()
        assert "MAIL" not in sink.commands


async def test_tls_to_a_port_without_it_is_explained(sink: SmtpSink) -> None:
    with pytest.raises(Retry, match=r"TLS failed \(.*\); does this port speak TLS the way that"):
        await send(channel(sink, tls="implicit"))


async def test_a_wrong_password_is_tried_again_but_seldom() -> None:
    with SmtpSink(users={"sync": "rotated"}) as sink, pytest.raises(Retry) as caught:
        await send(channel(sink, smtp_username="sync", smtp_password=PASSWORD))
    assert caught.value.reason == (
        f"127.0.0.1:{sink.port} refused the login of sync: "
        "535 5.7.8 Authentication credentials invalid; check smtp_password"
    )
    assert (caught.value.status_code, caught.value.after) == (535, 300)


async def test_a_login_that_needs_something_else_is_rejected() -> None:
    with SmtpSink(users={"sync": PASSWORD}) as sink:
        sink.answer("AUTH", "534 5.7.9 Application-specific password required")
        with pytest.raises(Reject, match=r"534 5\.7\.9 Application-specific password required"):
            await send(channel(sink, smtp_username="sync", smtp_password=PASSWORD))


async def test_a_server_without_a_login_is_rejected(sink: SmtpSink) -> None:
    with pytest.raises(Reject, match=r"offers no login that is known here \(it offers: none\)"):
        await send(channel(sink, smtp_username="sync", smtp_password=PASSWORD))


@pytest.mark.parametrize(
    "echoed",
    [
        PASSWORD,
        base64.b64encode(PASSWORD.encode()).decode(),
        base64.b64encode(f"\0sync\0{PASSWORD}".encode()).decode(),
    ],
)
async def test_a_server_that_repeats_the_password_is_not_quoted(echoed: str) -> None:
    with SmtpSink(users={"sync": PASSWORD}) as sink:
        sink.answer("AUTH", f"535 5.7.8 bad login: {echoed}")
        unlucky = channel(sink, smtp_username="sync", smtp_password=PASSWORD)
        with pytest.raises(Retry) as caught:
            await send(unlucky)
    assert "535 (its text repeats the password)" in caught.value.reason
    assert echoed not in caught.value.reason
    assert echoed not in repr(unlucky.options)
    assert caught.value.__suppress_context__


# What the server says


@pytest.mark.parametrize(
    ("phase", "answer", "verdict"),
    [
        ("CONNECT", "421 4.3.2 too busy", Retry),
        ("CONNECT", "554 5.7.1 your address is blocked", Reject),
        ("MAIL", "451 4.7.1 greylisted", Retry),
        ("MAIL", "421 4.3.2 shutting down", Retry),
        ("MAIL", "550 5.1.8 sender unknown", Reject),
        ("RCPT", "450 4.2.1 mailbox busy", Retry),
        ("RCPT", "550 5.1.1 no such user", Reject),
        ("DATA", "451 4.3.0 try later", Retry),
        ("DATA", "554 5.5.1 no valid recipients", Reject),
        ("END-OF-DATA", "452 4.3.1 disk full", Retry),
        ("END-OF-DATA", "550 5.7.1 this is spam", Reject),
        ("END-OF-DATA", "550-5.7.1 this is\r\n550 5.7.1 spam \x1b[31m", Reject),
    ],
)
async def test_the_answer_decides(sink: SmtpSink, phase: Any, answer: str, verdict: type[Retry] | type[Reject]) -> None:
    sink.answer(phase, answer)
    with pytest.raises(verdict) as caught:
        await send(channel(sink))
    assert isinstance(caught.value, Retry | Reject)
    assert f"127.0.0.1:{sink.port} " in caught.value.reason
    assert answer.split("\r\n")[0].replace("-", " ") in caught.value.reason
    assert caught.value.reason.isprintable()
    assert caught.value.status_code == int(answer[:3])
    await sink.wait_until_idle()
    assert not sink.messages


async def test_old_servers_without_ehlo_are_served(sink: SmtpSink) -> None:
    sink.answer("EHLO", "502 5.5.1 unknown command")
    assert (await sent(sink)).recipients == ("ops@example.com",)


async def test_the_rest_gets_the_message_and_the_history_names_who_was_refused(sink: SmtpSink) -> None:
    sink.answer("RCPT", "550 5.1.1 no such user", address="gone@example.com")
    partly = channel(sink, to_addresses=["ops@example.com", "gone@example.com"])
    context = TestContext(a_notification())
    said = await partly.send(a_notification(), context)
    [received] = await sink.wait_for(1)
    assert received.recipients == ("ops@example.com",)
    assert received.message["To"] == "ops@example.com, gone@example.com"
    assert said == "taken for 1 of 2 recipients, refused for gone@example.com: 550 5.1.1 no such user"
    assert context.log.lines == [
        ("warning", "recipient refused", {"recipient": "gone@example.com", "answer": "550 5.1.1 no such user"})
    ]
    await partly.close()


async def test_who_was_refused_for_now_is_not_tried_again_and_that_is_said(sink: SmtpSink) -> None:
    sink.answer("RCPT", "452 4.2.2 mailbox full\x1b[31m", address="full@example.com")
    sink.answer("RCPT", "550 5.1.1 no such user", address="gone@example.com")
    said = await note(
        sink, to_addresses=["ops@example.com", "full@example.com"], cc_addresses=["gone@example.com", "b@example.com"]
    )
    assert said == (
        "taken for 2 of 4 recipients, refused for full@example.com: 452 4.2.2 mailbox full [31m; "
        "gone@example.com: 550 5.1.1 no such user; "
        "who was refused for now (4xx) is not tried again, because the others would get it twice"
    )


async def test_when_all_recipients_are_taken_there_is_nothing_to_note(sink: SmtpSink) -> None:
    assert await note(sink, cc_addresses=["boss@example.com"]) == ""


async def test_all_recipients_refused_is_tried_again_if_one_may_be_taken_later(sink: SmtpSink) -> None:
    sink.answer("RCPT", "451 4.7.1 greylisted", address="busy@example.com")
    sink.answer("RCPT", "550 5.1.1 no such user", address="gone@example.com")
    with pytest.raises(Retry) as caught:
        await send(channel(sink, to_addresses=["gone@example.com", "busy@example.com"]))
    assert caught.value.reason == (
        f"127.0.0.1:{sink.port} refused every recipient: "
        "gone@example.com: 550 5.1.1 no such user; busy@example.com: 451 4.7.1 greylisted"
    )
    assert caught.value.status_code == 451


@pytest.mark.parametrize("deed", [Deed.DROP, Deed.HANG])
async def test_what_happens_after_acceptance_no_longer_matters(sink: SmtpSink, deed: Deed) -> None:
    sink.answer("QUIT", deed)
    await send(channel(sink), timeout=1.0)
    assert len(await sink.wait_for(1)) == 1
    await sink.wait_until_idle()


# When there is no conversation

PHASES: list[Any] = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END-OF-DATA"]


@pytest.mark.parametrize("phase", PHASES)
async def test_a_dropped_connection_is_tried_again(sink: SmtpSink, phase: Any) -> None:
    sink.answer(phase, Deed.DROP)
    with pytest.raises(Retry, match=rf"127\.0\.0\.1:{sink.port}: the server closed the connection$"):
        await send(channel(sink))


@pytest.mark.parametrize("phase", PHASES)
async def test_a_silent_server_is_left_in_time(sink: SmtpSink, phase: Any) -> None:
    sink.answer(phase, Deed.HANG)
    with pytest.raises(Retry, match=rf"timed out: 127\.0\.0\.1:{sink.port} did not take the message within 0\.3 s"):
        await send(channel(sink), timeout=0.3)
    await sink.wait_until_idle()


async def test_it_gives_up_before_the_daemon_cancels_it(sink: SmtpSink) -> None:
    sink.answer("DATA", Deed.HANG)
    async with asyncio.timeout(1):
        with pytest.raises(Retry, match="timed out"):
            await send(channel(sink), timeout=1)


@pytest.mark.parametrize(
    ("tls", "phase"),
    [
        *[("starttls", phase) for phase in ("CONNECT", "EHLO", "STARTTLS", "DATA")],
        *[("implicit", phase) for phase in ("CONNECT", "EHLO", "DATA")],
    ],
)
async def test_a_silent_server_is_left_in_time_with_tls(tls: Any, phase: Any, ca: trustme.CA, ca_file: Path) -> None:
    with SmtpSink(tls=tls, certificate=ca.issue_cert("127.0.0.1")) as sink:
        sink.answer(phase, Deed.HANG)
        with pytest.raises(Retry, match="timed out"):
            await send(channel(sink, tls=tls, ca_file=str(ca_file)), timeout=0.3)
        await sink.wait_until_idle()


async def test_a_frozen_server_is_not_waited_for_when_tls_is_taken_down(ca: trustme.CA, ca_file: Path) -> None:
    """Left to asyncio, a TLS connection stays open until the server agrees to its end, for up to 30 s."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = asyncio.create_task(asyncio.to_thread(freeze, server, ca.issue_cert("127.0.0.1")))
        _, port = server.getsockname()
        with pytest.raises(Retry, match="timed out"):
            await send(EmailChannel(options(smtp_port=port, tls="implicit", ca_file=str(ca_file))), timeout=0.3)
        await gone


def freeze(server: socket.socket, certificate: trustme.LeafCert) -> None:
    """Greet one client over TLS, then do nothing more. Returns when the client hangs up; raises if it does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    client, _ = server.accept()
    with context.wrap_socket(client, server_side=True) as encrypted:
        encrypted.send(b"220 frozen.example.com\r\n")
        with socket.socket(fileno=encrypted.detach()) as raw:
            raw.settimeout(5)
            while raw.recv(4096):
                pass


async def test_starttls_to_a_port_that_waits_for_tls_times_out(ca: trustme.CA) -> None:
    certificate = ca.issue_cert("127.0.0.1")
    with SmtpSink(tls="implicit", certificate=certificate) as sink, pytest.raises(Retry, match="timed out"):
        await send(channel(sink, tls="starttls"), timeout=0.3)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_cancelled_attempt_leaves_no_connection(sink: SmtpSink, phase: Any) -> None:
    sink.answer(phase, Deed.HANG)
    attempt = asyncio.create_task(send(channel(sink)))
    await sink.wait_for_command(phase)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    await sink.wait_until_idle()


async def test_a_refused_connection_is_tried_again() -> None:
    port = free_port()
    with pytest.raises(Retry, match=rf"^127\.0\.0\.1:{port}: connection refused$"):
        await send(EmailChannel(options(smtp_port=port)))


async def test_an_unknown_host_is_tried_again() -> None:
    """A name too long for the DNS, so that none is asked."""
    with pytest.raises(Retry, match=r"^cannot resolve host a\..*a\.example"):
        await send(EmailChannel(options(smtp_host="a." * 150 + "example")))


async def test_what_is_no_mail_server_is_named(sink: SmtpSink) -> None:
    sink.answer("CONNECT", "HTTP/1.1 400 Bad Request")
    with pytest.raises(Retry, match=r"does not answer like a mail server: .*HTTP/1\.1 400 Bad Request"):
        await send(channel(sink))
