"""The e-mail channel against a real SMTP server."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from notifyd.api import Channel, Notification, Reject, Retry, Severity
from notifyd.render import Template
from notifyd_plugins.email import EmailChannel, EmailOptions, notifyd_channels
from notifyd_plugins.email.addresses import parse_mailbox
from tests.sinks.context import NOW, TestContext, a_notification, an_event
from tests.sinks.smtp import Deed, Received, SmtpSink

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


# What arrives


async def test_one_message_goes_to_all_recipients(sink: SmtpSink) -> None:
    received = await sent(sink, to_addresses=["ops@example.com", "On Call <call@example.org>"])
    assert received.sender == "notifyd@example.com"
    assert received.recipients == ("ops@example.com", "call@example.org")
    assert dict(received.message.items()) == {
        "From": "Sync Monitor <notifyd@example.com>",
        "To": "ops@example.com, On Call <call@example.org>",
        "Subject": "Sync Error: quickbooks - orders",
        "Date": "Tue, 24 Nov 2026 21:00:00 +0000",
        "Message-ID": "<0192f0c1e5b27c3d@example.com>",
        "List-Id": "<ops-mail.notifyd.example.com>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "X-Notifyd-Event": "sync_error",
        "X-Notifyd-Severity": "error",
        "MIME-Version": "1.0",
        "Content-Type": received.message["Content-Type"],
    }
    assert sink.commands["CONNECT"] == sink.commands["DATA"] == 1


async def test_copies_go_to_the_copied_and_nobody_gets_two(sink: SmtpSink) -> None:
    received = await sent(
        sink, to_addresses=["ops@example.com"], cc_addresses=["Boss <boss@example.com>", "ops@example.com"]
    )
    assert received.recipients == ("ops@example.com", "boss@example.com")
    assert received.message["To"] == "ops@example.com"
    assert received.message["Cc"] == "Boss <boss@example.com>, ops@example.com"


async def test_the_body_is_what_the_daemon_renders_as_text_and_html(sink: SmtpSink) -> None:
    notification = a_notification(an_event(message="<b>größer</b> 💥 " + "long " * 400 + "\n.\n..\nFrom here"))
    received = await sent(sink, notification)
    rendered = TestContext(notification).render()
    assert received.message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in parts(received.message)] == ["text/plain", "text/html"]
    assert received.part("plain") == rendered.text
    assert received.part("html") == rendered.html
    assert "&lt;b&gt;größer&lt;/b&gt; 💥" in received.part("html")
    assert received.content.isascii()
    assert max(len(line) for line in received.content.split(b"\r\n")) <= 78


def parts(message: EmailMessage) -> list[EmailMessage]:
    return list(message.iter_parts())  # type: ignore[arg-type]


async def test_a_repeat_has_the_same_message_id(sink: SmtpSink) -> None:
    sink.answer("END-OF-DATA", "451 4.3.0 not now", times=1)
    with pytest.raises(Retry):
        await send(channel(sink), attempt=1, delivery_id="d1")
    await send(channel(sink), attempt=2, delivery_id="d1", now=datetime(2026, 11, 24, 22, 0, tzinfo=UTC))
    await send(channel(sink), delivery_id="d2")
    first, second = await sink.wait_for(2)
    assert first.message["Message-ID"] == "<d1@example.com>"
    assert first.message["Date"].datetime == datetime(2026, 11, 24, 22, 0, tzinfo=UTC)
    assert second.message["Message-ID"] == "<d2@example.com>"


async def test_what_belongs_together_is_one_thread(sink: SmtpSink) -> None:
    """A streak's announcement, its reminders, the failures that follow and its recovery have one thread."""
    mailing = channel(sink)
    for delivery, thread in (("d1", "5f0c7a1d"), ("d2", "5f0c7a1d"), ("d3", "77777777"), ("d4", None)):
        notification = a_notification(thread=thread)
        await mailing.send(notification, TestContext(notification, delivery_id=delivery))
    await mailing.close()
    threads = [message.message["References"] for message in await sink.wait_for(4)]
    assert threads == [*["<5f0c7a1d.thread@example.com>"] * 2, "<77777777.thread@example.com>", None]
    assert [message.message["In-Reply-To"] for message in sink.messages] == threads
    assert len({message.message["Message-ID"] for message in sink.messages} | set(threads[:3])) == 6


