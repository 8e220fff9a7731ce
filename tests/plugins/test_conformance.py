"""Our own channels and filters pass the kit that a plugin's author is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import pytest

from notifyd.api.testing import ChannelTests, FilterTests, HttpServer, Mood, Server
from notifyd_plugins import filters
from notifyd_plugins.apprise import AppriseChannel
from notifyd_plugins.email import EmailChannel
from notifyd_plugins.slack import SlackChannel
from notifyd_plugins.webhook import WebhookChannel
from tests.sinks.smtp import Deed, SmtpSink

SIGNING = "whsec_c29tZSB0aGlydHktdHdvIHJhbmRvbSBieXRlcyE="


class TestWebhook(ChannelTests):
    channel = WebhookChannel
    bad_options: ClassVar[list[dict[str, Any]]] = [
        {"url": "ftp://example.com"},
        {"url": "http://a.example", "auth_token": "a\nb"},
    ]

    def options(self, server: HttpServer) -> Mapping[str, Any]:
        return {
            "url": server.url,
            "headers": {"X-Key": "a-secret-header"},
            "auth_token": "a-secret-token",
            "signing_secrets": [SIGNING],
        }


class TestSlack(ChannelTests):
    channel = SlackChannel
    taken = (200, {"Content-Type": "text/html"}, b"ok")

    def options(self, server: HttpServer) -> Mapping[str, Any]:
        return {"webhook_url": server.url, "channel": "#ops", "username": "Sync"}


@pytest.mark.filterwarnings("ignore:.* is deprecated and slated for removal:DeprecationWarning")
class TestApprise(ChannelTests):
    channel = AppriseChannel
    tells_final = False  # Apprise says that it failed, and little of why
    reads_retry_after = False

    def options(self, server: HttpServer) -> Mapping[str, Any]:
        return {"url": f"json://a-user:a-secret-password@{server.url.removeprefix('http://')}"}


class SmtpServer(Server):
    """The kit's view of a real SMTP server."""

    _MOODS: ClassVar[Mapping[Mood, str | Deed]] = {
        Mood.NOT_NOW: "451 4.3.0 try again later",
        Mood.NEVER: "554 5.7.1 refused",
        Mood.HANGS: Deed.HANG,
        Mood.BREAKS_OFF: Deed.DROP,
        Mood.BREAKS_OFF_LATE: Deed.DROP,
        Mood.NONSENSE: "what? \x00\xff",
    }

    def __enter__(self) -> Self:
        self.sink = SmtpSink(users={"me": "a-secret-password"}).__enter__()
        self.port = self.sink.port
        return self

    def __exit__(self, *error: object) -> None:
        self.sink.__exit__(None, None, None)

    def be(self, mood: Mood) -> None:
        self.sink.relent()
        if mood in self._MOODS:
            phase = "END-OF-DATA" if mood is Mood.BREAKS_OFF_LATE else "MAIL"
            self.sink.answer(phase, self._MOODS[mood])  # type: ignore[arg-type]

    @property
    def received(self) -> list[str]:
        return [
            f"{mail.message['Message-ID']}\n{mail.message['Subject']}\n{mail.part('plain')}"
            for mail in self.sink.messages
        ]


class TestEmail(ChannelTests):
    channel = EmailChannel

    def server(self) -> Server:
        return SmtpServer()

    def options(self, server: Server) -> Mapping[str, Any]:
        return {
            "smtp_host": server.host,
            "smtp_port": server.port,
            "smtp_username": "me",
            "smtp_password": "a-secret-password",
            "from_address": "notifyd@example.com",
            "to_addresses": ["ops@example.com"],
            "tls": "none",
        }


class TestMinSeverity(FilterTests):
    filter = filters.SeverityFilter
    options: ClassVar[list[Any]] = ["info", "warning", "error", "critical"]
    bad_options: ClassVar[list[Any]] = ["loud", "", None, 3, ["error"]]


class OfNames(FilterTests):
    options: ClassVar[list[Any]] = [["quickbooks"], ["orders", "sync_failure", "acme"]]
    bad_options: ClassVar[list[Any]] = [[], [""], "quickbooks", [7], None]


class TestConnectors(OfNames):
    filter = filters.ConnectorFilter


class TestEntityTypes(OfNames):
    filter = filters.EntityTypeFilter


class TestErrorTypes(OfNames):
    filter = filters.ErrorTypeFilter


class TestTenants(OfNames):
    filter = filters.TenantFilter


class TestEventTypes(FilterTests):
    filter = filters.EventTypeFilter
    options: ClassVar[list[Any]] = [["sync_error"], ["test", "recovered"]]
    bad_options: ClassVar[list[Any]] = [[], ["nothing"], "sync_error", None]
