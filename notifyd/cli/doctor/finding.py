"""One thing that the doctor found."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How much it matters: a problem keeps somebody from being told, or soon will."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What it is about, what was found, and what to do; nothing where all is well."""

    area: str
    level: Level
    text: str
    do: str = ""

    def json(self) -> dict[str, str | None]:
        """As `--json` shows it."""
        return {"area": self.area, "level": self.level, "text": self.text, "do": self.do or None}
