"""`notifyd retry`: gives deliveries a new life."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from notifyd.cli.options import LostState, WrongUse, read_settings
from notifyd.cli.output import complain, print_json, say
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.model import Reason
from notifyd.store import outbox, reads
from notifyd.store.database import Database
from notifyd.store.lock import Lock
from notifyd.store.reads import Delivery

_PAGE = 200


def retry(path: Path, ids: Sequence[str], state: LostState | None, config_name: str | None, *, as_json: bool) -> None:
    """Requeue deliveries, by id or all in a state. Raises NotifydError where one of the ids cannot be."""
    if bool(ids) == (state is not None):
        raise WrongUse("name the deliveries to send again, or all of them by --state dead, expired or cancelled")
    if ids and config_name is not None:
        raise WrongUse("--config-name goes with --state; an id is already that of one delivery")
    with reads.opened(read_settings(path).daemon.state) as db:
        wanted = list(dict.fromkeys(ids)) if state is None else [d.id for d in _lost(db, state, config_name)]
        refused = _refused(db, wanted)
        done = outbox.requeue(db, [identity for identity in wanted if identity not in refused], utc_now())
        alive = Lock(db.path).held()
    _say(done, refused, alive=alive, as_json=as_json)
    if ids and refused:
        raise NotifydError(f"{len(refused)} of {len(wanted)} cannot be sent again")


def _say(done: list[str], refused: dict[str, str], *, alive: bool, as_json: bool) -> None:
    for identity, why in refused.items():
        complain(f"{identity}: {why}")
    if as_json:
        print_json({"items": done, "next": None})
        return
    when = "now" if alive else "once a daemon runs: none does now"
    say(f"{len(done)} will be sent again, {when}" if done else "nothing to send again")


def _lost(db: Database, state: LostState, config_name: str | None) -> Iterator[Delivery]:
    """Every delivery in a state, page by page; without tests, which nobody waits for any more."""
    before: int | None = None
    while True:
        page = reads.deliveries(db, state=state, config=config_name, before=before, limit=_PAGE)
        yield from (delivery for delivery in page.items if delivery.reason != Reason.TEST)
        if (before := page.next) is None:
            return


def _refused(db: Database, ids: Sequence[str]) -> dict[str, str]:
    """Why some of them cannot be sent again, by id."""
    reasons = {identity: _why_not(db, reads.delivery(db, identity)) for identity in ids}
    return {identity: why for identity, why in reasons.items() if why}


def _why_not(db: Database, delivery: Delivery | None) -> str | None:
    if delivery is None:
        return "there is no such delivery; `notifyd deliveries` lists them"
    if delivery.state not in set(LostState):
        return f"it is {delivery.state}: only what is dead, expired or cancelled can be sent again"
    config = reads.config(db, delivery.config_id)
    if config is not None and not config.active:
        gone = "was deleted" if config.deleted_at else "is disabled"
        return f"its config {config.name} {gone}, so nothing would be sent"
    return None
