"""The options of the e-mail channel, and its check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from notifyd.api import Retry
from notifyd_plugins.email import EmailChannel, EmailOptions, notifyd_channels
from tests.plugins.mailing import PASSWORD, channel, options, send, values
from tests.sinks.context import NOW, TestContext, a_notification
from tests.sinks.smtp import Deed, SmtpSink

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