@pytest.mark.parametrize(
    ("config", "list_id"),
    [
        ("ops-mail", "<ops-mail.notifyd.example.com>"),
        ("Ops Mail", "<ops-mail-3e3b81fd.notifyd.example.com>"),
        ("Büro", "<b-ro-96eecebc.notifyd.example.com>"),
        ("運用", "<e96adf22.notifyd.example.com>"),
        ("a\r\nBcc: b@example.com <x>", "<a-bcc-b-example-com-x-29f4e202.notifyd.example.com>"),
        ("x" * 100, f"<{'x' * 40}-09ecb6eb.notifyd.example.com>"),
    ],
)
async def test_each_config_is_a_list_of_its_own(sink: SmtpSink, config: str, list_id: str) -> None:
    received = await sent(sink, a_notification(config=config))
    assert received.message["List-Id"].strip() == list_id
    assert "Bcc" not in received.message


async def test_a_template_gives_subject_and_text(sink: SmtpSink) -> None:
    template = Template("{{ event.connector_id }}: {{ event.severity }}", "{{ event.message }}\n<b>Öl</b> {{ link }}")
    await send(channel(sink), template=template, public_url="https://notifyd.example.com")
    [received] = await sink.wait_for(1)
    assert received.message["Subject"] == "quickbooks: error"
    link = "https://notifyd.example.com/deliveries/0192f0c1e5b27c3d"
    assert received.part("plain").strip() == f"500: QuickBooks said that the order is not complete\n<b>Öl</b> {link}"
    assert f'&lt;b&gt;Öl&lt;/b&gt; <a href="{link}"' in received.part("html")


async def test_critical_is_marked_important(sink: SmtpSink) -> None:
    received = await sent(sink, a_notification(an_event(severity=Severity.CRITICAL)))
    assert received.message["Importance"] == "high"


async def test_a_digest_is_one_message(sink: SmtpSink) -> None:
    digest = a_notification(an_event(title="500 sync errors"), *[an_event() for _ in range(20)], count=500)
    received = await sent(sink, digest)
    assert received.message["Subject"] == "500 sync errors"
    assert "… and 490 more" in received.part("plain")


async def test_an_international_domain_is_sent_in_ascii(sink: SmtpSink) -> None:
    received = await sent(sink, from_address="Büro <sync@bücher.example>", to_addresses=["ops@bücher.example"])
    assert (received.sender, received.recipients) == ("sync@xn--bcher-kva.example", ("ops@xn--bcher-kva.example",))
    assert received.message["From"] == "Büro <sync@xn--bcher-kva.example>"
    assert received.message["Message-ID"].endswith("@xn--bcher-kva.example>")


async def test_an_international_server_is_called_by_its_ascii_name() -> None:
    assert options(smtp_host="mail.bücher.example").smtp_host == "mail.xn--bcher-kva.example"
    assert parse_mailbox("ops@straße.example").domain == "xn--strae-oqa.example", "IDNA 2008, not 2003"


async def test_an_international_address_is_written_as_it_is_where_the_server_can() -> None:
    with SmtpSink(smtputf8=True) as sink:
        received = await sent(sink, from_address="Büro <büro@bücher.example>", to_addresses=["運用@example.com"])
    assert (received.sender, received.recipients) == ("büro@xn--bcher-kva.example", ("運用@example.com",))
    assert "From: Büro <büro@xn--bcher-kva.example>\r\nTo: 運用@example.com\r\n".encode() in received.content


async def test_an_international_address_is_rejected_where_the_server_cannot(sink: SmtpSink) -> None:
    with pytest.raises(Reject) as caught:
        await send(channel(sink, to_addresses=["ops@example.com", "運用@example.com"]))
    assert caught.value.reason == (
        f"127.0.0.1:{sink.port} does not offer SMTPUTF8, without which 運用@example.com cannot be written to it"
    )
    assert "MAIL" not in sink.commands


# What an attacker, or a wild log, may put into it

