"""Planning: its laws, and each of its rules by example."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from notifyd.core.ids import delivery_id
from notifyd.core.plan import Decided, Decision, Group, Plan, Recipient, Told, View, group_key, plan, release
from notifyd.model import Drop, EventType, Finding, Hold, Pass, Reason, Severity, Verdict
from tests.core.findings import announcement, finding, recovery
from tests.core.logs import LAW, NOON, at

MINUTES = timedelta(minutes=1)
OPS = Recipient("ops", "ops")
DEV = Recipient("dev", "dev", window=timedelta(0))
ALL = Recipient("all", "all", by=())
EVERYONE = (OPS, DEV, ALL)

Verdicts = Mapping[tuple[str, str], Verdict]


def planned(
    *findings: Finding,
    to: Sequence[Recipient] = (OPS,),
    verdicts: Verdicts | None = None,
    view: View | None = None,
    minute: float = 0,
) -> Plan:
    return plan(findings, to, verdicts or {}, view or View(), at(minute))


def decided(a_plan: Plan) -> list[str]:
    return [decision.decided.value for decision in a_plan.decisions]


# -- laws ----------------------------------------------------------------------------------------

CONDITIONS = ("s1", "s2")
KEYS = [
    (r.id, group_key(finding("x", t, connector_id=c).event, r.by)) for r in EVERYONE for t in EventType for c in "ab"
]

verdict_shapes: st.SearchStrategy[Verdict] = st.sampled_from(
    [Pass(), Pass(), Pass(bug="filter x failed"), Drop("not for me"), Hold(at(10), "later"), Hold(at(-10), "past")]
)
groups = st.builds(
    Group,
    until=st.sampled_from([None, at(-1), at(0), at(3)]),
    waiting=st.booleans(),
    gathering=st.sampled_from([None, "digest"]),
)
told = st.builds(Told, severity=st.sampled_from(Severity), open_delivery=st.sampled_from([None, "open"]))


@st.composite
def found(draw: st.DrawFn) -> list[Finding]:
    """What a batch may find: failures of streaks or of none, announcements and recoveries."""
    findings = []
    for number in range(draw(st.integers(0, 12))):
        condition = draw(st.sampled_from([None, *CONDITIONS]))
        match draw(st.sampled_from(["failure", "failure", "announcement", "recovery"])):
            case "announcement":
                one = announcement(f"{number}", condition)
            case "recovery" if condition:
                one = replace(recovery(condition), record_key=None)
                one = replace(one, event=replace(one.event, id=f"{number}"))
            case _:
                event_type = draw(st.sampled_from([EventType.SYNC_ERROR, EventType.CONNECTION_FAILURE]))
                severity = draw(st.sampled_from(Severity))
                one = finding(f"{number}", event_type, condition=condition, severity=severity)
        findings.append(replace(one, event=replace(one.event, connector_id=draw(st.sampled_from("ab")))))
    return findings


@st.composite
def views(draw: st.DrawFn) -> View:
    """An outbox at work. The ids of its deliveries say whose they are."""
    groups_of = draw(st.dictionaries(st.sampled_from(KEYS), groups, max_size=8))
    told_of = draw(st.dictionaries(st.tuples(st.sampled_from(CONDITIONS), st.sampled_from(EVERYONE)), told, max_size=6))
    return View(
        {key: replace(g, gathering=g.gathering and f"digest {key}") for key, g in groups_of.items()},
        {(c, r.id): replace(t, open_delivery=t.open_delivery and f"open {c} {r.id}") for (c, r), t in told_of.items()},
    )


@LAW
@given(found(), views(), st.data())
def test_every_event_has_one_decision_for_each_config(findings: list[Finding], view: View, data: st.DataObject) -> None:
    verdicts: dict[tuple[str, str], Verdict] = {
        (f.event.id, r.id): data.draw(verdict_shapes) for f in findings for r in EVERYONE
    }
    before = copy.deepcopy(view)
    drawn = planned(*findings, to=EVERYONE, verdicts=verdicts, view=view)
    pairs = [(decision.event_id, decision.config_id) for decision in drawn.decisions]
    assert sorted(pairs) == sorted((f.event.id, r.id) for f in findings for r in EVERYONE)
    assert view == before
    check_members(drawn, view)
    check_gathering(drawn, view)
    check_windows_of_zero(drawn)
    for decision in drawn.decisions:
        one = next(f for f in findings if f.event.id == decision.event_id)
        check_decision(decision, one, verdicts[decision.event_id, decision.config_id], view)


def check_members(a_plan: Plan, view: View) -> None:
    """Planned is to be in one delivery, and every delivery's members add up."""
    assert all((d.decided is Decided.PLANNED) is (d.delivery_id is not None) for d in a_plan.decisions)
    assert all((d.decided is Decided.HELD) is (d.until is not None) for d in a_plan.decisions)
    members = Counter(d.delivery_id for d in a_plan.decisions if d.delivery_id)
    assert members == {d.id: d.count for d in a_plan.deliveries.values()} | a_plan.joined
    assert not a_plan.deliveries.keys() & a_plan.joined.keys()
    known = {g.gathering for g in view.groups.values()} | {t.open_delivery for t in view.told.values()}
    assert a_plan.joined.keys() <= known
    assert a_plan.closing <= members.keys()
    for decision in a_plan.decisions:
        if decision.delivery_id in a_plan.deliveries:
            assert a_plan.deliveries[decision.delivery_id].config_id == decision.config_id
        elif decision.delivery_id:
            assert decision.config_id in decision.delivery_id


