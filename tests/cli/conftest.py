"""The `notifyd` command against a real settings file, real logs and a real state DB."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.main import get_command
from typer.testing import CliRunner

from notifyd.__main__ import application
from notifyd.clock import utc_now
from notifyd.core.rules import Origin
from notifyd.filtering import gate_of, recipient_of
from notifyd.model import Outcome, Result
from notifyd.observe.health import Health
from notifyd.poller import Poller
from notifyd.settings import Settings, SourceSettings
from notifyd.store import configs, outbox
from notifyd.store.admission import Capacity
from notifyd.store.claim import Claimed
from notifyd.store.configs import Provisioned
from notifyd.store.database import open_database
from notifyd.store.outbox import Settled
from notifyd.store.thread import StoreThread
from tests.sinks.log import JobLog, SyncLog
from tests.sources.conftest import mariadb as mariadb
from tests.sources.conftest import postgres as postgres
from tests.sources.conftest import server as server
from tests.store import fresh
from tests.system.site import Site

SENT = Outcome(Result.SENT, status_code=200)


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def items(self) -> list[dict[str, Any]]:
        return list(self.json["items"])


Notifyd = Callable[..., Answer]


@cache
def built() -> Any:
    """Every command. To build them takes longer than most of what they do."""
    return get_command(application())


def invoke(*arguments: str, **environ: str) -> Answer:
    """Run a command in this process. Whatever it raises but SystemExit is the test's failure."""
    command = copy.deepcopy(built())  # a command keeps what it learns of itself: the options of its help, say
    with CliRunner().isolation(env={"NOTIFYD_CONFIG": None, **environ}) as (stdout, stderr, _):
        with pytest.raises(SystemExit) as ended:
            command.main(list(arguments), prog_name="notifyd")
        sys.stdout.flush()
        sys.stderr.flush()
        return Answer(int(ended.value.code or 0), stdout.getvalue().decode(), stderr.getvalue().decode())


async def aside(*arguments: str, site: Site) -> Answer:
    """The command with the site's settings file, while this thread's loop goes on."""
    return await asyncio.to_thread(invoke, *arguments, "--config", str(site.file))


class Past:
    """Makes the state DB of a site what it is after a daemon ran, step by step and without one."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def poll(self, now: datetime | None = None) -> None:
        """Read every source to its end."""
        fresh.put(self.site.state)
        asyncio.run(_poll(self.site.settings(), now or utc_now()))

    def attempt(self, outcome: Outcome = SENT, *, retry_in: timedelta | None = None) -> list[Claimed]:
        """Claim what is due of every config, and settle it so."""
        now, settings = utc_now(), self.site.settings()
        lanes = [_capacity(settings, notification.name) for notification in settings.notifications]
        with closing(open_database(settings.daemon.state, create=False)) as db:
            claimed = outbox.turn(db, [], {lane.recipient.id: lane for lane in lanes}, now)
            retry_at = now + retry_in if retry_in else None
            with db.transaction():
                outbox.settle(db, [Settled(each, outcome, now, now, retry_at) for each in claimed])
        return claimed


def _capacity(settings: Settings, name: str) -> Capacity:
    (notification,) = [each for each in settings.notifications if each.name == name]
    return Capacity(recipient_of(notification), notification.notification_type, 100, timedelta(minutes=1))


async def _poll(settings: Settings, now: datetime) -> None:
    store = StoreThread(open_database(settings.daemon.state, create=True))
    await store(configs.provision, [_provisioned(each.name, each.enabled) for each in settings.notifications], now)
    for source in settings.sources:
        poller = _poller(settings, source, store, now)
        await poller.poll()
        await poller.close()
    await store.close()


def _provisioned(name: str, enabled: bool) -> Provisioned:
    return Provisioned(name, "webhook", enabled=enabled, config="{}", filters="{}", group="{}", system=False)


def _poller(settings: Settings, source: SourceSettings, store: StoreThread, now: datetime) -> Poller:
    gates = [gate_of(each, settings.registry) for each in settings.notifications if each.enabled]
    origin = Origin(
        source.name, source.id, rows=source.rows, run_ends_after=source.run_ends_after, rewatch=source.rewatch
    )
    rules = settings.rules.detection()
    return Poller(source, origin, rules, gates, store, lambda: now, Health(), found=lambda: None)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command that logs does so to its own stderr, which is closed afterwards."""
    before = list(logging.getLogger().handlers)
    yield
    logging.getLogger().handlers[:] = before
    structlog.reset_defaults()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def past(site: Site) -> Past:
    return Past(site)


@pytest.fixture
def notifyd(site: Site) -> Notifyd:
    """`notifyd("why", "4711")`: the command, with the site's settings file."""
    return lambda *arguments, **environ: invoke(*arguments, "--config", str(site.file), **environ)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobLog]:
    with JobLog(tmp_path / "jobs.db") as log:
        yield log


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SyncLog]:
    with SyncLog(tmp_path / "shop.db") as log:
        yield log


def hook(name: str, **keys: Any) -> dict[str, Any]:
    """A config whose endpoint nobody asks: what becomes of its deliveries, `Past.attempt` says."""
    return {
        "name": name,
        "notification_type": "webhook",
        "config": {"url": "http://127.0.0.1:9/"},
        "group": {"window": "0s"},
        **keys,
    }


def from_beginning(*sources: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """The sources, read from their first row on."""
    return [{**source, "start": "beginning"} for source in sources]
