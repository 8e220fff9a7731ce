"""Runs a program for each notification: the way out to everything that has a command line.

The notification comes on its standard input, as the JSON that a webhook gets. How the program ends is what came of it:

    0        sent
    64–78    rejected, but for 75: the exit codes of sysexits(3) say that it can never work like this
    others   tried again later, 75 (EX_TEMPFAIL) and a signal among them

The last line that it writes to standard error is the reason that people see. It runs without a shell, in a process
group of its own that is killed when the time is up, and with an environment of its own: PATH, LANG, and NOTIFYD_….
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints

from notifyd.api import Channel, Context, Notification, Options, Reject, Retry, Secret, hookimpl
from notifyd_plugins.program import Run

_TEMPORARY = 75
_FINAL = frozenset(range(64, 79)) - {_TEMPORARY}
_REASON_LIMIT = 300


def _program(argv: list[str]) -> list[str]:
    if not argv or not Path(argv[0]).is_absolute():
        raise ValueError('begins with the absolute path of a program: ["/usr/local/bin/page-someone", "--loud"]')
    return argv


class CommandOptions(Options):
    """Which program, and what it is given."""

    command: Annotated[list[str], AfterValidator(_program)] = Field(
        description="The program's path and its arguments.", examples=[["/usr/local/bin/page-someone", "--loud"]]
    )
    env: dict[Annotated[str, StringConstraints(pattern="^[A-Za-z_][A-Za-z0-9_]*$")], Secret] = Field(
        {}, description="Variables of its environment; their values are secret."
    )


class CommandChannel(Channel[CommandOptions]):
    """Runs a program with the notification as JSON on its standard input."""

    name = "command"
    Options = CommandOptions
    api_allowed = False  # who may use the API may not choose what runs on the server

    async def send(self, notification: Notification, ctx: Context) -> None:
        run = await self._start(notification, ctx)
        try:
            run.tell(json.dumps(notification.as_json()).encode())
            code = await run.end()
        finally:
            await run.stop()
        judge(code, self._masked(run.last_line()))

    async def _start(self, notification: Notification, ctx: Context) -> Run:
        try:
            return await Run.start(self.options.command, self._environment(notification, ctx))
        except (FileNotFoundError, PermissionError) as error:
            raise Reject(f"cannot run {self.options.command[0]}: {error.strerror}") from None
        except OSError as error:
            raise Retry(f"cannot run {self.options.command[0]}: {error.strerror}") from None

    def _masked(self, reason: str) -> str:
        """What the program said, without the secrets that it was given."""
        for value in self.options.env.values():
            reason = reason.replace(value.reveal(), "<secret>")
        return reason[:_REASON_LIMIT]

    def _environment(self, notification: Notification, ctx: Context) -> dict[str, str]:
        event = notification.event
        return {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            "NOTIFYD_DELIVERY_ID": ctx.delivery_id,
            "NOTIFYD_CONFIG": notification.config,
            "NOTIFYD_EVENT_TYPE": event.event_type.value,
            "NOTIFYD_SEVERITY": event.severity.value,
            "NOTIFYD_TITLE": ctx.render().title,
            "NOTIFYD_ATTEMPT": str(ctx.attempt),
            **{name: value.reveal() for name, value in self.options.env.items()},
        }


def judge(code: int, reason: str) -> None:
    """Say what an exit code means."""
    if code == 0:
        return
    ended = f"it was ended by signal {-code}" if code < 0 else f"exit code {code}"
    text = f"{ended}: {reason}" if reason else ended
    raise Reject(text) if code in _FINAL else Retry(text)


@hookimpl
def notifyd_channels() -> list[type[Channel[Any]]]:
    """One channel."""
    return [CommandChannel]
