"""The books: what was counted, in the same transactions as what it counts, so that they balance."""

from __future__ import annotations

from collections.abc import Mapping

from notifyd.store.database import Database


def add(db: Database, scope: str, counts: Mapping[str, int]) -> None:
    """Add to the counts of a scope ("source:ID" or "config:ID"). Only inside a transaction."""
    db.write_many(
        "INSERT INTO counts (scope, what, value) VALUES (?, ?, ?)"
        " ON CONFLICT (scope, what) DO UPDATE SET value = value + excluded.value",
        [(scope, what, value) for what, value in counts.items() if value],
    )


def move(db: Database, config_id: str, source: str, target: str, count: int) -> None:
    """What was counted as one thing turned out to be another."""
    add(db, f"config:{config_id}", {source: -count, target: count})


def read(db: Database) -> dict[str, dict[str, int]]:
    """All counts that have to balance, by scope."""
    return {
        scope: {what: value for what, value in counts.items() if ":" not in what}
        for scope, counts in read_all(db).items()
    }


def read_all(db: Database) -> dict[str, dict[str, int]]:
    """Those too that are only counted for whoever watches: their names have a colon (`tally`)."""
    books: dict[str, dict[str, int]] = {}
    for scope, what, value in db.run("SELECT scope, what, value FROM counts"):
        books.setdefault(scope, {})[what] = value
    return books
