"""Whatever a log is or holds: one clear line, or an outcome that is counted and seen. Never a traceback."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from notifyd.model import Status
from notifyd.settings import load
from notifyd.sources import SetAside, Source, SourceError
from tests.sources.logs import JOBS, JOBS_MAPPING, NOW, Log, keys, read_all, read_once, settings_of


def _fails(source: Source) -> str:
    """What a read says that fails; the source can be read again at any time."""
    cursor = '{"strategy": "key", "at": null, "epoch": 0, "newest": null}'
    with pytest.raises(SourceError) as failure:
        source.read(cursor, NOW)
    text = str(failure.value)
    assert text.startswith('source "shop": ')
    assert "\n" not in text
    with pytest.raises(SourceError) as again:
        source.read(cursor, NOW)
    assert str(again.value) == text
    return text.removeprefix('source "shop": ')


# -- files -------------------------------------------------------------------------------------------


def test_no_file(jobs: Log, source: Source) -> None:
    jobs.path.unlink()
    assert _fails(source) == f"no such file: {jobs.path}"
    assert not jobs.path.exists(), "reading never makes a file"


def test_an_empty_file(jobs: Log, source: Source) -> None:
    jobs.path.write_bytes(b"")
    assert _fails(source) == f"{jobs.path} is an empty file, not an SQLite database yet"


def test_a_directory(jobs: Log, source: Source) -> None:
    jobs.path.unlink()
    jobs.path.mkdir()
    assert _fails(source) == f"{jobs.path} is a directory; expected the path of an SQLite file"


def test_a_pipe(jobs: Log, source: Source) -> None:
    jobs.path.unlink()
    os.mkfifo(jobs.path)
    assert _fails(source) == f"{jobs.path} is not a regular file; expected an SQLite file"


def test_a_path_through_a_file(jobs: Log, tmp_path: Path) -> None:
    below = jobs.path / "below.db"
    source = Source(settings_of(JOBS_MAPPING, below, tmp_path / "below.toml"))
    assert _fails(source) == f"{below} cannot be read: Not a directory"


@contextmanager
def _as_nobody() -> Iterator[None]:
    """Without root's rights, which include to read every file."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)


