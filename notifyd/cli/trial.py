"""`notifyd test`: one real message to one config.

Beside a running daemon the test goes into its outbox, and this waits for the attempt. Where none runs, it is
sent from here, by the same lane, and recorded in the same history.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

from notifyd.cli.options import WrongUse, read_settings
from notifyd.cli.output import complain, print_json, say, took
from notifyd.clock import utc_now
from notifyd.core.ids import config_id
from notifyd.errors import NotifydError
from notifyd.lane import Lane, lane_of
from notifyd.model import Outcome, Result
from notifyd.observe import logs
from notifyd.settings import NotificationSettings, Settings, load
from notifyd.settings.wording import did_you_mean
from notifyd.store import outbox, precedence, reads
from notifyd.store.database import Database
from notifyd.store.lock import Lock
from notifyd.store.outbox import Claimed, Settled
from notifyd.store.reads import Attempt

PATIENCE = 15.0
"""Seconds that the daemon has to begin an attempt; how long one may take is up to its config."""

_LOOK = 0.1


def trial(path: Path, name: str, *, as_json: bool) -> None:
    """Send a test. Raises NotifydError where it was not sent, with the reason."""
    settings = read_settings(path)
    notification = _named(settings, name)
    with reads.opened(settings.daemon.state) as db:
        lock = Lock(db.path)
        if _take(lock):
            try:
                attempt = _send(db, path, name)
            finally:
                lock.release()
        else:
            attempt = wait(db, notification)
    _say(attempt, as_json=as_json)


def _named(settings: Settings, name: str) -> NotificationSettings:
    found = next((notification for notification in settings.notifications if notification.name == name), None)
    if found is None:
        names = [notification.name for notification in settings.notifications]
        hint = did_you_mean(name, names) or f"; there are {', '.join(names) or 'none'}"
        raise WrongUse(f'no notification config is called "{name}"{hint}')
    if not found.enabled:
        raise NotifydError(f"{found.where}: {name} is disabled (enabled = false), so nothing is sent to it")
    return found


def _take(lock: Lock) -> bool:
    """Whether no daemon is alive; none can start then until the lock is released."""
    try:
        return lock.take()
    except OSError as error:
        raise NotifydError(f"{lock.path} cannot be written: {error.strerror}; run this as notifyd's user") from None


def _say(attempt: Attempt, *, as_json: bool) -> None:
    if as_json:
        print_json(reads.as_json(attempt))
    elif attempt.success:
        status = f", HTTP {attempt.status_code}" if attempt.status_code else ""
        say(f"sent to {attempt.config_name} ({attempt.notification_type}) in {took(attempt.duration_ms)}{status}")
    if not attempt.success:
        raise NotifydError(f"not sent to {attempt.config_name} ({attempt.notification_type}): {attempt.error}")


# -- where no daemon is alive ------------------------------------------------------------------------


def _send(db: Database, path: Path, name: str) -> Attempt:
    """Send it from here. It is not tried again: whoever asked is told at once, and may ask again."""
    settings = load(path)
    logs.configure("warning")
    lane = lane_of(_named(settings, name), settings.registry, public_url=settings.http.public_url)
    delivery = asyncio.run(_attempt(db, lane))
    return reads.attempts_of(db, delivery)[-1]


async def _attempt(db: Database, lane: Lane) -> str:
    now = utc_now()
    delivery = outbox.enqueue_test(db, lane.recipient.id, lane.recipient.name, now)
    precedence.put_first(db, delivery)
    await lane.open()
    try:
        for claimed in outbox.turn(db, [], {lane.recipient.id: replace(lane.capacity, free=1)}, now):
            await _make(db, lane, claimed)
    finally:
        await lane.close()
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


def wait(db: Database, notification: NotificationSettings, patience: float = PATIENCE) -> Attempt:
    """Put a test in the outbox and wait for the daemon's attempt. Raises NotifydError where none comes."""
    _check_known(db, notification)
    delivery = outbox.enqueue_test(db, config_id(notification.name), notification.name, utc_now())
    precedence.put_first(db, delivery)
    patience += notification.timeout.total_seconds()
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


def _check_known(db: Database, notification: NotificationSettings) -> None:
    """A daemon that was started before the config was written would never send to it."""
    known = reads.config(db, config_id(notification.name))
    if known is None or not known.active:
        raise NotifydError(
            f"the running daemon does not know {notification.name} yet, as it has not read the settings again: "
            "reload or restart it (systemctl reload notifyd)"
        )
