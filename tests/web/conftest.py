"""The API of a real daemon, asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from notifyd.daemon import Daemon
from notifyd.store import tokens
from notifyd.store.tokens import Permission
from notifyd.store.trail import Actor
from tests.loops.conftest import Clock, Said, clock, said
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.store import fresh
from tests.system.site import Site, webhook

__all__ = ["clock", "said"]

SLACK: dict[str, Any] = {
    "notification_type": "slack",
    "enabled": True,
    "config": {
        "type": "Slack",
        "webhook_url": "https://hooks.slack.com/services/T000/B000/XXXX",
        "channel": "#sync-alerts",
        "username": "EasySale Sync Monitor",
    },
    "filters": {
        "min_severity": "warning",
        "connectors": ["quickbooks", "woocommerce"],
        "entity_types": None,
        "error_types": None,
    },
}
"""The mission's own example, to the letter."""

LOOPBACK = {"allow_private_targets": ["127.0.0.0/8"]}


class Api:
    """A client of one daemon, with a token that may do everything; `base` is where the API is."""

    base = "/api/notifications"

    def __init__(self, daemon: Daemon, token: str) -> None:
        self.daemon, self.token = daemon, token
        self.base_url = f"http://127.0.0.1:{daemon.server.port}"
        self.client = httpx.AsyncClient(
            base_url=self.base_url, headers={"authorization": f"Bearer {token}"}, timeout=60
        )

    async def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Any request; a path without /api is below `base`."""
        return await self.client.request(method, path if path.startswith("/api") else self.base + path, **arguments)

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        return await self._json("GET", path, status, params=query)

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        return await self._json("POST", path, status, json=body)

    async def put(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        return await self._json("PUT", path, status, json=body, headers=_named(headers))

    async def patch(self, path: str, body: Any, status: int = 200, **headers: str) -> Any:
        return await self._json("PATCH", path, status, json=body, headers=_named(headers))

    async def delete(self, path: str, status: int = 204, **headers: str) -> Any:
        return await self._json("DELETE", path, status, headers=_named(headers))

    async def make(self, **config: Any) -> dict[str, Any]:
        """A webhook config, or whatever is given."""
        made: dict[str, Any] = await self.post("/configs", config, 201)
        return made

    async def _json(self, method: str, path: str, status: int, **arguments: Any) -> Any:
        answer = await self.ask(method, path, **arguments)
        assert answer.status_code == status, answer.text
        if status >= 400:
            check_problem(answer)
        return answer.json() if answer.content else None


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def check_problem(answer: httpx.Response) -> None:
    """Every refusal is a problem of RFC 9457, with one sentence, which `error` repeats."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == answer.status_code
    assert problem["error"] == problem["detail"]
    assert "\n" not in problem["detail"]
    assert "Traceback" not in answer.text


def hook(url: str, name: str = "hook", **keys: Any) -> dict[str, Any]:
    """The body of a webhook config that sends each event by itself."""
    return {"notification_type": "webhook", "name": name, "config": {"url": url}, "group": {"window": "0s"}, **keys}


async def make_token(daemon: Daemon, name: str, *permissions: Permission, lifetime: timedelta | None = None) -> str:
    now = daemon.clock()
    _, text = await daemon.store(
        tokens.create, name, permissions, Actor("a test"), now, now + lifetime if lifetime else None
    )
    return text


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobLog]:
    with JobLog(tmp_path / "jobs.db") as log:
        yield log


@pytest.fixture
async def sink() -> AsyncIterator[HttpSink]:
    async with HttpSink() as sink:
        yield sink


Serving = Callable[[], AbstractAsyncContextManager[Api]]


@pytest.fixture
def serving(site: Site, clock: Clock, said: Said) -> Serving:
    """`async with serving() as api:` a daemon on the site's settings file, and a client of its own; again and again."""

    @asynccontextmanager
    async def serve() -> AsyncIterator[Api]:
        fresh.put(site.state)
        daemon = Daemon(site.settings(), clock)
        await daemon.start()
        try:
            await daemon.ready()
            api = Api(daemon, await make_token(daemon, f"ci-{id(daemon)}", Permission.MANAGE_SETTINGS))
            async with api.client:
                yield api
        finally:
            await daemon.stop()

    return serve


@pytest.fixture
def write(site: Site, jobs: JobLog) -> Callable[..., None]:
    """Write the settings file: the jobs as a source, and the API on a free port; loopback may be called."""

    def write(*notifications: dict[str, Any], **tables: Any) -> None:
        http = {"listen": "127.0.0.1:0", **tables.pop("http", {})}
        security = {**LOOPBACK, **tables.pop("security", {})}
        site.write(sources=[jobs.source("jobs")], notifications=notifications, http=http, security=security, **tables)

    return write


@pytest.fixture
async def api(write: Callable[..., None], serving: Serving, sink: HttpSink) -> AsyncIterator[Api]:
    """The API of a daemon with one config in its settings file: "ops", which posts to the sink."""
    write(webhook("ops", sink.url))
    async with serving() as api:
        yield api


def lines(text: str) -> list[Any]:
    """Each line as JSON."""
    return [json.loads(line) for line in text.splitlines()]
