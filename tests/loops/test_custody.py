"""A state DB that is taken away beneath a running daemon: said once, saved, and missed at the next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from notifyd.daemon import Daemon
from notifyd.store import copies, schema
from notifyd.store.errors import StateUnusable
from tests.loops.conftest import Running, Said
from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site, webhook


async def test_one_that_is_deleted_is_saved_and_people_are_told_as_ever(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running() as daemon:
        jobs.add("error", "before")
        await sink.wait_for(1)
        for side in copies.SIDES:
            site.state.with_name(site.state.name + side).unlink()
        for _ in range(3):
            await daemon.custody.look()
        jobs.add("error", "after", job="another")
        await sink.wait_for(2)
        part = daemon.health.report()["state"]
        note = f"the state DB {site.state} was deleted: the log says what to do"
        assert (part["ok"], part["note"]) == (False, daemon.health.state_trouble()) == (False, note)
    (line,) = said("the state DB was deleted while notifyd runs", level="error")
    assert line["do"].startswith("stop notifyd, then: notifyd restore ")
    (last,) = said("the state DB is not where it was", level="error")
    saved = last["do"].rpartition(" ")[2]
    assert site.read(saved, "SELECT message FROM events ORDER BY seq") == [("before",), ("after",)]
    schema.refuse_foreign(Path(saved))
    with pytest.raises(StateUnusable, match=f"is gone, though there was one.*`notifyd restore` {saved}"):
        await Daemon(site.settings()).start()


async def test_one_that_is_there_is_not_spoken_of(
    site: Site, jobs: JobLog, sink: HttpSink, running: Running, said: Said
) -> None:
    site.write(sources=[jobs.source("jobs")], notifications=[webhook("hook", sink.url)])
    async with running() as daemon:
        await daemon.custody.look()
        assert "state" not in daemon.health.report()
    assert said("state DB", level="error") == []
