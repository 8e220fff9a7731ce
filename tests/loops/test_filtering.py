"""Asking the filters: what they may say, and what becomes of it where they have a bug."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest
from structlog.testing import capture_logs

from notifyd.api import Drop, Event, Filter, FilterContext, Hold, Options, Pass, Verdict
from notifyd.core.plan import Recipient
from notifyd.errors import NotifydError
from notifyd.filtering import Gate, ask, gate_of
from notifyd.model import Closes
from notifyd.plugin_host import Registered, Registry
from notifyd.settings.model import NotificationSettings
from tests.loops.conftest import Said
from tests.sinks.context import NOW, an_event

NIGHT = Hold(NOW + timedelta(hours=8), "night")


class Says(Filter[Any]):
    """Answers what its options are: a verdict, anything else, or a function of the event."""

    name = "says"
    Options = Any

    def decide(self, event: Event, ctx: FilterContext) -> Verdict:
        answer: Verdict = self.options(event, ctx) if callable(self.options) else self.options
        return answer


def gate(config: str = "ops", **answers: Any) -> Gate:
    """A config whose filters answer so, in that order."""
    return Gate(Recipient(config, config), {name: Says(answer) for name, answer in answers.items()})


def verdict(**answers: Any) -> Verdict:
    return ask([gate(**answers)], [an_event(id="1")], NOW)["1", "ops"]


def raising(error: BaseException) -> Callable[[Event, FilterContext], Verdict]:
    def decide(event: Event, ctx: FilterContext) -> Verdict:
        raise error

    return decide


# -- what filters say ----------------------------------------------------------------------------


def test_every_filter_is_asked_about_every_event_for_every_config() -> None:
    asked = []

    def decide(event: Event, ctx: FilterContext) -> Verdict:
        asked.append((event.id, ctx.config, ctx.now))
        return Pass()

    verdicts = ask([gate("ops", a=decide, b=decide), gate("dev", a=decide)], [an_event(id="1"), an_event(id="2")], NOW)
    assert verdicts == {(event, config): Pass() for event in ("1", "2") for config in ("ops", "dev")}
    assert sorted(asked) == sorted((event, config, NOW) for event in ("1", "2") for config in ("ops", "ops", "dev"))


def test_drop_beats_hold_wherever_it_stands() -> None:
    drop = Drop("too mild")
    assert verdict(a=NIGHT, b=drop) == verdict(a=drop, b=NIGHT) == drop


def test_the_latest_hold_wins_wherever_it_stands() -> None:
    sooner = Hold(NOW + timedelta(hours=1), "lunch")
    assert verdict(a=sooner, b=NIGHT) == verdict(a=NIGHT, b=sooner) == NIGHT


def test_the_latest_hold_is_the_latest_in_any_time_zone() -> None:
    at_nine = Hold(datetime(2026, 11, 25, 9, tzinfo=timezone(timedelta(hours=9))), "midnight in UTC")
    at_one = Hold(datetime(2026, 11, 25, 1, tzinfo=UTC), "an hour later")
    assert verdict(a=at_nine, b=at_one) == verdict(a=at_one, b=at_nine) == at_one


def test_a_config_without_filters_is_not_asked() -> None:
    assert ask([gate()], [an_event()], NOW) == {}
    assert ask([], [an_event()], NOW) == {}
    assert ask([gate(a=Pass())], [], NOW) == {}


def test_nor_is_any_about_an_event_that_closes() -> None:
    closing = replace(an_event(), closes=Closes("evt_1", "consecutive_failures"))
    assert ask([gate(a=Drop("too mild"))], [closing], NOW) == {}


# -- bugs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError("tenant"), SystemExit(3), KeyboardInterrupt(), RecursionError("deep")])
def test_a_filter_that_raises_counts_as_pass(error: BaseException) -> None:
    answer = verdict(broken=raising(error))
    assert isinstance(answer, Pass)
    assert answer.bug is not None
    assert answer.bug.startswith(f"filter broken failed, counted as Pass: {type(error).__name__}")


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


def test_also_where_the_error_has_no_text_of_its_own() -> None:
    assert verdict(broken=raising(Unspeakable())) == Pass(bug="filter broken failed, counted as Pass: Unspeakable")


class Nowhere(tzinfo):
    """A time zone that does not say how far from UTC it is."""

    def utcoffset(self, moment: datetime | None) -> None:
        return None

    tzname = dst = utcoffset


NAIVE = NOW.replace(tzinfo=None)
BEYOND = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        True,
        "drop",
        Drop,
        Drop(None),  # type: ignore[arg-type]
        Drop(b"bytes"),  # type: ignore[arg-type]
        Pass(bug=7),  # type: ignore[arg-type]
        Hold(NAIVE, "night"),
        Hold(NAIVE.replace(tzinfo=Nowhere()), "night"),
        Hold(BEYOND, "for ever"),
        Hold("tomorrow"),  # type: ignore[arg-type]
        Hold(NOW, None),  # type: ignore[arg-type]
        Unspeakable(),
        "x" * 10_000_000,
    ],
    ids=lambda nonsense: type(nonsense).__name__,
)
def test_an_answer_that_makes_no_sense_counts_as_pass(nonsense: Any) -> None:
    answer = verdict(broken=lambda event, ctx: nonsense)
    assert isinstance(answer, Pass)
    assert answer.bug is not None
    assert answer.bug.startswith("filter broken answered ")
    assert answer.bug.endswith(", counted as Pass")
    assert len(answer.bug) < 200


def test_the_bug_of_one_filter_does_not_silence_another() -> None:
    broken = raising(KeyError("tenant"))
    assert verdict(a=broken, b=Drop("too mild")) == Drop("too mild")
    assert verdict(a=broken, b=NIGHT) == NIGHT


def test_every_bug_is_told() -> None:
    answer = verdict(a=raising(KeyError("tenant")), b="nonsense", c=Pass())
    assert isinstance(answer, Pass)
    assert answer.bug is not None
    assert "filter a failed" in answer.bug
    assert "filter b answered 'nonsense'" in answer.bug


def test_a_bug_text_is_not_a_book() -> None:
    answer = verdict(a=raising(ValueError("x" * 1_000_000)))
    assert isinstance(answer, Pass)
    assert answer.bug is not None
    assert len(answer.bug) <= 1000


# -- a filter that never answers -----------------------------------------------------------------


def test_a_filter_that_is_too_slow_counts_as_pass_within_the_patience() -> None:
    """What was decided before it is kept; what comes after it passes too."""
    release = threading.Event()

    def decide(event: Event, ctx: FilterContext) -> Verdict:
        if event.id == "2":
            release.wait(60)
        return Drop("too mild")

    events = [an_event(id=str(number)) for number in (1, 2, 3)]
    began = time.monotonic()
    verdicts = ask([gate(sleepy=decide)], events, NOW, patience=0.2)
    assert time.monotonic() - began < 5
    late = Pass(bug="filter sleepy took longer than 0.2 s: counted as Pass")
    assert verdicts == {("1", "ops"): Drop("too mild"), ("2", "ops"): late, ("3", "ops"): late}
    release.set()


def test_one_that_takes_long_is_named_once_and_asked_on(said: Said) -> None:
    def decide(event: Event, ctx: FilterContext) -> Verdict:
        time.sleep(0.12)
        return NIGHT

    one = gate(slow=decide, quick=Pass())
    events = [an_event(id="1"), an_event(id="2")]
    for _ in range(2):
        assert ask([one], events, NOW, long=0.1) == {("1", "ops"): NIGHT, ("2", "ops"): NIGHT}
    (line,) = said("a filter is slow")
    assert (line["config"], line["filter"], line["level"]) == ("ops", "slow", "warning")


def test_the_answer_does_not_change_when_the_slow_filter_ends_after_all() -> None:
    release, ended = threading.Event(), threading.Event()

    def decide(event: Event, ctx: FilterContext) -> Verdict:
        release.wait(60)
        ended.set()
        return Drop("too late")

    verdicts = ask([gate(sleepy=decide)], [an_event(id="1"), an_event(id="2")], NOW, patience=0.05)
    release.set()
    ended.wait(60)
    assert all(isinstance(each, Pass) for each in verdicts.values())


def test_the_slow_one_is_skipped_and_the_others_are_asked_on() -> None:
    release, asked = threading.Event(), []

    def decide(event: Event, ctx: FilterContext) -> Verdict:
        asked.append(event.id)
        release.wait(60)
        return Drop("too late")

    slow, other = gate(sleepy=decide, quick=NIGHT), gate("other", quick=Drop("mild"))
    events = [an_event(id=str(number)) for number in range(3)]
    with capture_logs() as lines:
        verdicts = ask([slow, other], events, NOW, patience=0.3)
    assert asked == ["0"]
    assert verdicts == {
        (str(n), who): what for n in range(3) for who, what in (("ops", NIGHT), ("other", Drop("mild")))
    }
    (line,) = lines
    assert (line["config"], line["filter"], line["log_level"]) == ("ops", "sleepy", "warning")
    assert ask([slow], [an_event(id="9")], NOW, patience=5) == {("9", "ops"): NIGHT}
    assert asked == ["0"], "it is not asked again for a while"
    release.set()


def test_one_that_is_a_little_slow_is_blamed_and_not_the_one_at_work() -> None:
    def decide(event: Event, ctx: FilterContext) -> Verdict:
        time.sleep(0.02)
        return Pass()

    slow = gate(sleepy=decide, quick=Pass())
    verdicts = ask([slow], [an_event(id=str(number)) for number in range(50)], NOW, patience=0.2)
    assert set(slow.slow) == {"sleepy"}
    assert verdicts["49", "ops"] == Pass(bug="filter sleepy took longer than 0.2 s: counted as Pass")
    assert verdicts["0", "ops"] == Pass()


def test_many_that_never_answer_do_not_hold_a_batch_for_long() -> None:
    release = threading.Event()

    def decide(event: Event, ctx: FilterContext) -> Verdict:
        release.wait(60)
        return Drop("too late")

    gates = [gate(f"g{number}", sleepy=decide) for number in range(6)]
    began = time.monotonic()
    verdicts = ask(gates, [an_event(id="1")], NOW, patience=0.05)
    assert time.monotonic() - began < 2
    assert len(verdicts) == 6
    assert all(isinstance(each, Pass) and each.bug for each in verdicts.values())
    release.set()


# -- making them ---------------------------------------------------------------------------------


def registry(cls: type[Filter[Any]]) -> Registry:
    return Registry(channels={}, filters={"says": Registered("says", cls, "says.py", "")})


def settings(**filters: Any) -> NotificationSettings:
    return NotificationSettings("ops", "webhook", Options(), filters=filters, where="notifyd.toml:7")


def test_a_config_s_filters_are_made_from_its_options() -> None:
    made = gate_of(settings(says=NIGHT), registry(Says))
    assert made.recipient.name == "ops"
    assert made.filters["says"].options is NIGHT


@pytest.mark.parametrize("kind", [LookupError, BaseException])
def test_a_filter_that_cannot_be_made_is_one_line(kind: type[BaseException]) -> None:
    class Broken(Says):
        def __init__(self, options: Any) -> None:
            raise kind("no such table")

    with pytest.raises(NotifydError) as refusal:
        gate_of(settings(says=1), registry(Broken))
    expected = f"notifyd.toml:7: config ops: the filter says has a bug: {kind.__name__}: no such table"
    assert str(refusal.value) == expected
