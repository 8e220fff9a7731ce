"""`notifyd retry`: gives deliveries a new life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from notifyd.cli.known import config_named
from notifyd.cli.options import LostState, WrongUse, read_settings
from notifyd.cli.output import complain, count, print_json, say
from notifyd.cli.person import person
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.store import reads, revival
from notifyd.store.database import Database
from notifyd.store.lock import Lock

_HINT = "; `notifyd deliveries` lists them"


def retry(path: Path, ids: Sequence[str], state: LostState | None, config_name: str | None, *, as_json: bool) -> None:
    """Requeue deliveries, by id or all in a state. Raises NotifydError where one of the ids cannot be."""
    if bool(ids) == (state is not None):
        raise WrongUse("name the deliveries to send again, or all of them by --state dead, expired or cancelled")
    if ids and config_name is not None:
        raise WrongUse("--config-name goes with --state; an id is already that of one delivery")
    settings = read_settings(path)
    with reads.opened(settings.daemon.state) as db:
        refused: Mapping[str, str] = {}
        if state is None:
            done, refused = _each(db, dict.fromkeys(ids))
        else:
            done = _all(db, state, config_named(db, settings, config_name))
        alive = Lock(db.path).held()
    _say(done, alive=alive, as_json=as_json)
    if refused:
        raise NotifydError(f"{len(refused)} of {len(refused) + len(done)} cannot be sent again")


def _each(db: Database, ids: Mapping[str, None]) -> tuple[list[str], dict[str, str]]:
    """Those that will be sent again, and why the others will not."""
    refusals = {identity: revival.revive(db, identity, person(), utc_now()) for identity in ids}
    refused = {identity: why for identity, why in refusals.items() if why}
    for identity, why in refused.items():
        complain(f"{identity}: {why}{_HINT if why is revival.UNKNOWN else ''}")
    return [identity for identity in ids if identity not in refused], refused


def _all(db: Database, state: LostState, config_id: str | None) -> list[str]:
    """All in a state, in transactions that nobody waits long for."""
    done: list[str] = []
    while some := revival.revive_all(db, state, config_id, person(), utc_now()):
        done += some
    if unwanted := revival.unwanted(db, state, config_id):
        complain(f"{count(unwanted, 'delivery')} of configs that are disabled or deleted: left {state}")
    return done


def _say(done: list[str], *, alive: bool, as_json: bool) -> None:
    if as_json:
        print_json({"items": done, "next": None})
        return
    when = "now" if alive else "once a daemon runs: none does now"
    say(f"{len(done)} will be sent again, {when}" if done else "nothing to send again")
