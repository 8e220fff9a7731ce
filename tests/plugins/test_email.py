"""The mail that arrives: to whom, its headers, and its texts."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from notifyd.api import Reject, Retry, Severity
from notifyd.render import Template
from notifyd_plugins.email.addresses import parse_mailbox
from tests.examples import examples
from tests.plugins.mailing import channel, options, send, sent
from tests.sinks.context import TestContext, a_notification, an_event
from tests.sinks.smtp import SmtpSink

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
@settings(max_examples=examples(100), deadline=None)
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
