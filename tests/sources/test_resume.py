"""The settings of a known source change: it goes on where it was, by time, or says that it cannot know where."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from notifyd.model import Status
from notifyd.sources import Batch, Source, SourceError
from notifyd.sources.place import place_of
from tests.sources import servers
from tests.sources.logs import NOW, keys, read_all
from tests.sources.servers import KINDS, Server
from tests.sources.workload import create, source_of

INSERT = "INSERT INTO jobs (name, writer, state, changed) VALUES ('{}', 'w', '{}', '{:%F %T}')"
BY_TIME = 'cursor = "timestamp"'

Opened = Callable[[str], Server]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Empty logs of any kind, as many as are asked for."""
    with ExitStack() as stack:

        def open_one(kind: str) -> Server:
            try:
                server = stack.enter_context(KINDS[kind]())
            except OSError as error:
                pytest.skip(str(error))
            create(server)
            return server

        yield open_one


def write(server: Server, *names: str, state: str = "failed", age: float = 0) -> None:
    server.run(*(INSERT.format(name, state, NOW - timedelta(minutes=age)) for name in names))


def change(source: Source, server: Server, folder: Path, key: str = "id", more: str = "") -> Source:
    """The source after its settings were edited."""
    source.close()
    return source_of(server, folder, key, more)


def runs(batch: Batch) -> list[str | None]:
    return [record.run_id for record in batch.records]


def read_on(source: Source, cursor: str) -> tuple[list[str | None], list[str], int]:
    """Everything from the cursor on: the runs, what was said, and the epoch."""
    found, notes = list[str | None](), list[str]()
    while True:
        batch = source.read(cursor, NOW)
        found, notes, cursor = [*found, *runs(batch)], [*notes, *batch.notes], batch.cursor
        if batch.at_end:
            source.close()
            return found, notes, batch.epoch


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "after"), [("", BY_TIME), (BY_TIME, "")])
def test_another_order_begins_a_day_before_in_the_same_epoch(
    kind: str, before: str, after: str, opened: Opened, tmp_path: Path
) -> None:
    """What was told has an id that is known; what came meanwhile is read."""
    server = opened(kind)
    write(server, "old", age=60 * 48)
    write(server, "told", age=5)
    source = source_of(server, tmp_path, more=before)
    _, cursor = read_all(source)
    write(server, "new")
    found, (note,), epoch = read_on(change(source, server, tmp_path, more=after), cursor)
    assert (found, epoch) == (["told", "new"], 0)
    names = ("key", "timestamp") if after else ("timestamp", "key")
    assert note == (
        f"it was read by {names[0]} so far, and now is by {names[1]}; what is dated 2026-11-23 20:55:00 UTC or later is"
        " read"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("key", "more"), [("id", ""), ("id", BY_TIME), ("name", BY_TIME)])
def test_the_same_log_under_another_name_goes_on(
    kind: str, key: str, more: str, opened: Opened, tmp_path: Path
) -> None:
    server = opened(kind)
    write(server, "one", "two", age=5)
    source = source_of(server, tmp_path, key, more)
    _, cursor = read_all(source)
    server.run("ALTER TABLE jobs RENAME TO moved", "CREATE VIEW jobs AS SELECT * FROM moved")
    server.run(INSERT.format("three", "failed", NOW).replace("jobs", "moved"))
    source.close()
    renamed = source.settings.model_copy(update={"table": "moved"})
    found, notes, epoch = read_on(Source(renamed), cursor)
    assert (found, epoch) == (["three"], 0)
    assert notes == ["its table or query changed; the last row that was read is there: it is read on"]


def test_text_keys_by_rowid_go_on_too(opened: Opened, tmp_path: Path) -> None:
    server = opened("sqlite")
    write(server, "one", "two", age=5)
    source = source_of(server, tmp_path, "name")
    _, cursor = read_all(source)
    server.run("ALTER TABLE jobs RENAME TO moved", INSERT.format("three", "ok", NOW).replace("jobs", "moved"))
    source.close()
    found, (note,), epoch = read_on(Source(source.settings.model_copy(update={"table": "moved"})), cursor)
    assert (found, epoch) == (["three"], 0)
    assert "it is read on" in note


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", ["", BY_TIME])
def test_another_log_is_read_from_what_is_newer_and_in_a_new_epoch(
    kind: str, more: str, opened: Opened, tmp_path: Path
) -> None:
    """Its keys mean other rows. Of its history nothing is told; what runs there is watched."""
    first, other = opened(kind), opened(kind)
    write(first, "one", "two", age=5)
    source = source_of(first, tmp_path, more=more)
    _, cursor = read_all(source)
    write(other, "before", age=20)
    write(other, "still running", state="running", age=10)
    write(other, "since", age=4)
    write(other, "now")
    found, (note,), epoch = read_on(change(source, other, tmp_path, more=more), cursor)
    assert sorted(map(str, found)) == ["now", "since", "still running"]
    assert epoch == 1
    assert note == "its url changed; what is dated 2026-11-24 20:55:00 UTC or later is read"


