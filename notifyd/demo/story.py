"""The story: each step makes something happen, waits until it has come true, and says so.

No step relies on a pause: a step that does not come true within its time raises Missing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from notifyd.demo.inbox import Missing
from notifyd.demo.settings_file import CONFIGS, MAIL, SLACK, WEBHOOK, WINDOW
from notifyd.demo.stage import Stage
from notifyd.demo.sync_system import Sync
from notifyd.demo.terminal import Terminal

INVOICES = Sync("corner-shop", "quickbooks", "invoices")
ORDERS = Sync("corner-shop", "woocommerce", "orders")
PAYMENTS = Sync("corner-shop", "quickbooks", "payments")
STORM = tuple(Sync(f"shop-{number:03}", "shopify", "orders") for number in range(1, 501))

OPS = (WEBHOOK, SLACK)
ALARM = "Multiple Sync Failures: woocommerce"

EXPIRED = "401: Invalid QuickBooks credentials or expired token"
NO_WOOCOMMERCE = "500: WooCommerce API request failed: error sending request"
NO_QUICKBOOKS = "500: QuickBooks API request failed: error sending request"
RATE_LIMIT = "500: QuickBooks rate limit exceeded (retry after 60 seconds)"
OUTAGE = "500: Shopify API error (503 Service Unavailable)"


async def first_error(stage: Stage, terminal: Terminal) -> None:
    """One run fails, and each of the three configs hears of it, with what to do next."""
    title = "Sync Error: quickbooks - invoices"
    since = stage.system.fail(INVOICES, error=EXPIRED)
    terminal.failed("quickbooks invoices", EXPIRED)
    await _told(stage, terminal, CONFIGS, title, since)
    terminal.say("Each message says what to do next:")
    for number, action in enumerate(_body(stage, title)["suggested_actions"], 1):
        terminal.say(f"  {number}. {action}", "italic")


async def three_in_a_row(stage: Stage, terminal: Terminal) -> None:
    """Three runs of one schedule fail: the first is told, the other two gather, and the alarm waits for neither.

    The accountant's filters leave it out; who has heard the alarm is not told of the next three.
    """
    since = stage.system.fail(ORDERS, ORDERS, ORDERS, error=NO_WOOCOMMERCE)
    terminal.failed("woocommerce orders, 3 runs", NO_WOOCOMMERCE)
    await _told(stage, terminal, OPS, "Connection Failed: woocommerce", since)
    await _told(stage, terminal, OPS, ALARM, since)
    _not_told(stage, terminal, MAIL, ALARM)
    stage.system.fail(ORDERS, ORDERS, ORDERS, error=NO_WOOCOMMERCE)
    terminal.failed("woocommerce orders, 3 more", NO_WOOCOMMERCE)
    for config in OPS:
        await stage.ledger.counts(config, "folded", 3)
        terminal.untold(config, "folded, as it knows of the 3 in a row")
    with terminal.waiting(f"the second and third failure go out together, {WINDOW} seconds after the first …"):
        await _told(stage, terminal, OPS, "2 × Connection Failed: woocommerce", since)
    terminal.say("6 failures, 3 messages: the first at once, the alarm at once, one digest.")


async def rate_limit(stage: Stage, terminal: Terminal) -> None:
    """A run hits a rate limit, which is a warning: below what the accountant wants."""
    title = "Rate Limit Reached: quickbooks"
    since = stage.system.fail(PAYMENTS, error=RATE_LIMIT)
    terminal.failed("quickbooks payments", RATE_LIMIT)
    await _told(stage, terminal, OPS, title, since)
    _not_told(stage, terminal, MAIL, title)


async def storm(stage: Stage, terminal: Terminal) -> None:
    """The same connector fails for 500 shops at the same time: one message at once, and one for the other 499."""
    since = stage.system.fail(*STORM, error=OUTAGE)
    terminal.failed("shopify orders of 500 shops", OUTAGE)
    await _told(stage, terminal, OPS, "Sync Error: shopify - orders", since)
    with terminal.waiting(f"the other 499 gather for {WINDOW} seconds …"):
        await _told(stage, terminal, OPS, "499 × Sync Error: shopify - orders", since)
    terminal.say("2 messages each instead of 500: the first at once, the others together.")


async def broken_endpoint(stage: Stage, terminal: Terminal) -> None:
    """The webhook's endpoint answers 503 twice: it is tried again, and nobody else waits for it."""
    title = "Connection Failed: quickbooks"
    stage.sinks.refusals[WEBHOOK] = 2
    since = stage.system.fail(PAYMENTS, error=NO_QUICKBOOKS)
    terminal.failed("quickbooks payments", NO_QUICKBOOKS)
    await _told(stage, terminal, (SLACK, MAIL), title, since)
    for number, wait in ((1, "at once"), (2, "after about 2 seconds"), (3, "after about 5 more seconds")):
        with terminal.waiting(f"attempt {number} comes {wait} …"):
            attempt = await stage.inbox.expect(WEBHOOK, title, number)
        terminal.attempted(WEBHOOK, attempt.at - since, number, attempt.status)
    if len({attempt.delivery for attempt in stage.inbox.titled(WEBHOOK, title)}) != 1:
        raise Missing("the attempts did not carry the same Idempotency-Key")
    terminal.say("The three attempts carry one Idempotency-Key. Slack and e-mail did not have to wait.")


async def recovery(stage: Stage, terminal: Terminal) -> None:
    """The schedule that raised the alarm succeeds: those who heard the alarm hear of it, whatever their filters say."""
    title = "Recovered: woocommerce"
    since = stage.system.succeed(ORDERS)
    terminal.went_well("woocommerce orders")
    with terminal.waiting("a run has gone well once nothing more comes of it for a second …"):
        await _told(stage, terminal, OPS, title, since)
    _not_told(stage, terminal, MAIL, title)


STEPS: tuple[tuple[str, Callable[[Stage, Terminal], Awaitable[None]]], ...] = (
    ("A first error is told at once", first_error),
    ("Three failures in a row raise the alarm, and the next ones fold", three_in_a_row),
    ("A rate limit is only a warning, so it goes to those who want warnings", rate_limit),
    ("A storm of 500 errors becomes one digest", storm),
    ("An endpoint answers 503 twice, and the message still arrives", broken_endpoint),
    ("A recovery is told to exactly those who were told of the failures", recovery),
)


async def _told(stage: Stage, terminal: Terminal, configs: Iterable[str], title: str, since: float) -> None:
    """Wait until each of these configs is told this, and say how soon it was."""
    for config in configs:
        arrival = await stage.inbox.expect(config, title)
        terminal.told(config, arrival.at - since, title)


def _not_told(stage: Stage, terminal: Terminal, config: str, title: str) -> None:
    """Say why a config was left out of an event that the webhook was told of."""
    terminal.untold(config, stage.ledger.why_not(_body(stage, title)["id"], config))


def _body(stage: Stage, title: str) -> dict[str, Any]:
    """What the webhook was told, as JSON."""
    return stage.inbox.titled(WEBHOOK, title)[0].body
