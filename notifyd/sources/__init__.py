"""Reads sync logs, read-only, into Records. Nothing else knows their columns."""

from notifyd.settings import SourceSettings
from notifyd.sources.batch import About, Batch, SetAside, Start
from notifyd.sources.errors import SourceError
from notifyd.sources.place import Cursor
from notifyd.sources.rewind import Target, target_of
from notifyd.sources.source import Source
from notifyd.sources.standing import Lag, Standing, lag, read_up_to, same_log, standing

__all__ = [
    "About",
    "Batch",
    "Cursor",
    "Lag",
    "SetAside",
    "Source",
    "SourceError",
    "Standing",
    "Start",
    "Target",
    "lag",
    "open_source",
    "read_up_to",
    "same_log",
    "standing",
    "target_of",
]


def open_source(settings: SourceSettings) -> Source:
    """The source of these settings. Cheap: it connects when it is first used."""
    return Source(settings)
