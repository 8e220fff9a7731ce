"""A log with thousands of rows in its overlap: most reads go back by seconds, and late rows are found all the same."""

from __future__ import annotations

import random
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from notifyd.sources import Cursor, Source
from notifyd.sources.overlap import FEW
from tests.sources.logs import NOW, Log, keys, read_all
from tests.sources.test_by_time import MAPPING

COUNT = 2 * FEW
PAUSE = timedelta(seconds=2.1)  # a second for each 1,000 rows, and a little
TABLE = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, state TEXT, at TEXT)"
INDEX = "CREATE INDEX jobs_by_time ON jobs (at)"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "jobs.db", TABLE, INDEX)


@pytest.fixture
def busy(log: Log) -> Log:
    log.add("jobs", [(10 * number, "ok", _ago(55 - 50 * number / COUNT)) for number in range(1, COUNT + 1)])
    return log


@pytest.fixture
def source(busy: Log) -> Iterator[Source]:
    source = busy.source(MAPPING)
    yield source
    source.close()


@pytest.fixture
def cursor(source: Source) -> Cursor:
    """Behind all of its rows, just now."""
    records, cursor = read_all(source)
    assert len(records) == COUNT
    return cursor


def test_a_late_row_is_found_when_the_whole_is_read_again(busy: Log, source: Source, cursor: Cursor) -> None:
    busy.add("jobs", [(1, "failed", _ago(40)), (2, "failed", _ago(9))])
    at_once, cursor = _read(source, cursor, PAUSE / 2)
    then, cursor = _read(source, cursor, PAUSE)
    assert (at_once, then) == (["2"], ["1"])
    assert [_read(source, cursor, PAUSE * n)[0] for n in (1.5, 2, 3)] == [[], [], []]


def test_so_is_one_that_is_older_than_the_overlap_by_then(busy: Log, source: Source, cursor: Cursor) -> None:
    """It was committed within the overlap; that nobody looked for it was our choice."""
    newest = timedelta(seconds=5)
    assert _read(source, cursor, timedelta(seconds=0.1)) == ([], cursor)
    busy.add("jobs", [(1, "failed", _ago(59 + newest.total_seconds())), (99_999, "ok", _ago(3))])
    at_once, cursor = _read(source, cursor, PAUSE / 2)
    then, cursor = _read(source, cursor, PAUSE)
    assert (at_once, then) == (["99999"], ["1"])


def test_a_restart_and_a_clock_that_is_set_back_look_over_the_whole(busy: Log, source: Source, cursor: Cursor) -> None:
    busy.add("jobs", [(1, "failed", _ago(40))])
    assert _read(busy.source(MAPPING), cursor, PAUSE / 2)[0] == ["1"]
    assert _read(source, cursor, -PAUSE)[0] == ["1"]


def test_what_came_late_is_found_once_a_burst_has_passed(log: Log) -> None:
    """The fewer rows there are by then, the less was a look over the whole put off; but it was."""
    log.add("jobs", [(10 * number, "ok", _ago(57)) for number in range(1, 3 * FEW)])
    source = log.source(MAPPING)
    _, cursor = read_all(source)
    log.add("jobs", [(100_001, "ok", _ago(-3))])
    _, cursor = _read(source, cursor, timedelta(seconds=3.1))
    log.add("jobs", [(1, "failed", _ago(56.3)), (100_002, "ok", _ago(-6.04))])
    at_once, cursor = _read(source, cursor, timedelta(seconds=6.05))
    then, cursor = _read(source, cursor, timedelta(seconds=6.2))
    assert (at_once, then) == (["100002"], ["1"])
    source.close()


def test_a_restart_in_the_middle_of_a_short_read_is_no_look_over_the_whole(
    busy: Log, source: Source, cursor: Cursor
) -> None:
    busy.add("jobs", [(1, "failed", _ago(40)), *((100_000 + number, "ok", _ago(-0.5)) for number in range(300))])
    first = source.read(cursor, NOW + PAUSE / 2, limit=100)
    again = busy.source(MAPPING)
    rest, cursor = _read(again, first.cursor, PAUSE / 2)
    assert (len(first.records) + len(rest), first.at_end) == (300, False)
    assert _read(again, cursor, PAUSE / 2)[0] == ["1"]
    again.close()


def test_few_rows_are_all_read_again_at_each_poll(log: Log) -> None:
    log.add("jobs", [(10 * number, "ok", _ago(55 - 50 * number / FEW)) for number in range(1, FEW - 1)])
    source = log.source(MAPPING)
    _, cursor = read_all(source)
    log.add("jobs", [(1, "failed", _ago(40))])
    assert _read(source, cursor, timedelta())[0] == ["1"]
    source.close()


def test_beside_a_key_a_row_that_changes_is_seen_at_once(busy: Log) -> None:
    source = busy.source(MAPPING.replace('"timestamp"', '"auto"'))
    _, cursor = read_all(source)
    busy.run(
        f"UPDATE jobs SET state = 'failed', at = '{_ago(1)}' WHERE id = 500",
        f"UPDATE jobs SET state = 'failed', at = '{_ago(30)}' WHERE id = 600",
    )
    at_once, cursor = _read(source, cursor, PAUSE / 2)
    then, cursor = _read(source, cursor, PAUSE)
    assert (at_once, then) == (["500"], ["600"])
    source.close()


def test_beside_a_key_a_row_that_comes_late_is_given_once(busy: Log) -> None:
    source = busy.source(MAPPING.replace('"timestamp"', '"auto"'))
    _, cursor = read_all(source)
    busy.add("jobs", [(99_999, "ok", _ago(40))])
    at_once, cursor = _read(source, cursor, PAUSE / 2)
    then, cursor = _read(source, cursor, PAUSE)
    assert (at_once, then) == (["99999"], [])
    source.close()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_committed_late_within_the_overlap_is_told_once(seed: int) -> None:
    """A hundred seconds of a log with twenty rows a second, and rows that come later than they are dated."""
    chance = random.Random(seed)
    late = [(chance.uniform(0, 90), chance.choice([1, 30, 59.9]) * chance.random() ** 0.1) for _ in range(300)]
    with tempfile.TemporaryDirectory() as folder:
        log = Log(Path(folder) / "jobs.db", TABLE, INDEX)
        stream = [(at / 20, at / 20) for at in range(-1_200, 2_000)]
        rows = sorted([*stream, *((at, at - by) for at, by in late)])  # (when it is committed, how it is dated)
        source = log.source(MAPPING)
        cursor, told, committed, at = source.start(NOW).cursor, Counter[str](), 0, 0.0
        while at < 105:
            at += chance.uniform(0.1, 1)
            due = bisect_right(rows, (at, at))
            log.add("jobs", [(n, "failed", _ago(-rows[n][1])) for n in range(committed, due)])
            found, cursor = _read(source, cursor, timedelta(seconds=at))
            told.update(found)
            committed = due
        assert told == Counter(map(str, range(committed)))
        source.close()


def _ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")


def _read(source: Source, cursor: Cursor, later: timedelta) -> tuple[list[str], Cursor]:
    now: datetime = NOW + later
    batch = source.read(cursor, now)
    assert batch.at_end
    return keys(batch.records), batch.cursor
