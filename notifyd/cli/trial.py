"""`notifyd test`: one real message to one config.

Beside a running daemon the test goes into its outbox, and this waits for the attempt. Where none runs, it is
sent from here, by the same lane, and recorded in the same history.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from notifyd.cli.options import WrongUse
from notifyd.cli.output import complain, local, print_json, say, took
from notifyd.cli.person import person
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.lane import Lane
from notifyd.model import Outcome, Result
from notifyd.observe import logs
from notifyd.patience import run
from notifyd.roster import Roster, identity_of
from notifyd.saved import SavedBodies
from notifyd.settings import NotificationSettings, Settings, load, parse_duration
from notifyd.settings.wording import did_you_mean
from notifyd.store import configs, outbox, reads, trail, trials
from notifyd.store.claim import Claimed
from notifyd.store.database import Database
from notifyd.store.lock import Lock
from notifyd.store.outbox import Settled
from notifyd.store.reads import Attempt
from notifyd.store.trail import Deed

PATIENCE = 15.0
"""Seconds that the daemon has to begin an attempt; how long one may take is up to its config."""

_LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Chosen:
    """The config that a test goes to, of the settings file or made through the API."""

    id: str
    name: str
    timeout: timedelta


def trial(path: Path, name: str, *, as_json: bool) -> None:
    """Send a test. Raises NotifydError where it was not sent, with the reason."""
    settings = load(path, secrets=False)
    written = _written(settings, name)
    with reads.opened(settings.daemon.state) as db:
        chosen, lock = written or _made(db, settings, name), Lock(db.path)
        if _take(lock):
            try:
                attempt = _send(db, path, chosen)
            finally:
                lock.release()
        else:
            attempt = wait(db, chosen)
        again = _again(db, attempt)
    _say(attempt, again, as_json=as_json)


def _written(settings: Settings, name: str) -> Chosen | None:
    """The config of this name in the settings file, if there is one. Raises NotifydError where it is off."""
    found = next((each for each in settings.notifications if each.name == name), None)
    if found and not found.enabled:
        raise NotifydError(f"{found.where}: {name} is disabled (enabled = false), so nothing is sent to it")
    return Chosen(identity_of(found), name, found.timeout) if found else None


def _made(db: Database, settings: Settings, name: str) -> Chosen:
    """The config of this name that the API made. Raises WrongUse where there is none, NotifydError where it is off."""
    made = configs.listing(db, provisioned=False)
    found = next((each for each in made if each.name == name), None)
    if found is None:
        names = [*(each.name for each in settings.notifications), *(each.name for each in made)]
        hint = did_you_mean(name, names) or f"; there are {', '.join(names) or 'none'}"
        raise WrongUse(f'no notification config is called "{name}"{hint}')
    if not found.enabled:
        raise NotifydError(f"{name} ({found.id}) is disabled, so nothing is sent to it; the API can test it")
    return Chosen(found.id, name, parse_duration(found.others.get("timeout", "30s")))


def _take(lock: Lock) -> bool:
    """Whether no daemon is alive; none can start then until the lock is released."""
    try:
        return lock.take()
    except OSError as error:
        raise NotifydError(f"{lock.path} cannot be written: {error.strerror}; run this as notifyd's user") from None


def _begin(db: Database, identity: str, name: str, now: datetime) -> str:
    """Put the test in the outbox, and the person who asked for it into the audit trail."""
    with db.transaction():
        trail.note(db, person(), Deed("config.tested", identity, name), now)
        return trials.begin(db, identity, name, now)


def _again(db: Database, attempt: Attempt) -> datetime | None:
    """When it is tried again; None where it is not."""
    delivery = reads.delivery(db, attempt.delivery_id)
    return delivery.due_at if delivery and delivery.state == "retrying" else None


def _say(attempt: Attempt, again: datetime | None, *, as_json: bool) -> None:
    if as_json:
        print_json(reads.as_json(attempt))
    elif attempt.success:
        status = f", HTTP {attempt.status_code}" if attempt.status_code else ""
        say(f"sent to {attempt.config_name} ({attempt.notification_type}) in {took(attempt.duration_ms)}{status}")
    if not attempt.success:
        failed, then = ("not sent yet", f"tried again at {local(again)}") if again else ("not sent", "not tried again")
        to = f"{attempt.config_name} ({attempt.notification_type})"
        raise NotifydError(f"{failed} to {to}: {attempt.error}; it is {then}")


# -- where no daemon is alive ------------------------------------------------------------------------


def _send(db: Database, path: Path, chosen: Chosen) -> Attempt:
    """Send it from here. It is not tried again: whoever asked is told at once, and may ask again."""
    settings = load(path)
    logs.configure("warning")
    delivery = run(_attempt(db, Roster(settings), _notification(db, settings, chosen)))
    return reads.attempts_of(db, delivery)[-1]


def _notification(db: Database, settings: Settings, chosen: Chosen) -> NotificationSettings:
    """The config with its secrets: from the file, or out of its seal."""
    if (stored := configs.get(db, chosen.id)) and not stored.provisioned:
        return SavedBodies(settings).settings_of(stored)
    return next(each for each in settings.notifications if each.name == chosen.name)


async def _attempt(db: Database, roster: Roster, notification: NotificationSettings) -> str:
    identity = identity_of(notification)
    try:
        await roster.put_lane(notification)
        lane, now = roster.lanes[identity], utc_now()
        delivery = _begin(db, identity, notification.name, now)
        for claimed in outbox.turn(db, [], {identity: replace(lane.capacity, free=1)}, now):
            await _make(db, lane, claimed)
    finally:
        await roster.close()
    return delivery


async def _make(db: Database, lane: Lane, claimed: Claimed) -> None:
    """One attempt, recorded whatever becomes of it."""
    started, outcome = utc_now(), Outcome(Result.UNKNOWN, "unknown: the test was interrupted")
    try:
        outcome = await lane.attempt(claimed.notification, claimed.attempt, started)
    finally:
        with db.transaction():
            outbox.settle(db, [Settled(claimed, outcome, started, utc_now())])


# -- beside a running daemon -------------------------------------------------------------------------


def wait(db: Database, chosen: Chosen, patience: float = PATIENCE) -> Attempt:
    """Put a test in the outbox and wait for the daemon's attempt. Raises NotifydError where none comes."""
    _check_known(db, chosen)
    delivery = _begin(db, chosen.id, chosen.name, utc_now())
    patience += chosen.timeout.total_seconds()
    complain(f"waiting for the daemon to send {delivery} …")
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        for attempt in reads.attempts_of(db, delivery):
            if attempt.finished_at is not None:
                return attempt
        time.sleep(_LOOK)
    raise NotifydError(
        f"the daemon made no attempt within {patience:g} s; the test stays in its outbox, and "
        f"`notifyd why {delivery}` says what became of it"
    )


def _check_known(db: Database, chosen: Chosen) -> None:
    """A daemon that was started before the config was written would never send to it."""
    known = reads.config(db, chosen.id)
    if known is None or not known.active:
        raise NotifydError(
            f"the running daemon does not know {chosen.name} yet, as it has not read the settings again: "
            "reload or restart it (systemctl reload notifyd)"
        )
