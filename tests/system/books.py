"""Whether the books of a state DB balance: every row and every event has exactly one place."""

from __future__ import annotations

import sqlite3
from collections import Counter

Book = Counter[str]

_MEMBERS = """
    SELECT d.id, d.count, COUNT(v.event_id) FROM deliveries d LEFT JOIN verdicts v ON v.delivery_id = d.id
    AND v.decided = 'planned' GROUP BY d.id HAVING d.count <> COUNT(v.event_id)
"""


def read(state: sqlite3.Connection) -> dict[str, Book]:
    """The counts by scope, "source:ID" or "config:ID"."""
    books: dict[str, Book] = {}
    for scope, what, value in state.execute("SELECT scope, what, value FROM counts"):
        books.setdefault(scope, Book())[what] = value
    return books


def imbalances(state: sqlite3.Connection) -> list[str]:
    """Everything that does not add up, a line each; none is as it should be."""
    found: list[str] = []
    for scope, book in read(state).items():
        kind, _, identity = scope.partition(":")
        sides = _source(state, identity, book) if kind == "source" else _config(state, identity, book)
        found += [f"{scope}: {name}: {left} is not {right}" for name, (left, right) in sides.items() if left != right]
    found += [f"delivery {row[0]} counts {row[1]} events and has {row[2]}" for row in state.execute(_MEMBERS)]
    return found


def _source(state: sqlite3.Connection, identity: str, book: Book) -> dict[str, tuple[int, int]]:
    outcomes = ("success", "warning", "ignored", "unmapped", "open", "failure", "set_aside")
    events = _number(state, "SELECT COUNT(*) FROM events WHERE source_id = ?", identity)
    looked_at = "SELECT COUNT(*) FROM watched WHERE source_id = ? AND status <> 'unmapped' AND until IS NULL"
    watched = _number(state, looked_at, identity)
    return {
        "rows read, and what they were": (book["read"], sum(book[outcome] for outcome in outcomes)),
        "failures, and how they were told": (book["failure"], book["first_errors"] + book["counted"]),
        "events found, and kept": (book["events"], events + book["events_pruned"]),
        "rows open, and watched": (book["open"], watched),
    }


def _config(state: sqlite3.Connection, identity: str, book: Book) -> dict[str, tuple[int, int]]:
    decided = ("dropped", "folded", "held", "planned")
    told = book["planned"] + book["closing_planned"] + book["test_planned"]
    delivered = _number(state, "SELECT COALESCE(SUM(count), 0) FROM deliveries WHERE config_id = ?", identity)
    return {
        "events offered, and decided": (book["offered"], sum(book[each] for each in decided)),
        "events planned, and in deliveries": (told, delivered + book["pruned"]),
    }


def _number(state: sqlite3.Connection, sql: str, identity: str) -> int:
    return int(state.execute(sql, [identity]).fetchone()[0])
