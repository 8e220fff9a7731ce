"""Polls go first, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest

from notifyd.right_of_way import LONGEST_WAIT, RightOfWay


async def test_who_gives_way_waits_until_nobody_is_at_work() -> None:
    way = RightOfWay()
    await way.give()
    with way.taken():
        with way.taken():
            waiting = asyncio.create_task(way.give())
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
    async with asyncio.timeout(LONGEST_WAIT / 2):
        await waiting


async def test_nobody_waits_for_ever() -> None:
    way = RightOfWay()
    with way.taken():
        async with asyncio.timeout(LONGEST_WAIT * 20):
            await way.give()


async def test_work_that_fails_is_over_too() -> None:
    way = RightOfWay()
    with pytest.raises(ZeroDivisionError), way.taken():
        _ = 1 / 0
    async with asyncio.timeout(LONGEST_WAIT / 2):
        await way.give()
