"""The laws of every filter, one check a method. Inherit `FilterTests`, and say which one and with which options."""

from __future__ import annotations

import asyncio
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter, ValidationError

from notifyd.api import Drop, Event, Filter, FilterContext, Hold, Pass, Verdict
from notifyd.conformance import samples
from notifyd.conformance.stage import options_of
from notifyd.conformance.watch import listening
from notifyd.plugin_host import fault_of

QUICK = 0.02
"""Seconds that one decision may take: it is made for every event and every config."""

_HOLDS = 100
_MOMENTS = tuple(samples.NOW + timedelta(hours=hours) for hours in range(0, 24 * 8, 5))


class FilterTests:
    """The checks of a filter. A subclass named `Test…` gives `filter` and `options`, and is run by pytest."""

    filter: ClassVar[type[Filter[Any]]]

    options: ClassVar[list[Any]]
    """Values that its key may have in TOML; it is tried with each."""

    bad_options: ClassVar[list[Any]]
    """Values that must be refused."""

    keeps_state: ClassVar[bool] = False
    """True: what it says depends on what it was asked before, as that of a throttle does."""

    @classmethod
    def conformance_subject(cls) -> str:
        """What the checklist calls it."""
        return f"the filter {getattr(cls.filter, 'name', cls.filter.__name__)}"

    def test_it_is_a_filter(self) -> None:
        """notifyd accepts the class: name, Options, signature, version"""
        if fault := fault_of(self.filter, "filter"):
            pytest.fail(f"notifyd refuses it: {fault}", pytrace=False)
        _require(bool((self.filter.__doc__ or "").strip()), "it has no docstring, which `notifyd plugins` shows")
        TypeAdapter(self.filter.Options).json_schema()

    def test_good_options_are_accepted(self) -> None:
        """the options that the test gives are accepted"""
        _require(bool(self.options), "give at least one value in `options`")
        for options in self.options:
            self._made(options)

    def test_bad_options_are_refused(self) -> None:
        """bad settings are refused"""
        _require(bool(self.bad_options), "give at least one value in `bad_options`")
        for options in self.bad_options:
            try:
                options_of(self.filter.Options, options)
            except ValidationError:
                continue
            except Exception as error:
                pytest.fail(f"{options!r} raised {type(error).__name__}; a validator raises ValueError", pytrace=False)
            pytest.fail(f"{options!r} was accepted", pytrace=False)

    def test_it_always_has_an_answer(self) -> None:
        """it answers Pass, Drop or Hold to every event: every type, hostile text, nothing in it"""
        for options in self.options:
            for what, event in samples.events():
                for moment in _MOMENTS[:3]:
                    self._ask(self._made(options), event, FilterContext(moment, "ops"), what)

    def test_it_says_why(self) -> None:
        """each Drop has a reason, in one line"""
        for verdict, what in self._verdicts():
            if isinstance(verdict, Drop):
                reason = verdict.reason
                _require(bool(reason.strip()), f"{what}: Drop without a reason")
                _require("\n" not in reason and "\r" not in reason, f"{what}: the reason has more than one line")
                _require(len(reason) <= 1000, f"{what}: the reason has {len(reason)} characters")

    def test_a_hold_is_for_later(self) -> None:
        """each Hold ends at an aware time that is still to come"""
        for verdict, what in self._verdicts():
            if isinstance(verdict, Hold):
                _require(verdict.until.utcoffset() is not None, f"{what}: Hold until a time without a zone")
                _require(verdict.until > samples.NOW, f"{what}: Hold until {verdict.until}, which is past")

    def test_a_hold_has_an_end(self) -> None:
        """what is held is not held again and again for ever"""
        for options in self.options:
            for what, event in samples.events():
                asked, now = self._made(options), samples.NOW
                for _ in range(_HOLDS):
                    verdict = asked.decide(event, FilterContext(now, "ops"))
                    if not isinstance(verdict, Hold):
                        break
                    now = verdict.until
                else:
                    pytest.fail(f"{what}: held {_HOLDS} times in a row, the last until {now}", pytrace=False)

    def test_the_same_question_has_the_same_answer(self) -> None:
        """it depends on the event, its options and ctx alone: no clock, no memory, no chance"""
        if self.keeps_state:
            pytest.skip("it keeps state")
        for options in self.options:
            one, other = self._made(options), self._made(options)
            for what, event in samples.events():
                ctx = FilterContext(samples.NOW, "ops")
                answers = [one.decide(event, ctx), other.decide(event, ctx), one.decide(event, ctx)]
                _require(answers.count(answers[0]) == 3, f"{what}: asked three times, it said {answers}")

    def test_many_threads(self) -> None:
        """it may be asked from several threads at once"""
        for options in self.options:
            asked = self._made(options)
            asking = [(event, FilterContext(now, "ops")) for _, event in samples.events() for now in _MOMENTS[:4]]
            with ThreadPoolExecutor(4) as threads:
                together = list(threads.map(asked.decide, *zip(*asking, strict=True)))
            if not self.keeps_state:
                alone = [asked.decide(*each) for each in asking]
                _require(together == alone, "asked from four threads, it said something else than from one")

    def test_it_is_quick(self) -> None:
        """a decision takes less than 20 ms, also about a very long text"""
        for options in self.options:
            asked = self._made(options)
            for what, event in samples.events():
                seconds = min(_seconds(asked, event) for _ in range(3))
                _require(seconds < QUICK, f"{what}: it took {seconds * 1000:.0f} ms")

    def test_it_is_silent(self) -> None:
        """it prints nothing, and waits for nothing"""
        with listening() as ears:
            for verdict, what in self._verdicts():
                _require(not inspect.isawaitable(verdict), f"{what}: it returned something to await")
        _require(not ears.printed.strip(), f"it printed {ears.printed.strip()[:80]!r}")

    def test_it_needs_no_loop(self) -> None:
        """it decides beside a running event loop as without one"""
        if self.keeps_state:
            pytest.skip("it keeps state")

        async def beside() -> list[Verdict]:
            return [verdict for verdict, _ in self._verdicts()]

        _require(asyncio.run(beside()) == [verdict for verdict, _ in self._verdicts()], "it said something else")

    # -- how this is done ------------------------------------------------------------------------

    def _made(self, options: Any) -> Filter[Any]:
        try:
            return self.filter(options_of(self.filter.Options, options))
        except ValidationError as error:
            pytest.fail(f"its own options {options!r} are refused: {error}", pytrace=False)

    def _verdicts(self) -> list[tuple[Verdict, str]]:
        return [
            (self._ask(self._made(options), event, FilterContext(samples.NOW, "ops"), what), what)
            for options in self.options
            for what, event in samples.events()
        ]

    def _ask(self, asked: Filter[Any], event: Event, ctx: FilterContext, what: str) -> Verdict:
        try:
            verdict: object = asked.decide(event, ctx)
        except BaseException as error:
            pytest.fail(f"{what}: it raised {type(error).__name__}: {error}", pytrace=False)
        if not isinstance(verdict, Pass | Drop | Hold):
            pytest.fail(f"{what}: it answered {verdict!r}, which is no Pass, Drop or Hold", pytrace=False)
        return verdict


def _seconds(asked: Filter[Any], event: Event) -> float:
    began = time.perf_counter()
    asked.decide(event, FilterContext(samples.NOW, "ops"))
    return time.perf_counter() - began


def _require(true: bool, otherwise: str) -> None:
    if not true:
        pytest.fail(otherwise, pytrace=False)
