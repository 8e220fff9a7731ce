"""Each config that is in use: does somebody answer where it sends. Nothing is sent.

A channel that has a check of its own is asked; of any other, the address in its options is connected to, with TLS
where it has TLS.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from notifyd.api import HttpOptions, Options, Reject, Retry
from notifyd.api.masking import secrets_of
from notifyd.cli.doctor.finding import Finding, Level
from notifyd.clock import utc_now
from notifyd.errors import NotifydError
from notifyd.lane import Lane
from notifyd.patience import run
from notifyd.roster import Roster, identity_of
from notifyd.saved import SavedBodies
from notifyd.settings import NotificationSettings, Settings
from notifyd.settings.masks import target_of
from notifyd.store import configs, reads
from notifyd.store.errors import StoreError

AREA = "Channels"
PATIENCE = 10.0
"""Seconds that each has to answer; all are asked at once."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a config sends to."""

    host: str
    port: int
    tls: bool


def findings(settings: Settings) -> Iterator[Finding]:
    """Of every config that is in use, those of the API too."""
    in_file = [each for each in settings.notifications if each.enabled]
    made, troubles = _made(settings)
    yield from troubles
    yield from run(_look(settings, [*in_file, *made]))


def _made(settings: Settings) -> tuple[list[NotificationSettings], list[Finding]]:
    """The configs of the API, and those of them that cannot be read."""
    found: list[NotificationSettings] = []
    troubles: list[Finding] = []
    bodies = SavedBodies(settings)
    try:
        with reads.opened(settings.daemon.state) as db:
            stored = [each for each in configs.listing(db, provisioned=False) if each.enabled]
    except StoreError:  # said already
        return [], []
    for each in stored:
        try:
            found.append(bodies.settings_of(each))
        except NotifydError as error:
            troubles.append(Finding(AREA, Level.PROBLEM, f"{each.name}: {error}", "change it through the API"))
    return found, troubles


async def _look(settings: Settings, notifications: Sequence[NotificationSettings]) -> list[Finding]:
    roster = Roster(settings)
    try:
        return list(await asyncio.gather(*(_one(roster, each) for each in notifications)))
    finally:
        await roster.close()


async def _one(roster: Roster, notification: NotificationSettings) -> Finding:
    name = notification.name
    if not _resolved(notification.options):
        return Finding(AREA, Level.NOTE, f"{name}: not looked at, as it has a secret of the unit")
    try:
        await roster.put_lane(notification)
        lane = roster.lanes[identity_of(notification)]
        if lane.unopened:
            raise NotifydError(f"its channel did not open: {lane.unopened}")  # noqa: TRY301
        text = await _reached(lane, notification)
    except NotifydError as error:
        do = f"mend its options, or the network; then `notifyd test {name}`"
        return Finding(AREA, Level.PROBLEM, f"{name}: {_cause(error)}", do)
    return Finding(AREA, Level.OK, f"{name}: {text}")


async def _reached(lane: Lane, notification: NotificationSettings) -> str:
    """What was seen. Raises NotifydError where nobody answers as they should."""
    if checked := await lane.check(utc_now(), PATIENCE):
        if not checked.well:
            raise NotifydError(checked.text)
        return checked.text or "its own check is content"
    addresses = _addresses(notification.options)
    for address in addresses:
        await _connect(lane, address, notification.options)
    if not addresses:
        return "there is no address to connect to; `notifyd test` sends a message"
    return ", ".join(f"{each.host}:{each.port} answers{' with TLS' if each.tls else ''}" for each in addresses)


async def _connect(lane: Lane, address: Address, options: Options) -> None:
    where = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(PATIENCE):
            with closing(await lane.dialer.connect(address.host, address.port)) as connection:
                if address.tls:
                    context = _tls(options)
                    _, writer = await asyncio.open_connection(
                        sock=connection.dup(), ssl=context, server_hostname=address.host
                    )
                    writer.close()
    except TimeoutError:
        raise NotifydError(f"{where} does not answer within {PATIENCE:g} s") from None
    except ssl.SSLError as error:
        raise NotifydError(f"{where}: TLS fails: {getattr(error, 'verify_message', '') or error.reason}") from None
    except OSError as error:
        raise NotifydError(f"{where}: {error.strerror or error}") from None


def _tls(options: Options) -> ssl.SSLContext:
    ca_file = getattr(options, "ca_file", None)
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


def _addresses(options: Options) -> list[Address]:
    """Out of the options that say where they send: URLs, and pairs of a host and a port."""
    if isinstance(options, HttpOptions) and options.proxy:
        return [_of_url(options.proxy.reveal())]
    found = [address for value in target_of(options).values() if (address := _of_origin(value))]
    host, port = getattr(options, "smtp_host", None), getattr(options, "port", None)
    if isinstance(host, str) and isinstance(port, int):
        found.append(Address(host, port, tls=getattr(options, "tls", "") == "implicit"))
    return found


def _of_origin(value: object) -> Address | None:
    """Of a URL among the targets: its scheme, host and port."""
    if not (isinstance(value, tuple) and len(value) == 3 and all(value)):
        return None
    scheme, host, port = value
    return Address(host, port, tls=scheme == "https")


def _of_url(url: str) -> Address:
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    return Address(parts.hostname or "", parts.port or (443 if tls else 80), tls)


def _resolved(options: Options) -> bool:
    try:
        secrets_of(options)
        target_of(options)
    except ValueError:
        return False
    return True


def _cause(error: NotifydError) -> str:
    return error.reason if isinstance(error, Retry | Reject) else str(error)