@pytest.fixture
def public() -> Iterator[Log]:
    """A log in a folder that everyone may enter, as pytest's own may not be."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Log(Path(folder) / "jobs.db", JOBS)


def test_a_file_that_may_not_be_read(public: Log) -> None:
    source = public.source(JOBS_MAPPING)
    public.path.chmod(0)
    with _as_nobody():
        text = _fails(source)
    assert text == f"{public.path} may not be read by this user; add it to the file's group, or chmod o+r"


def test_a_folder_that_may_not_be_entered(public: Log) -> None:
    source = public.source(JOBS_MAPPING)
    public.path.parent.chmod(0)
    with _as_nobody():
        text = _fails(source)
    public.path.parent.chmod(0o755)
    assert text == f"{public.path} cannot be read: Permission denied"


def test_a_file_that_is_no_database(jobs: Log, source: Source) -> None:
    jobs.path.write_bytes(b"id,state\n1,failed\n" * 100)
    assert _fails(source) == f"{jobs.path} is not an SQLite database, or it is encrypted"


def test_a_corrupted_database(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(None, "r", "failed", "boom" * 500, None)] * 100)
    content = bytearray(jobs.path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    jobs.path.write_bytes(content)
    text = _fails(source)
    assert text.startswith(f"{jobs.path} is corrupted (")
    assert text.endswith("restore it, or try sqlite3's .recover")


def test_a_database_cut_short(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(None, "r", "failed", "boom" * 500, None)] * 100)
    jobs.path.write_bytes(jobs.path.read_bytes()[:8192])
    assert "is corrupted" in _fails(source)


def test_a_locked_database(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(1, "r", "failed", "boom", None)])
    cursor = source.start(NOW).cursor
    with closing(sqlite3.connect(jobs.path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert _fails(source) == f"{jobs.path} is locked: a writer has held it for more than 0.05 s"
        writer.execute("COMMIT")
    assert keys(read_all(source, cursor)[0]) == ["1"]


def test_a_url_that_was_not_resolved(jobs: Log) -> None:
    file = jobs.path.with_suffix(".toml")
    file.write_text(f'[[sources]]\nname = "shop"\nurl = {{ env = "SHOP" }}\n{JOBS_MAPPING}')
    source = Source(load(file, secrets=False, environ={}).sources[0])
    assert _fails(source) == "its url is a secret that this command does not resolve"


# -- tables, columns and queries ---------------------------------------------------------------------


def test_a_missing_table(jobs: Log) -> None:
    source = jobs.source(JOBS_MAPPING.replace('"jobs"', '"job"'))
    assert _fails(source) == f'no table "job" in {jobs.path}; did you mean "jobs"?'


def test_a_table_that_is_dropped_and_comes_back(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(1, "r", "failed", "boom", None)])
    _, cursor = read_all(source)
    schema = "CREATE TABLE jobs (id INTEGER PRIMARY KEY, run, state, error, at)"
    jobs.run("DROP TABLE jobs")
    with pytest.raises(SourceError, match="no such table"):
        source.read(cursor, NOW)
    assert 'no table "jobs"' in _fails(source)
    jobs.run(schema)
    cursor = source.read(cursor, NOW).cursor
    jobs.add("jobs", [(1, "r", "failed", "boom", None)])
    assert keys(read_all(source, cursor)[0]) == ["1"]


def test_missing_columns_are_told_all_at_once(jobs: Log) -> None:
    source = jobs.source(JOBS_MAPPING.replace('"error"', '"errors"').replace('"run"', '"nothing like it"'))
    assert _fails(source) == (
        'table "jobs" has no column "nothing like it" (columns.run_id) '
        'and no column "errors" (columns.message); did you mean "error"?'
    )


def test_a_missing_column_of_the_details(jobs: Log) -> None:
    source = jobs.source(JOBS_MAPPING.replace("[sources.statuses]", 'details = ["host"]\n[sources.statuses]'))
    assert _fails(source) == 'table "jobs" has no column "host" (columns.details.host)'


def test_a_column_that_is_renamed_while_it_is_read(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(1, "r", "failed", "boom", None)])
    _, cursor = read_all(source)
    jobs.run("ALTER TABLE jobs RENAME COLUMN error TO problem")
    jobs.add("jobs", [(2, "r", "failed", "boom", None)])
    with pytest.raises(SourceError, match="no such column"):
        source.read(cursor, NOW)
    assert _fails(source) == 'table "jobs" has no column "error" (columns.message)'
    jobs.run("ALTER TABLE jobs RENAME COLUMN problem TO error")
    assert keys(read_all(source, cursor)[0]) == ["2"]


def test_a_key_inside_json(jobs: Log) -> None:
    source = jobs.source(JOBS_MAPPING.replace('key = "id"', 'key = { column = "error", json = "id" }'))
    assert _fails(source).startswith("columns.key must be a column by itself")


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELEC * FROM jobs", 'query: near "*": syntax error'),
        ("DELETE FROM jobs", 'query: near "DELETE": syntax error'),
        ("SELECT 1; SELECT 2", 'query: near ";": syntax error'),
        ("SELECT * FROM absent", "query: no such table: absent"),
        ("SELECT absent FROM jobs", "query: no such column: absent"),
        ("SELECT id FROM jobs", 'the query has no column "run" (columns.run_id)'),
    ],
)
def test_a_query_that_is_wrong(jobs: Log, query: str, problem: str) -> None:
    source = jobs.source(JOBS_MAPPING.replace('table = "jobs"', f'query = "{query}"'))
    assert _fails(source).startswith(problem)


# -- rows --------------------------------------------------------------------------------------------


def test_strange_rows_stop_nothing(jobs: Log, source: Source) -> None:
    jobs.add(
        "jobs",
        [
            (1, "r", None, "a NULL status", None),
            (2, "r", "exploded", "an unknown status", None),
            (3, "r", "failed", "x" * 1_000_000, None),
            (4, "r", "failed", "of the future", "2099-01-01T00:00:00Z"),
            (5, "r", "failed", "never", "0000-00-00 00:00:00"),
            (6, b"\xff\xfe", b"failed", b"a blob \xff", b"2026-11-24 20:00:00"),
            (7, 1, 2.5, 3, 4),
            (8, "r", "failed", "the last one", None),
        ],
    )
    batch = read_once(source)
    assert (batch.rows, batch.set_aside, keys(batch.records)) == (8, [], [str(number) for number in range(1, 9)])
    null, unknown, long, future, never, blob, numbers, _ = batch.records
    assert (null.status, unknown.status) == (Status.UNMAPPED, Status.UNMAPPED)
    assert len(long.message or "") == 2_000
    assert future.occurred_at is not None
    assert (future.occurred_at.year, future.read_at) == (2099, NOW)
    assert never.occurred_at is None
    assert (blob.run_id, blob.status, blob.message) == ("\ufffd\ufffd", Status.FAILURE, "a blob \ufffd")
    assert (numbers.run_id, numbers.message, numbers.details) == ("1", "3", {"status": "2.5"})


def test_invalid_utf8_is_replaced_and_stops_nothing(jobs: Log, source: Source) -> None:
    jobs.add("jobs", [(1, "r", "ok", "fine", None)])
    jobs.run("INSERT INTO jobs VALUES (2, 'r', 'failed', CAST(x'63616666e92021' AS TEXT), NULL)")
    jobs.add("jobs", [(3, "r", "failed", "café", None)])
    records, cursor = read_all(source)
    assert [record.message for record in records] == ["fine", "caff\ufffd !", "café"]
    jobs.add("jobs", [(4, "r", "failed", "café", None)])
    assert [record.message for record in read_all(source, cursor)[0]] == ["café"]


def test_a_number_too_large_for_the_database(source: Source) -> None:
    cursor = f'{{"strategy": "key", "at": {10**30}, "epoch": 0, "newest": null}}'
    with pytest.raises(SourceError, match=r'^source "shop": a number is too large for SQLite'):
        source.read(cursor, NOW)


class _Exploding:
    """Stands for a pattern of the settings that fails on some texts."""

    def found_in(self, text: str) -> bool:
        if "secret" in text:
            raise RecursionError(f"while looking at {text}")
        return False


def test_whatever_raises_while_a_row_is_mapped_only_that_row_is_set_aside(jobs: Log) -> None:
    jobs.add("jobs", [(1, "r", "failed", "my secret", None), (2, "r", "failed", "boom", None)])
    source = Source(jobs.settings(JOBS_MAPPING).model_copy(update={"ignore": (_Exploding(),)}))
    batch = read_once(source)
    assert keys(batch.records) == ["2"]
    assert batch.set_aside == [SetAside("1", "RecursionError while it was read")], "and no data of it is told"