def check_gathering(a_plan: Plan, view: View) -> None:
    """At most one digest gathers for a group, and none opens beside the one that does."""
    opened = [(d.config_id, d.group_key) for d in a_plan.deliveries.values() if d.gathering]
    assert len(set(opened)) == len(opened)
    assert not set(opened) & {key for key, group in view.groups.items() if group.gathering}
    assert all(d.due_at >= NOON for d in a_plan.deliveries.values())


def check_windows_of_zero(a_plan: Plan) -> None:
    """Each event by itself; only an end may leave together with what it closes."""
    mine = [d for d in a_plan.deliveries.values() if d.config_id == DEV.id]
    assert not any(d.gathering for d in mine)
    assert all(d.count == 1 or d.id in a_plan.closing for d in mine)
    assert not any(config == DEV.id for config, _ in a_plan.windows)


def check_decision(decision: Decision, one: Finding, verdict: Verdict, view: View) -> None:
    """Filters are obeyed, except by what closes; and only what is no worse than was told is folded."""
    if one.event.closes:
        assert decision.decided in (Decided.PLANNED, Decided.DROPPED, Decided.HELD)
    elif isinstance(verdict, Drop):
        assert (decision.decided, decision.reason) == (Decided.DROPPED, "not for me")
    elif decision.decided is Decided.HELD:
        assert isinstance(verdict, Hold)
        assert decision.until == verdict.until > NOON
    elif isinstance(verdict, Hold) and verdict.until > NOON:
        assert decision.decided is Decided.FOLDED
    else:
        assert decision.decided in (Decided.PLANNED, Decided.FOLDED)
        assert (
            not isinstance(verdict, Pass) or not verdict.bug or "failed" in decision.reason or not decision.delivery_id
        )
    if decision.decided is Decided.FOLDED:
        assert one.condition is not None
        assert one.event.event_type is not EventType.CONSECUTIVE_FAILURES


audiences = st.lists(st.booleans(), min_size=1, max_size=4).map(
    lambda systems: [Recipient(f"c{n}", f"c{n}", system=system) for n, system in enumerate(systems)]
)