@pytest.mark.parametrize("kind", KINDS)
def test_another_key_is_another_row(kind: str, opened: Opened, tmp_path: Path) -> None:
    server = opened(kind)
    write(server, "one", age=20)
    write(server, "two", age=5)
    source = source_of(server, tmp_path, "id", BY_TIME)
    _, cursor = read_all(source)
    write(server, "three")
    found, (note,), epoch = read_on(change(source, server, tmp_path, "name", BY_TIME), cursor)
    assert (found, epoch) == (["two", "three"], 1), "and what shares the newest time"
    assert note.startswith("its columns.key changed; what is dated ")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_without_a_time_say_nothing_of_where_to_go_on(kind: str, opened: Opened, tmp_path: Path) -> None:
    server = opened(kind)
    write(server, "one", "two")
    source = undated(source_of(server, tmp_path))
    _, cursor = read_all(source)
    source.close()
    other = opened(kind)
    moved = undated(source_of(other, tmp_path))
    with pytest.raises(SourceError) as refused:
        moved.read(cursor, NOW)
    assert str(refused.value) == (
        'source "shop": its url changed, and nothing says where to go on, as its rows have no time: restore that, or '
        "say where with `notifyd sources rewind shop --to …` (now, beginning, or a key)"
    )
    write(other, "one", "two", "three")
    assert read_on(moved, cursor)[0] == ["three"], "the number of the row is all that there is to go by"


def undated(source: Source) -> Source:
    columns = source.settings.columns.model_copy(update={"updated_at": None})
    return Source(source.settings.model_copy(update={"columns": columns}))


def test_a_password_that_changes_changes_nothing(opened: Opened, tmp_path: Path) -> None:
    server = opened("mysql")
    write(server, "one")
    source = source_of(server, tmp_path)
    _, cursor = read_all(source)
    with_password = Server(server.kind, server.url.replace("root@", "root:@"), server.key, server.times)
    assert read_on(change(source, with_password, tmp_path), cursor) == ([], [], 0)


def test_a_log_that_nothing_was_read_of_may_become_any_other(opened: Opened, tmp_path: Path) -> None:
    server = opened("sqlite")
    source = source_of(server, tmp_path)
    _, cursor = read_all(source)
    write(server, "one", age=60 * 48)
    for key, more in itertools.product(("id", "name"), ("", BY_TIME)):
        assert read_on(change(source, server, tmp_path, key, more), cursor) == (["one"], [], 0)


def test_what_the_statuses_mean_counts_from_the_next_row_on(opened: Opened, tmp_path: Path) -> None:
    server = opened("sqlite")
    write(server, "one", state="odd", age=5)
    source = source_of(server, tmp_path)
    (record,), cursor = read_all(source)
    assert record.status is Status.UNMAPPED
    write(server, "two", state="odd")
    statuses = type(source.settings.statuses)({**source.settings.statuses, "odd": Status.FAILURE})
    other = Source(source.settings.model_copy(update={"statuses": statuses}))
    batch = other.read(cursor, NOW)
    assert [(record.run_id, record.status) for record in batch.records] == [("two", Status.FAILURE)]
    assert other.look_up(["1"], NOW)["1"].status is Status.FAILURE, "a row that is watched counts too"


def test_a_cursor_of_an_older_notifyd_is_taken_on(tmp_path: Path) -> None:
    with servers.sqlite() as server:
        create(server)
        write(server, "one", "two")
        source = source_of(server, tmp_path)
        batch = source.read('{"strategy":"key","at":1,"epoch":0,"newest":null}', NOW)
        assert (keys(batch.records), place_of(batch.cursor).of is not None) == (["2"], True)
        source.close()
