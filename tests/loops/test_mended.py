"""What goes wrong at a server: one line that says what, nothing lost, and it goes on by itself once it is mended."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from notifyd.sources import SourceError
from tests.loops.conftest import Running, Said
from tests.sinks.http import HttpSink
from tests.sources.conftest import mariadb as mariadb
from tests.sources.conftest import postgres as postgres
from tests.sources.conftest import server as server
from tests.sources.logs import NOW
from tests.sources.servers import Server
from tests.sources.workload import create, source_of
from tests.system.site import Site, until, webhook

SECRET = "s3€r%t"  # of more than Latin-1, and of what a url has its own use for
Run = Callable[..., None]


@pytest.fixture
def guest(server: Server) -> Iterator[str]:
    """A role that may read the server's database with a password, and its name."""
    name = re.findall(r"log_\w+", server.url)[0].replace("log", "guest")
    create(server)
    if server.kind == "postgresql":
        _ask_for_password(server, name)
        server.run(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    else:
        server.run(f"CREATE USER {name} IDENTIFIED BY '{SECRET}'")
    _grant(server, name)
    yield name
    if server.kind == "postgresql":
        server.run(f"DROP OWNED BY {name}", f"DROP ROLE {name}")
    else:
        server.run(f"DROP USER {name}")


def _ask_for_password(server: Server, name: str) -> None:
    with closing(server.connect(autocommit=True)) as admin:
        file = Path(admin.execute("SHOW hba_file").fetchone()[0])
        file.write_text(f"local all {name} scram-sha-256\n{file.read_text()}")
        admin.execute("SELECT pg_reload_conf()")


def _grant(server: Server, name: str) -> None:
    schema = server.url.rpartition("/")[2]
    server.run(
        f"GRANT SELECT ON jobs TO {name}" if server.kind == "postgresql" else f"GRANT SELECT ON {schema}.jobs TO {name}"
    )


def _revoke(server: Server, name: str) -> None:
    schema = server.url.rpartition("/")[2]
    what = "jobs" if server.kind == "postgresql" else f"{schema}.jobs"
    server.run(f"REVOKE SELECT ON {what} FROM {name}")


def _disconnect(server: Server, name: str) -> None:
    """End every session of the role."""
    if server.kind == "postgresql":
        server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'")
        return
    with closing(server.connect(autocommit=True)) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (name,))
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL {number}")


def _password(server: Server, name: str, password: str) -> None:
    server.run(
        f"ALTER ROLE {name} PASSWORD '{password}'"
        if server.kind == "postgresql"
        else f"ALTER USER {name} IDENTIFIED BY '{password}'"
    )


def _rotate(server: Server, name: str) -> None:
    _password(server, name, "another")
    _disconnect(server, name)


def _drop_table(server: Server, _: str) -> None:
    server.run("ALTER TABLE jobs RENAME TO elsewhere")


def _put_table_back(server: Server, _: str) -> None:
    server.run("ALTER TABLE elsewhere RENAME TO jobs")


TROUBLE: dict[str, tuple[Run, Run, str]] = {
    "password": (
        _rotate,
        lambda server, name: _password(server, name, SECRET),
        r"password authentication failed|Access denied for user",
    ),
    "permission": (_revoke, _grant, r"permission denied for table jobs: let|SELECT command denied .*: let notifyd's"),
    "table": (_drop_table, _put_table_back, r'does not exist|doesn.t exist|no table "jobs"'),
}


def _as_guest(server: Server, name: str) -> str:
    return re.sub(r"//\w+(:\w*)?@", f"//{name}:{quote(SECRET)}@", server.url)


def _told(server: Server, name: str, url: str) -> dict[str, Any]:
    return {
        "name": "shop", "url": url, "table": "jobs", "start": "beginning", "poll": "100ms",
        "columns": {"key": "id", "run_id": "name", "schedule_id": "name", "status": "state", "occurred_at": "changed"},
        "statuses": {"success": ["ok"], "failure": ["failed"]}, "rows": "runs",
    }  # fmt: skip


