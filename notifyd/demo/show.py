"""The whole show: a folder, a stage in it, the story on the stage, the balance; and an orderly end whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from notifyd.demo import balance, stage, words
from notifyd.demo.inbox import Missing
from notifyd.demo.settings_file import WEBHOOK
from notifyd.demo.stage import Place, Stage
from notifyd.demo.story import ALARM, STEPS
from notifyd.demo.terminal import Terminal
from notifyd.errors import NotifydError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(*, keep: bool) -> int:
    """Play it. The exit status: 0, 1 if something did not come true, or 128 + the signal that ended it."""
    terminal = Terminal()
    with _folder(keep=keep) as folder:
        status = asyncio.run(_until_signal(Place(folder), terminal, keep=keep))
    if status > 1:
        terminal.say("")
        terminal.say(f"Stopped{'' if keep else ', and cleaned up'}.")
    return status


@contextlib.contextmanager
def _folder(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="notifyd-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


async def _until_signal(place: Place, terminal: Terminal, *, keep: bool) -> int:
    """Play, and take everything down in order as soon as a signal comes; a second one changes nothing."""
    playing = asyncio.create_task(_play(place, terminal, keep=keep), name="show")
    caught: list[int] = []

    def stop(number: int) -> None:
        if not caught:
            caught.append(number)
            playing.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        await playing
    except NotifydError as error:
        words.say_what_failed(place, terminal, error)
        return 1
    except asyncio.CancelledError:
        if not caught:
            raise
        return 128 + caught[0]
    return 0


async def _play(place: Place, terminal: Terminal, *, keep: bool) -> None:
    words.introduce(place, terminal)
    async with stage.prepared(place, terminal) as ready:
        await ready.child.during(_tell(ready, terminal))
        if status := await ready.child.stop():
            raise Missing(f"the daemon did not end well: exit status {status}")
        taken = balance.taken(ready)
        words.show(taken, terminal)
        if wrong := list(balance.differences(taken)):
            raise Missing(f"the books do not balance: {'; '.join(wrong)}")
        words.agree(taken, terminal)
        [alarm] = ready.inbox.titled(WEBHOOK, ALARM)
        words.say_what_is_next(place, terminal, alarm.body["id"] if keep else None)


async def _tell(ready: Stage, terminal: Terminal) -> None:
    for title, step in STEPS:
        terminal.step(title)
        await step(ready, terminal)
        await terminal.pause()
    terminal.heading("The books")
    with terminal.waiting("the last rows are read …"):
        await balance.settle(ready)
