"""8 writers commit in any order, some after more than 30 s, on each kind of database: 0 missed, 0 told twice."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.report import Report, main, say
from tests.sources.servers import KINDS
from tests.sources.workload import Load, Outcome, create, run, source_of

ROWS = 210_000
LONG = 35.0  # seconds; each takes 0.9 to 1.1 of it
MORE = 'gap_horizon = "10s"\n'  # MariaDB: extended while an older transaction is open


async def measure(seed: int) -> Report:
    report = Report()
    for kind, opened in KINDS.items():
        with opened() as server, tempfile.TemporaryDirectory() as folder:
            create(server)
            key = "name" if kind == "sqlite" else "id"
            source = source_of(server, Path(folder), key, MORE)
            load = Load(seed, ROWS, long=LONG, long_share=0.0008, pause=0.002)
            outcome = await asyncio.to_thread(run, server, source, load, key)
        figures = _figures(outcome)
        say(f"{kind}: {figures}")
        report.figures |= {f"{kind}.{name}": figure for name, figure in figures.items()}
        report.claims[f"{kind}: {outcome.rows:,} rows, none missed, none twice, none that was rolled back"] = (
            outcome.rows >= 200_000 and not outcome.missed and not outcome.twice and not outcome.ghosts
        )
    report.notes.append("naive_missed is what `WHERE id > last_id` missed of the same rows, beside the source")
    return report


def _figures(outcome: Outcome) -> dict[str, Any]:
    return {
        "rows": outcome.rows,
        "missed": len(outcome.missed),
        "twice": len(outcome.twice),
        "naive_missed": outcome.naive,
        "long_transactions": outcome.long_transactions,
        "rolled_back": outcome.rolled_back,
        "deleted": outcome.deleted,
        "polls": outcome.told.polls,
        "restarts": outcome.told.restarts,
        "notes": len(outcome.told.notes),
        "largest_cursor": outcome.told.largest_cursor,
        "seconds": round(outcome.seconds, 1),
    }


if __name__ == "__main__":
    asyncio.run(main("sources_fuzz", measure))
