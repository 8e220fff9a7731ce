"""The channels of services, the one that runs a program, and the filters that hold or match, pass the kit too."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from notifyd.api.testing import ChannelTests, FilterTests, HttpServer, Mood, Server
from notifyd.render.samples import SAMPLES
from notifyd_plugins.command import CommandChannel
from notifyd_plugins.discord import DiscordChannel
from notifyd_plugins.match import MatchFilter
from notifyd_plugins.ntfy import NtfyChannel
from notifyd_plugins.pagerduty import PagerDutyChannel
from notifyd_plugins.quiet_hours import QuietHoursFilter
from notifyd_plugins.teams import TeamsChannel
from notifyd_plugins.telegram import TelegramChannel
from notifyd_plugins.throttle import ThrottleFilter


class TestDiscord(ChannelTests):
    channel = DiscordChannel
    taken = 204
    bad_options: ClassVar[list[dict[str, Any]]] = [{"webhook_url": "discord.com"}]

    def options(self, server: HttpServer) -> Mapping[str, Any]:
        return {"webhook_url": server.url, "username": "Sync"}


class TestTeams(ChannelTests):
    channel = TeamsChannel
    taken = 202

    def options(self, server: HttpServer) -> Mapping[str, Any]:
        return {"webhook_url": server.url}


class TestTelegram(ChannelTests):
    channel = TelegramChannel

    def options(self, server: HttpServer) -> Mapping[str, Any]:
        return {"server": server.url, "bot_token": "123456:a-secret-token", "chat_id": "-1001"}


class TestNtfy(ChannelTests):
    channel = NtfyChannel

    def options(self, server: HttpServer) -> Mapping[str, Any]:
        return {"server": server.url, "topic": "a-secret-topic", "token": "tk_a-secret-token"}


class TestPagerDuty(ChannelTests):
    channel = PagerDutyChannel
    taken = (202, {"Content-Type": "application/json"}, b'{"status": "success", "dedup_key": "x"}')

    def options(self, server: HttpServer) -> Mapping[str, Any]:
        return {"server": server.url, "routing_key": "0123456789abcdef0123456789abcdef"}

    @pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind != "test"])
    def test_it_sends(self, kind: str) -> None:
        """it sends every kind of event and a digest; a test is two requests (tests/plugins/test_services.py)"""
        super().test_it_sends(kind)


PROGRAM = """
cat > "$1/told.tmp" || exit 1
case "$(cat "$1/mood")" in
    TAKES) mv "$1/told.tmp" "$(mktemp "$1/told-XXXXXX")" ;;
    SLOW) sleep 0.6 ;;
    NOT_NOW) echo "the pager is busy" >&2; exit 75 ;;
    NEVER) echo "there is no such pager" >&2; exit 65 ;;
    HANGS) sleep 60 ;;
    BREAKS_OFF | BREAKS_OFF_LATE) kill -KILL $$ ;;
    NONSENSE) printf 'what? \\000\\377\\n' >&2; exit 3 ;;
esac
"""


class Program(Server):
    """The kit's view of a program that does as its mood says."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp())
        self.be(Mood.TAKES)
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.folder)

    def be(self, mood: Mood) -> None:
        (self.folder / "mood").write_text(mood.name)

    @property
    def received(self) -> list[str]:
        return [file.read_text() for file in sorted(self.folder.glob("told-*"))]


class TestCommand(ChannelTests):
    channel = CommandChannel
    bad_options: ClassVar[list[dict[str, Any]]] = [{"command": ["page-someone"]}]

    def server(self) -> Server:
        return Program()

    def options(self, server: Program) -> Mapping[str, Any]:
        script = PROGRAM.replace("told.tmp", "told.$$")
        return {"command": ["/bin/sh", "-c", script, "program", str(server.folder)], "env": {"TOKEN": "a-secret-token"}}


class TestMatch(FilterTests):
    filter = MatchFilter
    options: ClassVar[list[Any]] = [
        {"only": {"message": "timed? ?out"}},
        {"never": {"details.order": "^TEST-", "connector_id": "^x"}},
    ]
    bad_options: ClassVar[list[Any]] = [{}, {"only": {"message": "("}}, {"only": {"colour": "x"}}, None, "x"]


class TestQuietHours(FilterTests):
    filter = QuietHoursFilter
    options: ClassVar[list[Any]] = [
        {"timezone": "Europe/Berlin", "times": [{"from": "22:00", "until": "07:00"}]},
        {"times": [{"from": "00:00", "until": "00:00", "days": ["sat", "sun"]}], "urgent": "error"},
    ]
    bad_options: ClassVar[list[Any]] = [{}, {"times": []}, {"times": [{"from": "22:00"}]}, "22:00", None]


class TestThrottle(FilterTests):
    filter = ThrottleFilter
    options: ClassVar[list[Any]] = [{"most": 2, "per": "10m"}, {"most": 1, "per": "1d", "by": ["connector_id"]}]
    bad_options: ClassVar[list[Any]] = [{}, {"most": 0, "per": "1h"}, {"most": 1, "per": "soon"}, 7, None]
    keeps_state = True