@LAW
@given(audiences, st.data())
def test_what_is_about_notifyd_is_told_by_others_and_by_somebody(to: list[Recipient], data: st.DataObject) -> None:
    """Every config has its answer; none is told of itself; those for the system are, or all, where there is none."""
    about = data.draw(st.sampled_from([None, *(recipient.id for recipient in to)]))
    broken = replace(finding("1", EventType.CHANNEL_FAILING), about=about)
    drawn = planned(broken, to=to)
    assert [decision.config_id for decision in drawn.decisions] == [recipient.id for recipient in to]
    told = {decision.config_id for decision in drawn.decisions if decision.decided is Decided.PLANNED}
    others = {recipient.id for recipient in to} - {about}
    system = {recipient.id for recipient in to if recipient.system} - {about}
    assert told == (system or others)
    assert all(decision.reason for decision in drawn.decisions)


# -- leading edge, then digest -------------------------------------------------------------------


def test_the_first_event_of_a_group_leaves_at_once() -> None:
    a_plan = planned(finding("1"))
    (delivery,) = a_plan.deliveries.values()
    assert (delivery.reason, delivery.due_at, delivery.gathering, delivery.count) == (Reason.FIRST, NOON, False, 1)
    assert delivery.id == delivery_id("ops", "1")
    assert a_plan.windows == {("ops", delivery.group_key): at(5)}


def test_what_follows_within_the_window_gathers_until_its_end() -> None:
    a_plan = planned(finding("1"), finding("2"), finding("3"))
    first, digest = a_plan.deliveries.values()
    assert (digest.reason, digest.due_at, digest.gathering, digest.count) == (Reason.DIGEST, at(5), True, 2)
    assert first.count == 1


def test_an_open_window_gathers_also_when_the_first_has_left() -> None:
    key = ("ops", group_key(finding("1").event, OPS.by))
    a_plan = planned(finding("2"), view=View({key: Group(until=at(3))}))
    (digest,) = a_plan.deliveries.values()
    assert (digest.gathering, digest.due_at) == (True, at(3))
    assert a_plan.windows == {}


def test_a_window_that_ended_empty_closes_the_group() -> None:
    key = ("ops", group_key(finding("1").event, OPS.by))
    (delivery,) = planned(finding("2"), view=View({key: Group(until=at(0))})).deliveries.values()
    assert delivery.reason is Reason.FIRST


def test_while_the_group_has_something_unsent_all_else_gathers() -> None:
    key = ("ops", group_key(finding("1").event, OPS.by))
    (delivery,) = planned(finding("2"), view=View({key: Group(until=at(-90), waiting=True)})).deliveries.values()
    assert (delivery.gathering, delivery.due_at) == (True, NOON)


def test_a_digest_that_gathers_takes_what_comes() -> None:
    key = ("ops", group_key(finding("1").event, OPS.by))
    a_plan = planned(finding("2"), finding("3"), view=View({key: Group(until=at(3), waiting=True, gathering="dlv")}))
    assert a_plan.deliveries == {}
    assert a_plan.joined == {"dlv": 2}


def test_groups_are_by_what_the_config_says() -> None:
    events = [finding("1"), finding("2", connector_id="qb"), finding("3", EventType.RATE_LIMIT)]
    assert len(planned(*events).deliveries) == 3
    assert [d.count for d in planned(*events, to=[ALL]).deliveries.values()] == [1, 2]


def test_a_group_of_nothing_and_a_group_of_the_text_none_are_two() -> None:
    assert group_key(finding("1", connector_id=None).event, OPS.by) != group_key(
        finding("1", connector_id="None").event, OPS.by
    )


def test_a_window_of_zero_sends_each_by_itself() -> None:
    a_plan = planned(finding("1"), finding("2"), to=[DEV])
    assert [(d.count, d.gathering) for d in a_plan.deliveries.values()] == [(1, False), (1, False)]


# -- filters -------------------------------------------------------------------------------------


def test_dropped_held_and_told_in_spite_of_a_bug() -> None:
    bug = "filter night failed, counted as Pass: KeyError: 'x'"
    verdicts: Verdicts = {("1", "ops"): Drop("too mild"), ("2", "ops"): Hold(at(60), "night"), ("3", "ops"): Pass(bug)}
    dropped, held, told = planned(finding("1"), finding("2"), finding("3"), verdicts=verdicts).decisions
    assert (dropped.decided, dropped.reason) == (Decided.DROPPED, "too mild")
    assert (held.decided, held.reason, held.until) == (Decided.HELD, "night", at(60))
    assert (told.decided, told.reason) == (Decided.PLANNED, bug)


