"""What is PostgreSQL's own: databases whose texts have no encoding."""

from __future__ import annotations

from pathlib import Path

import psycopg

from notifyd.model import Status
from tests.sources.logs import NOW, read_all
from tests.sources.servers import Server
from tests.sources.workload import create, source_of


def test_a_text_without_an_encoding_is_read_and_what_is_not_valid_is_replaced(postgres: Server, tmp_path: Path) -> None:
    name = f"{psycopg.conninfo.conninfo_to_dict(postgres.url)['dbname']}_plain"
    plain = Server("postgresql", postgres.url.replace(f"/{name[:-6]}?", f"/{name}?"), postgres.key, postgres.times)
    postgres_of = "ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} {postgres_of}")  # type: ignore[call-overload]
        try:
            create(plain)
            plain.run(
                "INSERT INTO jobs (name, state, error, changed)"
                " VALUES (E'caf\\xc3\\xa9', 'failed', E'caf\\xe9 broken', '2026-11-24 20:00:00'),"
                " ('two', 'ok', 'fine', NULL)",
            )
            source = source_of(plain, tmp_path)
            (one, two), _ = read_all(source)
            assert (one.run_id, one.status, one.message) == ("café", Status.FAILURE, "caf\ufffd broken")
            assert (one.occurred_at, two.message) == (NOW.replace(hour=20), "fine")
            assert [record.key for record in source.find("café", NOW)] == ["1"]
            source.close()
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]
