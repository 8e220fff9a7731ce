"""How the daemon stands, in one line: what `systemctl status` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

LONGEST = 480
"""Characters of the whole line; what is longer, few places show."""


class Troubles(NamedTuple):
    """What is wrong, each "" where nothing is: parts that do not turn, the state DB, channels that did not
    open, settings that were refused."""

    stuck: str = ""
    store: str = ""
    channels: str = ""
    refused: str = ""


NONE = Troubles()


@dataclass(frozen=True, slots=True)
class Standing:
    """What the line is made of; `behind` in seconds, `waiting` None where the state DB does not say."""

    sources: int
    failing_sources: int
    behind: float
    waiting: int | None
    failing_endpoints: int
    troubles: Troubles = NONE


def line(standing: Standing) -> str:
    """Such as "3 sources, lag 0 s, 2 pending, 1 endpoint failing"; what is wrong comes first."""
    failing = f" ({standing.failing_sources} failing)" if standing.failing_sources else ""
    facts = [f"{_counted(standing.sources, 'source')}{failing}", f"lag {standing.behind:.0f} s"]
    if standing.waiting is not None:
        facts.append(f"{standing.waiting} pending")
    if standing.failing_endpoints:
        facts.append(f"{_counted(standing.failing_endpoints, 'endpoint')} failing")
    text = "; ".join([*filter(None, standing.troubles), ", ".join(facts)])
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