def test_a_hold_that_is_over_already_holds_nothing() -> None:
    assert decided(planned(finding("1"), verdicts={("1", "ops"): Hold(NOON, "night")})) == ["planned"]


def test_events_about_notifyd_itself_go_to_system_configs_or_to_all() -> None:
    system = replace(ALL, system=True)
    broken = finding("1", EventType.SOURCE_UNREACHABLE)
    assert decided(planned(broken, to=[OPS, system])) == ["dropped", "planned"]
    assert "system = true" in planned(broken, to=[OPS, system]).decisions[0].reason
    assert decided(planned(broken, to=[OPS, ALL])) == ["planned", "planned"]
    assert decided(planned(finding("1"), to=[OPS, system])) == ["planned", "planned"]


def test_who_fails_is_never_told_of_itself() -> None:
    """The others are: those with `system = true`, or all where it is the only one that has it."""
    system, broken = replace(ALL, system=True), finding("1", EventType.CHANNEL_FAILING)
    for about, to, verdicts in (
        ("ops", [OPS, DEV], ["dropped", "planned"]),
        ("all", [OPS, system], ["planned", "dropped"]),
        ("ops", [OPS, DEV, system], ["dropped", "dropped", "planned"]),
        ("ops", [OPS], ["dropped"]),
    ):
        a_plan = planned(replace(broken, about=about), to=to)
        assert decided(a_plan) == verdicts
        reasons = {d.config_id: d.reason for d in a_plan.decisions}
        assert reasons[about] == "it is about this config itself"


def test_what_is_for_one_config_alone_is_told_to_no_other() -> None:
    late = replace(finding("1", EventType.CHANNEL_FAILING), alone="ops")
    for to in ([OPS, DEV], [OPS, replace(ALL, system=True)]):
        assert decided(planned(late, to=to)) == ["planned", "dropped"]


# -- folding -------------------------------------------------------------------------------------


def test_failures_of_a_streak_that_was_told_are_folded_for_that_config_alone() -> None:
    view = View(told={("streak", "ops"): Told(Severity.CRITICAL)})
    a_plan = planned(finding("4", condition="streak"), to=[OPS, DEV], view=view)
    assert decided(a_plan) == ["folded", "planned"]
    assert "streak" in a_plan.decisions[0].reason


def test_in_one_batch_too() -> None:
    verdicts: Verdicts = {("streak", "dev"): Drop("too late")}
    batch = [finding("3"), announcement(), finding("4", condition="streak")]
    a_plan = planned(*batch, to=[OPS, DEV], verdicts=verdicts)
    assert decided(a_plan) == ["planned", "planned", "planned", "dropped", "folded", "planned"]


def test_a_failure_of_no_streak_is_not_folded() -> None:
    view = View(told={("streak", "ops"): Told(Severity.CRITICAL)})
    assert decided(planned(finding("4"), view=view)) == ["planned"]


def test_what_is_more_severe_than_was_told_is_told() -> None:
    view = View(told={("streak", "ops"): Told(Severity.ERROR)})
    worse = finding("5", EventType.CONNECTION_FAILURE, condition="streak", severity=Severity.CRITICAL)
    assert decided(planned(finding("4", condition="streak"), worse, view=view)) == ["folded", "planned"]


def test_a_reminder_is_not_folded() -> None:
    view = View(told={("streak", "ops"): Told(Severity.CRITICAL)})
    assert decided(planned(announcement("reminder", condition="streak"), view=view)) == ["planned"]


def test_a_streak_whose_announcement_is_held_is_not_told_yet() -> None:
    verdicts: Verdicts = {("streak", "ops"): Hold(at(60), "night")}
    a_plan = planned(announcement(), finding("4", condition="streak"), verdicts=verdicts)
    assert decided(a_plan) == ["held", "planned"]


# -- closing events ------------------------------------------------------------------------------