INJECTIONS = [
    "Sync Error\r\nBcc: thief@example.com",
    "Sync Error\nBcc: thief@example.com\n\nbody",
    "=?utf-8?q?Sync=0D=0ABcc:_thief@example.com?=",
    "🔥=?UTF-8?Q?=0A?=Bcc: thief@example.com",
    "=?utf-8?b?DQpCY2M6IHRoaWVmQGV4YW1wbGUuY29t?=",
    "Sync Error\u2028Bcc: thief@example.com\x85\x0b\x0c\x00",
    "\udcff\ud800 broken",
    "x" * 5000,
    "ü" * 5000,
]


@given(st.sampled_from(INJECTIONS) | st.text(st.characters(codec=None), max_size=250))
@settings(max_examples=100, deadline=None)
async def test_no_title_breaks_out_of_its_header(title: str) -> None:
    notification = a_notification(an_event(title=title))
    with SmtpSink() as sink:
        received = await sent(sink, notification)
    assert received.recipients == ("ops@example.com",)
    assert list(received.message) == [
        *("From", "To", "Subject", "Date", "Message-ID", "List-Id", "Auto-Submitted", "X-Auto-Response-Suppress"),
        *("X-Notifyd-Event", "X-Notifyd-Severity", "MIME-Version", "Content-Type"),
    ]
    assert received.message["Subject"] == TestContext(notification).render().title.replace("=?", "= ?")
    assert received.part("plain") == TestContext(notification).render().text


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ops",
        "ops@",
        "@example.com",
        "ops@example.com, thief@example.com",
        "ops@example.com thief@example.com",
        "ops@example.com\r\nBcc: thief@example.com",
        "Ops\r\nBcc: thief@example.com <ops@example.com>",
        "Ops <ops@example.com> SIZE=1",
        "Ops <ops@example.com><thief@example.com>",
        "<ops@example.com",
        "=?utf-8?q?=0D=0ABcc:_thief?= <ops@example.com>",
        "=?utf-8?q?a?=@example.com",
        '"a b"@example.com',
        "ops@exa mple.com",
        "ops@-example.com",
        "ops@example..com",
        ".ops@example.com",
        "ö ps@example.com",
        "o\u00a0ps@example.com",
        "o\u2028ps@example.com",
        "\ud800ps@example.com",
        "o\x85ps@example.com",
        "ops@exa\u202emple.com",
        "ops@b\u00fc cher.example",
        "ops@xn--bcher-kva\u2028.example",
        f"{'o' * 65}@example.com",
        f"{'ö' * 33}@example.com",
        f"ops@{'example.' * 32}com",
        "Ops\x00 <ops@example.com>",
        "Ops\u202e <ops@example.com>",
    ],
)
def test_a_bad_address_is_found_when_the_settings_are_read(address: str) -> None:
    for changes in ({"from_address": address}, {"to_addresses": ["good@example.com", address]}):
        with pytest.raises(ValidationError, match="is not an e-mail address; expected"):
            options(**changes)


@pytest.mark.parametrize(
    ("address", "header"),
    [
        ("ops@example.com", "ops@example.com"),
        (" <ops@example.com> ", "ops@example.com"),
        ("root@localhost", "root@localhost"),
        ("o'brien+sync.x@mail.example.com", "o'brien+sync.x@mail.example.com"),
        ('"Ops, Night" <ops@example.com>', '"Ops, Night" <ops@example.com>'),
        ("Ops, Night <ops@example.com>", '"Ops, Night" <ops@example.com>'),
        ("運用 <ops@example.com>", "運用 <ops@example.com>"),
    ],
)
async def test_a_good_address_arrives(sink: SmtpSink, address: str, header: str) -> None:
    received = await sent(sink, from_address=address, to_addresses=[address])
    assert (received.message["From"], received.message["To"]) == (header, header)


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


# Options


def test_the_plugin_hands_over_its_channel() -> None:
    assert notifyd_channels() == [EmailChannel]
    assert EmailChannel.name == "email"


@pytest.mark.parametrize(("tls", "port"), [("starttls", 587), ("implicit", 465), ("none", 25)])
def test_the_port_follows_from_tls(tls: str, port: int) -> None:
    assert options(tls=tls).server == f"127.0.0.1:{port}"
    assert options(tls=tls, smtp_port=2525).server == "127.0.0.1:2525"


def test_tls_is_on_unless_refused() -> None:
    given = {"smtp_host": "mail.example.com", "from_address": "a@example.com", "to_addresses": ["b@example.com"]}
    assert EmailOptions.model_validate(given).tls == "starttls"


