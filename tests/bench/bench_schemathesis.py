"""The API against its own OpenAPI document: requests that schemathesis makes up, and all its checks on each answer.

A daemon in this process with one source and two configs: asked with a token that may do everything, through all
phases, stateful too, and then without a token. tests/web/test_openapi.py is one such run; other seeds are other runs.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from notifyd.daemon import Daemon
from notifyd.observe import logs
from notifyd.store import tokens
from notifyd.store.tokens import Permission
from notifyd.store.trail import Actor
from tests.bench.report import Report, main, say
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, webhook
from tests.web.cases import CLOSED, LEAST_CASES, WHOLE, Cases, cases


async def measure(seed: int) -> Report:
    logs.configure("critical")
    with tempfile.TemporaryDirectory() as folder, JobLog(Path(folder) / "jobs.db") as jobs:
        site = Site(Path(folder))
        async with _running(site, jobs) as (url, token):
            found = await _cases(url, token, seed, *WHOLE)
            without = await _cases(url, None, seed, *CLOSED)
        imbalances = site.imbalances()
    figures = {"cases with a token": found.made, "cases without": without.made}
    claims = {
        "no check failed": found.passed and without.passed,
        f"{LEAST_CASES:,} cases or more": found.made + without.made >= LEAST_CASES,
        "the books balance afterwards": not imbalances,
    }
    return Report(figures, claims)


async def _cases(url: str, token: str | None, seed: int, *options: str) -> Cases:
    found = await cases(url, token, seed, *options)
    say(f"{found.made} cases, {'no failure' if found.passed else found.said}")
    return found


@asynccontextmanager
async def _running(site: Site, jobs: JobLog) -> AsyncIterator[tuple[str, str]]:
    """A daemon that has found and told something: where its API is, and a token."""
    async with HttpSink() as sink:
        site.write(
            sources=[jobs.source("jobs")],
            notifications=[webhook("ops", sink.url), webhook("quiet", sink.url, filters={"connectors": ["nobody"]})],
            http={"listen": "127.0.0.1:0"},
        )
        daemon = Daemon(site.settings())
        await daemon.start()
        try:
            await daemon.ready()
            jobs.add("error", "no such order")
            await sink.wait_for(1)
            allowed, actor = [Permission.MANAGE_SETTINGS], Actor("bench")
            _, token = await daemon.store(tokens.create, "bench", allowed, actor, daemon.clock())
            yield f"http://127.0.0.1:{daemon.server.port}", token
        finally:
            await daemon.stop()


if __name__ == "__main__":
    asyncio.run(main("schemathesis", measure))