def _fail(server: Server, *names: str) -> None:
    insert = "INSERT INTO jobs (name, state, changed) VALUES ('{}', 'failed', '2026-11-24 20:00:00')"
    server.run(*map(insert.format, names))


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_one_line_and_it_goes_on_when_it_is_mended(
    trouble: str, server: Server, guest: str, site: Site, sink: HttpSink, running: Running, said: Said
) -> None:
    spoil, mend, words = TROUBLE[trouble]
    site.write(sources=[_told(server, guest, _as_guest(server, guest))], notifications=[webhook("ops", sink.url)])
    _fail(server, "before")
    async with running():
        await sink.wait_for(1)
        spoil(server, guest)
        await until(lambda: [line for line in said("the source cannot be read") if re.search(words, line["error"])])
        if trouble != "table":
            _fail(server, "meanwhile")
        await asyncio.sleep(0.4)  # it is tried again and again
        mend(server, guest)
        _fail(server, "after")
        await sink.wait_for(2 if trouble == "table" else 3)
        await until(lambda: said("the source is read again"))
    lines = said("the source cannot be read")
    assert len({line["error"] for line in lines}) == len(lines), "each is said once, however often it is tried"
    assert len(lines) <= 2
    assert SECRET not in str(said(""))
    told = [request.json()["run_id"] for request in sink.requests]
    assert sorted(told) == sorted(["before", "after", *(["meanwhile"] if trouble != "table" else [])])
    assert site.imbalances() == []


async def test_a_database_that_comes_later(
    server: Server, guest: str, site: Site, sink: HttpSink, running: Running, said: Said
) -> None:
    """The wrong one in the url, or one that is not made yet."""
    schema = re.findall(r"log_\w+", server.url)[0]
    later = Server(server.kind, server.url.replace(schema, f"{schema}_later"), server.key, server.times)
    site.write(sources=[_told(later, guest, later.url)], notifications=[webhook("ops", sink.url)])
    async with running():
        (line,) = said("the source cannot be read")
        assert re.search(r"(?i)database .*does not exist|unknown database", line["error"])
        with _made(server, f"{schema}_later"):
            create(later)
            _fail(later, "one")
            await sink.wait_for(1)
            assert len(said("the source is read again")) == 1


@contextmanager
def _made(server: Server, schema: str) -> Iterator[None]:
    server.run(f"CREATE DATABASE {schema}")
    try:
        yield
    finally:
        server.run(f"DROP DATABASE {schema}{' WITH (FORCE)' if server.kind == 'postgresql' else ''}")


def test_connections_that_are_killed_in_mid_batch(server: Server, guest: str, tmp_path: Path) -> None:
    """Again and again, wherever the reader is: each row is read once."""
    with closing(server.connect()) as writer, writer.cursor() as cursor:
        insert = "INSERT INTO jobs (name, state, error) VALUES (%s, 'failed', %s)"
        cursor.executemany(insert, [(f"n{number}", "boom" * 200) for number in range(3_000)])
        writer.commit()
    source = source_of(Server(server.kind, _as_guest(server, guest), "", ""), tmp_path)
    over = threading.Event()
    killer = threading.Thread(target=_keep_killing, args=(server, guest, over))
    cursor, found, said = source.start(NOW).cursor, list[str](), list[str]()
    killer.start()
    try:
        while True:
            try:
                batch = source.read(cursor, NOW, 200 if said else 10)  # slowly, until it was hit once
            except SourceError as error:
                said.append(str(error))
                if len(said) == 8:
                    over.set()
                continue
            cursor, found = batch.cursor, [*found, *(record.key for record in batch.records)]
            if batch.at_end:
                break
    finally:
        over.set()
        killer.join()
        source.close()
    assert said
    assert not any("\n" in line for line in said)
    assert found == [str(number) for number in range(1, 3_001)]


def _keep_killing(server: Server, name: str, over: threading.Event) -> None:
    while not over.wait(0.005):
        _disconnect(server, name)