def test_an_ipv6_server_is_written_with_brackets() -> None:
    assert options(smtp_host="::1").server == "[::1]:25"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"to_addresses": []}, "at least 1 item"),
        ({"to_addresses": "ops@example.com"}, "valid list"),
        ({"smtp_host": "mail.example.com:587"}, "give the host name alone; the port goes into smtp_port"),
        ({"smtp_host": "smtp://mail.example.com"}, "give the host name alone; the port goes into smtp_port"),
        ({"smtp_host": "mail example.com"}, "is not a host name"),
        ({"smtp_host": "mail\r\nexample.com"}, "is not a host name"),
        ({"smtp_host": ""}, "is not a host name"),
        ({"smtp_host": "b\u00fc cher.example"}, "is not a host name"),
        ({"cc_addresses": ["ops"]}, "is not an e-mail address"),
        (
            {"to_addresses": ["ops@example.com"] * 60, "cc_addresses": ["ops@example.com"] * 41},
            "at most 100 recipients",
        ),
        ({"smtp_port": 0}, "greater than or equal to 1"),
        ({"smtp_port": 65536}, "less than or equal to 65535"),
        ({"tls": "ssl"}, "'starttls', 'implicit' or 'none'"),
        ({"smtp_username": "sync"}, "smtp_username and smtp_password go together"),
        ({"smtp_password": PASSWORD}, "smtp_username and smtp_password go together"),
        ({"subject": "x"}, "Extra inputs are not permitted"),
        ({"tls": "starttls", "ca_file": "ca.pem"}, "must be an absolute path"),
        (
            {"tls": "starttls", "ca_file": "/nowhere/ca.pem"},
            "/nowhere/ca.pem cannot be read: no such file or directory",
        ),
        ({"tls": "starttls", "ca_file": "/"}, "/ cannot be read: is a directory"),
        ({"tls": "starttls", "ca_file": __file__}, "holds no certificate in PEM form"),
    ],
)
def test_bad_options_are_found_when_the_settings_are_read(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        EmailOptions.model_validate(values(**changes), context={"secrets": lambda kind, name: PASSWORD})
    assert PASSWORD not in str(caught.value)


def test_a_ca_file_without_tls_is_an_error(ca_file: Path) -> None:
    with pytest.raises(ValidationError, match="ca_file has no use with tls"):
        options(ca_file=str(ca_file))


async def test_a_ca_file_that_is_gone_for_a_while_loses_no_message(ca: trustme.CA, ca_file: Path) -> None:
    with SmtpSink(tls="implicit", certificate=ca.issue_cert("127.0.0.1")) as sink:
        patient = channel(sink, tls="implicit", ca_file=str(ca_file))
        certificates = ca_file.read_bytes()
        ca_file.unlink()
        with pytest.raises(Retry, match=r"^ca_file: .*ca\.pem cannot be used: No such file or directory$"):
            await send(patient)
        ca_file.write_bytes(certificates)
        await patient.send(a_notification(), TestContext(a_notification(), now=NOW))
        assert len(await sink.wait_for(1)) == 1
        await patient.close()


def test_every_option_is_described() -> None:
    assert all(field.description for field in EmailOptions.model_fields.values())


# -- its check


async def test_its_check_logs_in_and_sends_nothing():
    with SmtpSink(users={"me": PASSWORD}) as sink:
        config = channel(sink, smtp_username="me", smtp_password=PASSWORD)
        seen = await config.check(TestContext(a_notification()))
        await sink.wait_until_idle()
    assert seen == f"127.0.0.1:{sink.port} answers (none), and the login me works"
    assert sink.messages == []
    assert sink.commands["MAIL"] == 0


async def test_its_check_says_what_is_wrong_with_the_login():
    with SmtpSink(users={"me": "another"}) as sink:
        config = channel(sink, smtp_username="me", smtp_password=PASSWORD)
        with pytest.raises(Retry, match="535") as refusal:
            await config.check(TestContext(a_notification()))
    assert PASSWORD not in str(refusal.value)


async def test_its_check_has_an_end():
    with SmtpSink() as sink:
        sink.answer("EHLO", Deed.HANG)
        with pytest.raises(Retry, match=r"did not let us in within 0\.2 s"):
            await channel(sink).check(TestContext(a_notification(), timeout=0.2))
