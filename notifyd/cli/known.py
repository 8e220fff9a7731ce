"""Names that are given to filters: one that nothing is called finds nothing, and is a slip that is said."""

from __future__ import annotations

from notifyd.cli.options import WrongUse
from notifyd.roster import identity_of
from notifyd.settings import Settings
from notifyd.settings.wording import did_you_mean
from notifyd.store import reads
from notifyd.store.database import Database


def config_named(db: Database, settings: Settings, name: str | None) -> str | None:
    """The id of the config of this name, there or gone. WrongUse where there never was one."""
    if name is None:
        return None
    if identity := reads.config_id_of(db, name):
        return identity
    written = {notification.name: identity_of(notification) for notification in settings.notifications}
    if name in written:
        return written[name]
    names = sorted({*reads.config_names(db), *written})
    hint = did_you_mean(name, names) or f"; there are {', '.join(names) or 'none'}"
    raise WrongUse(f'--config-name: no notification config is called "{name}"{hint}')