def test_a_recovery_goes_to_exactly_those_that_were_told_whatever_their_filters_say() -> None:
    view = View(told={("streak", "ops"): Told(Severity.CRITICAL)})
    verdicts: Verdicts = {("end of streak", "ops"): Drop("too mild")}
    a_plan = planned(recovery(), to=[OPS, DEV], verdicts=verdicts, view=view)
    assert decided(a_plan) == ["planned", "dropped"]
    (delivery,) = a_plan.deliveries.values()
    assert (delivery.config_id, delivery.reason, a_plan.closing) == ("ops", Reason.RECOVERY, {delivery.id})


def test_a_recovery_leaves_together_with_what_it_closes_where_that_still_waits() -> None:
    view = View(told={("streak", "ops"): Told(Severity.CRITICAL, open_delivery="dlv")})
    a_plan = planned(recovery(), view=view)
    assert (a_plan.joined, a_plan.deliveries, a_plan.closing) == ({"dlv": 1}, {}, {"dlv"})
    in_one_batch = planned(announcement(), recovery())
    (delivery,) = in_one_batch.deliveries.values()
    assert (delivery.count, in_one_batch.closing) == (2, {delivery.id})


# -- what was held -------------------------------------------------------------------------------


def test_what_was_held_leaves_as_one_digest_for_each_group() -> None:
    held = [(finding(str(n)), OPS, "night") for n in range(3)]
    other = [(finding("9", connector_id="qb"), OPS, "night")]
    a_plan = release([*held, *other], View(), NOON)
    assert [(d.count, d.reason, d.gathering) for d in a_plan.deliveries.values()] == [
        (3, Reason.HELD, False),
        (1, Reason.HELD, False),
    ]
    assert {d.reason for d in a_plan.decisions} == {"was held: night"}


def test_also_where_the_window_is_zero() -> None:
    a_plan = release([(finding(str(n)), DEV, "night") for n in range(3)], View(), NOON)
    assert [d.count for d in a_plan.deliveries.values()] == [3]


def test_it_joins_a_digest_that_gathers_already() -> None:
    one = finding("1")
    view = View({("ops", group_key(one.event, OPS.by)): Group(until=at(3), gathering="dlv")})
    assert release([(one, OPS, "night")], view, NOON).joined == {"dlv": 1}


def test_the_end_of_what_is_held_is_held_as_long() -> None:
    verdicts: Verdicts = {("streak", "ops"): Hold(at(60), "night")}
    opening, end = planned(announcement(), recovery(), verdicts=verdicts).decisions
    assert (opening.until, end.until) == (at(60), at(60))
    assert decided(planned(recovery(), view=View(held={("streak", "ops"): at(60)}))) == ["held"]


def test_both_leave_together() -> None:
    a_plan = release([(announcement(), OPS, "night"), (recovery(), OPS, "")], View(), NOON)
    (delivery,) = a_plan.deliveries.values()
    assert (delivery.count, delivery.reason, a_plan.closing) == (2, Reason.HELD, {delivery.id})


def test_runs_that_are_found_stuck_together_are_one_digest() -> None:
    runs = [finding(f"{n}", EventType.STUCK_RUN, condition=f"{n}") for n in range(50)]
    others = [finding("else", EventType.STUCK_RUN, condition="else", connector_id="quickbooks"), finding("failure")]
    deliveries = planned(*runs, *others, to=(OPS,)).deliveries.values()
    assert [(d.count, d.reason, d.gathering) for d in deliveries] == [
        (50, Reason.DIGEST, False),
        (1, Reason.FIRST, False),
        (1, Reason.FIRST, False),
    ]
    assert len(planned(*runs, to=(DEV,)).deliveries) == 50


def test_a_run_that_is_found_stuck_later_waits_for_the_window() -> None:
    view = View(groups={("ops", group_key(finding("x", EventType.STUCK_RUN).event, OPS.by)): Group(until=at(5))})
    (delivery,) = planned(finding("late", EventType.STUCK_RUN, condition="late"), view=view).deliveries.values()
    assert (delivery.gathering, delivery.due_at) == (True, at(5))
