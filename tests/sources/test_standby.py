"""A real standby of PostgreSQL: its locks say nothing of who writes, so a gap is waited for during the horizon."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg

from tests.sources.logs import NOW, keys
from tests.sources.own_servers import own_postgres, standby_of
from tests.sources.servers import Server
from tests.sources.test_late_commits import Writer, gaps, written
from tests.sources.workload import create, source_of

PATIENCE = 20.0


def test_a_gap_on_a_standby_is_waited_for_during_the_horizon(tmp_path: Path) -> None:
    with own_postgres() as (primary, machine):
        create(primary)
        with standby_of(primary, machine) as standby:
            source = source_of(standby, tmp_path, more='gap_horizon = "30s"')
            about = source.about(None, NOW)
            assert about.text.startswith(
                'by column "id": a number that was skipped is waited for during 30s, as who may have taken it '
                "cannot be seen: it is a standby"
            )
            slow, gone = Writer(primary).insert("1"), Writer(primary).insert("2")
            gone.rollback()
            written(primary, "3")
            _follows(standby, 1)
            batch = source.read(source.start(NOW).cursor, NOW)
            assert (keys(batch.records), gaps(batch.cursor)) == (["3"], [[1, 2]])
            cursor = source.read(batch.cursor, NOW + timedelta(seconds=20)).cursor
            assert gaps(cursor) == [[1, 2]], "no lock is seen here, and yet one of them is being written"
            slow.commit()
            _follows(standby, 2)
            batch = source.read(cursor, NOW + timedelta(seconds=29))
            assert (keys(batch.records), gaps(batch.cursor)) == (["1"], [[2, 2]])
            assert gaps(source.read(batch.cursor, NOW + timedelta(seconds=31)).cursor) == []
            source.close()


def _follows(standby: Server, rows: int) -> None:
    """Wait until the standby has so many rows."""
    deadline = time.monotonic() + PATIENCE
    with closing(psycopg.connect(standby.url, autocommit=True)) as connection:
        while connection.execute("SELECT count(*) FROM jobs").fetchone() != (rows,):
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.02)
