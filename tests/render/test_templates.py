"""A config's own words: what a template can say, what it may not do, and what it may not cost."""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifyd.api import EventType, Notification, Reason
from notifyd.model import Closes
from notifyd.render import Template, TemplateError, check_template, render
from notifyd.render.language import DEEPEST, FIELDS, LONGEST
from notifyd.render.samples import SAMPLES
from notifyd.render.sandbox import Sandbox
from notifyd.render.variables import NAMES
from tests.examples import examples
from tests.render.pages import Page, assert_printable, assert_safe, notifications, words_of
from tests.sinks.context import NOW, a_notification, an_event

PUBLIC = "https://notifyd.example.com"
LINK = f"{PUBLIC}/deliveries/0192f0c1e5b27c3d"


def body(source: str, notification: Notification | None = None) -> str:
    """What comes out of a body."""
    return render(notification or a_notification(), Template(body=source), PUBLIC).text


def failure(source: str, notification: Notification | None = None) -> str:
    """Why a body fails."""
    with pytest.raises(TemplateError) as caught:
        body(source, notification)
    assert str(caught.value).startswith("body: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 310
    return str(caught.value).removeprefix("body: ")


def a_digest(count: int = 500) -> Notification:
    events = [an_event(title=f"Event {n}", timestamp=NOW + timedelta(minutes=n)) for n in range(3)]
    return a_notification(an_event(title="500 events"), *events, count=count, last_at=NOW + timedelta(minutes=5))


# What a template can say


def test_a_title_stands_wherever_the_title_is_shown() -> None:
    rendered = render(a_notification(), Template(title="[{{ event.severity | upper }}] {{ event.connector_id }}"))
    assert rendered.title == "[ERROR] quickbooks"
    assert rendered.body is None
    for words in words_of(rendered):
        assert words.startswith("ERROR [ERROR] quickbooks 500: QuickBooks said that the order is not complete")


def test_a_body_stands_in_the_place_of_everything_else() -> None:
    source = "{{ event.title }}\n\n{{ event.message }}\n{{ link }}"
    rendered = render(a_notification(an_event(message="<b>500</b> & more")), Template(body=source), PUBLIC)
    assert rendered.text == f"Sync Error: quickbooks - orders\n\n<b>500</b> & more\n{LINK}"
    assert rendered.body == rendered.text
    assert rendered.title == "Sync Error: quickbooks - orders"
    assert f'orders<br><br>&lt;b&gt;500&lt;/b&gt; &amp; more<br><a href="{LINK}"' in rendered.html
    assert Page(rendered.html).words == rendered.text.split()


def test_a_title_and_a_body_go_together() -> None:
    rendered = render(a_notification(), Template("own title", "own body"))
    assert (rendered.title, rendered.text, rendered.body) == ("own title", "own body", "own body")
    assert "<title>own title</title>" in rendered.html
    assert Page(rendered.html).words == ["own", "body"]


@pytest.mark.parametrize("template", [None, Template()])
def test_without_a_template_the_default_goes_out(template: Template | None) -> None:
    assert render(a_notification(), template) == render(a_notification())


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ event.id }} {{ event.event_type }} {{ event.severity }}", "5f0c7a1d2b3e4f60 sync_error error"),
        ("{{ event.entity_type }} {{ event.error_type }} {{ event.tenant_id }}", "orders sync_failure acme"),
        ("{{ event.schedule_id }} {{ event.run_id }} {{ event.source }}", "nightly run-4711 shop"),
        ("{{ event.details.entity_id }} {{ event.details['connector'] }}", "WC-10492 quickbooks"),
        ("{% for action in event.suggested_actions %}{{ loop.index }}. {{ action }}\n{% endfor %}",
         "1. Check the credentials\n2. Retry the failed records"),
        ("{% for key, value in event.details | dictsort %}{{ key }}={{ value }} {% endfor %}",
         "connector=quickbooks entity=orders entity_id=WC-10492 sync_id=run-4711"),
        ("{% for key, value in event.details.items() %}{{ key }} {% endfor %}", "sync_id connector entity entity_id"),
        ("{{ notification.id }} {{ notification.config }}", "0192f0c1e5b27c3d ops-mail"),
        ("{{ notification.reason }} {{ notification.count }}", "first 1"),
        ("{{ notification.first_at }}", "2026-11-24 21:00:00 UTC"),
        ("{{ event.timestamp | time }}", "2026-11-24 21:00"),
        ("{{ event.timestamp | time('%a %H:%M', 'America/Edmonton') }}", "Tue 14:00"),
        ("{{ link }}", LINK),
        ("{{ default_title }}", "Sync Error: quickbooks - orders"),
        ("a{{ event.closes }}b", "ab"),
        ("{{ event.details.nothing | default('none') }}", "none"),
        ("{% if event.severity in ['error', 'critical'] %}loud{% else %}quiet{% endif %}", "loud"),
        ("{{ {'quickbooks': 'QB'}[event.connector_id] }}", "QB"),
        ("{% set name = event.connector_id | capitalize %}{{ name ~ '/' ~ event.run_id ~ 1 }}", "Quickbooks/run-47111"),
        ("{{ event.message.split(':') | first }}", "500"),
        ("{{ event.message | truncate(14) }}", "500:..."),
        ("{{ event.title | replace(':', ' –') | upper }}", "SYNC ERROR – QUICKBOOKS - ORDERS"),
        ("{{ event.title | urlencode }}", "Sync%20Error%3A%20quickbooks%20-%20orders"),
        ("{{ '-' * 3 + '>' }} {{ 7 * 6 - 1 }} {{ 7 % 4 }} {{ 7 // 2 }}", "---> 41 3 3"),
        ("{% for n in range(3) %}{{ n }}{% endfor %}", "012"),
    ],
)  # fmt: skip
def test_what_a_template_sees(source: str, text: str) -> None:
    assert body(source) == text


def test_what_a_template_sees_of_a_digest() -> None:
    source = """\
{{ notification.count }} {{ notification.is_digest }} {{ notification.last_at - notification.first_at }}
{% for event in notification.events %}
{{ event.title }} at {{ event.timestamp | time("%H:%M") }}
{% endfor %}
… and {{ notification.count - notification.events | length }} more: {{ notification.events | join(", ", "title") }}
"""
    assert body(source, a_digest()).split("\n") == [
        "500 True 0:05:00",
        *("Event 0 at 21:00", "Event 1 at 21:01", "Event 2 at 21:02"),
        "… and 497 more: Event 0, Event 1, Event 2",
    ]


def test_the_default_text_can_be_a_part_of_it() -> None:
    default = render(a_notification(), public_url=PUBLIC).text.strip()
    assert body("Team, look:\n{{ default_text }}") == f"Team, look:\n{default}"


def test_what_comes_out_is_cut_and_clean() -> None:
    wild = a_notification(an_event(message="a\r\nBcc: b\x1b[31m\u202e\ud800"))
    rendered = render(wild, Template("{{ event.message }}" * 30, "{{ event.message }}\n{{ 'ab ' * 5000 }}"))
    assert len(rendered.title) == 200
    assert rendered.title.startswith("a Bcc: b\ufffd[31m\ufffd\ufffda Bcc: b")
    assert rendered.text.startswith("a\nBcc: b\ufffd[31m\ufffd\ufffd\nab ab ")
    assert len(rendered.text) == 10_000
    assert rendered.text.endswith("ab…")


@given(notifications())
@settings(max_examples=examples(100), deadline=None)
def test_whatever_a_log_wrote_stays_text(notification: Notification) -> None:
    source = (
        "x{{ event.title }} {{ link }} {% for e in notification.events %}{{ e.message }}{{ e.tenant_id }}{% endfor %}"
    )
    rendered = render(notification, Template(body=source), PUBLIC)
    assert Page(rendered.html).words == rendered.text.split()
    assert_safe(rendered.html, rendered.link)
    assert_printable(rendered)


def test_only_our_own_link_can_be_followed() -> None:
    forged = a_notification(an_event(message="see https://thief.example.com/"))
    rendered = render(forged, Template(body="{{ event.message }} {{ link }} {{ link }}"), PUBLIC)
    assert Page(rendered.html).links == [LINK, LINK]
    assert render(forged, Template(body="{{ event.message }}")).html.count("<a ") == 0


def test_an_empty_link_prints_as_nothing() -> None:
    assert render(a_notification(), Template(body="a{{ link }}b")).text == "ab"


# What it may not say

NO_EVNT = 'there is no variable "evnt"; there are default_text, default_title, event, link, notification'


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ evnt.title }}", NO_EVNT),
        ("a\n{{ event.titel }}", 'line 2: event has no field "titel"; it has id, event_type, severity, title'),
        ("{{ notification.number }}", 'line 1: notification has no field "number"; it has id, config, reason'),
        ("{{ event['titel'] }}", 'line 1: there is no "titel" here; write {{ … | default("") }}'),
        ("\n\n{{ event.details.order }}", 'line 3: there is no "order" here'),
        ("{{ event.details.order + 1 }}", 'line 1: there is no "order" here'),
        ("{{ event.details.order.number }}", 'line 1: there is no "order" here'),
        ("a\n{% if %}", "line 2: it is not a template: Expected an expression"),
        ("{{ event.title", "line 1: it is not a template: unexpected end of template"),
        ("{{ event.title | shout }}", "line 1: it is not a template: No filter named 'shout'."),
        ("{{ event.details }}", "line 1: a list or table cannot be printed"),
        ("{{ event.suggested_actions }}", 'cannot be printed; write {{ … | join(", ") }}, or a loop'),
        ("{{ event.title.upper }}", "line 1: a list or table cannot be printed"),
        ("{{ 'a' + 1 }}", "line 1: + does not work on str and int"),
        ("{{ 1 / 0 }}", "line 1: ZeroDivisionError: division by zero"),
        ("{{ event.timestamp | time('%H', 'Mars/Olympus') }}", 'line 1: "Mars/Olympus" is not a time zone'),
        ("{{ event.timestamp | time('%H' * 100) }}", "line 1: the form of a time may have at most 100 characters"),
        ("{{ link() }}", "line 1: this cannot be called in a notification"),
        ("{{ 9[1:] }}", "line 1: what is written out cannot be sliced"),
        ("", "nothing comes out of it"),
        ("{% if event.event_type == 'test' %}a test{% endif %}\n", "nothing comes out of it"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(source: str, reason: str) -> None:
    assert reason in failure(source)


def test_a_title_that_fails_is_named() -> None:
    with pytest.raises(TemplateError, match=r'^title: there is no variable "nope"'):
        render(a_notification(), Template("{{ nope }}", "fine"))


def test_what_an_error_quotes_of_a_log_is_clean_and_short() -> None:
    wild = a_notification(an_event(message="x\r\n\x1b[31m" * 900))
    assert len(failure("{{ event.message | time }}", wild)) <= 300
    assert "\x1b" not in failure("{{ event.details[event.message] }}", wild)


# What it may not do

OUTSIDE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ range.__globals__ }}",
    "{{ event.details.items.__self__ }}",
    "{{ event.details.nothing.__init__.__globals__ }}",
    "{{ '{0.__class__}'.format(event) }}",
    "{{ '%s' % event.title }}",
    "{% for a in range(2) %}{{ loop._iterable }}{% endfor %}",
    "{% for a in range(2) %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{{ self }}",
    "{{ self.title() }}",
    "{{ self._TemplateReference__context }}",
    "{{ lipsum(n=1000000) }}",
    "{{ cycler('a') }}",
    "{{ dict(a=1) }}",
    "{% set ns = namespace(a=1) %}",
    "{{ event.update({'title': 'x'}) }}",
    "{{ event.details.pop('entity') }}",
    "{{ event.suggested_actions.append('x') }}",
    "{{ notification.events.clear() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import path %}",
    "{% extends 'page.html' %}",
    "{% block a %}{% endblock %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{% call event() %}{% endcall %}",
    "{% filter upper %}a{% endfilter %}",
    "{% set a %}{% for b in range(2) %}b{% endfor %}{% endset %}",
    "{% with a = 1 %}{{ a }}{% endwith %}",
    "{% autoescape true %}{{ event.title }}{% endautoescape %}",
    "{% for a in range(5) recursive %}{{ loop(range(5)) }}{% endfor %}",
    "{{ event.timestamp | time('%Y', '../../etc/passwd') }}",
]


def test_what_runs_without_end_is_refused_by_its_form() -> None:
    recursive = "{% for a in range(5) recursive %}{{ loop(range(5)) }}{% endfor %}"
    assert failure(recursive) == "line 1: {% for … recursive %} cannot be used in a notification"


@pytest.mark.parametrize("source", OUTSIDE)
def test_nothing_leads_out_of_the_sandbox(source: str) -> None:
    assert failure(source)
    assert check_template(source)


def test_a_template_changes_nothing_that_another_sees() -> None:
    notification = a_notification()
    before = notification.as_json()
    failure("{{ event.details.update({'entity_id': 'forged'}) }}", notification)
    assert body("{{ event.details.entity_id }}", notification) == "WC-10492"
    assert notification.as_json() == before


# What it may not cost

MANY = "{% for a in range(1000) %}{% for b in range(1000) %}", "{% endfor %}{% endfor %}"
GROWS, LASTS = "it makes more than 100000 characters on its way", "it takes longer than 0.25 s"
DEEP, DEEP_BLOCKS = "it is nested too deeply", "more than 10 loops and ifs stand within each other"
UNKNOWN, UNCALLED = "No filter named", "() cannot be called in a notification"
FLAT = "a list or table may hold only texts and numbers that are written out"
LARGE = [
    ("the loops", "{% for c in range(1000) %}{% endfor %}".join(MANY), GROWS),
    ("what a loop writes", "{% for a in range(1000) %}" + "x" * 9000 + "{% endfor %}", GROWS),
    ("what a loop compares", ("{% if 'aab' in event.message %}x{% endif %}" * 180).join(MANY), LASTS),
    ("what a loop cuts", ("{% set a = event.message[1:] %}" * 250).join(MANY), LASTS),
    ("what a loop tests", ("{% if event.message is eq link %}{% endif %}" * 150).join(MANY), LASTS),
    ("what a loop sorts", ("{% set a = event.details | dictsort %}" * 200).join(MANY), GROWS),
    ("what a loop splits", ("{% set a = event.message.split('a') %}" * 200).join(MANY), GROWS),
    ("loops over texts", "{% for a in event.message %}{% for b in event.message %}{% endfor %}{% endfor %}", GROWS),
    ("doubling with ~", "{% set a = event.message %}" + "{% set a = a ~ a %}" * 400, GROWS),
    ("doubling with +", "{% set a = event.message %}" + "{% set a = a + a %}" * 400, GROWS),
    ("many parts of ~", "{{ " + " ~ ".join(["event.message"] * 500) + " }}", GROWS),
    ("repeating", "{{ 'x' * 999999999999 }}", GROWS),
    ("repeating a list", "{{ (['x'] * 999999999999) | join }}", "* does not work on list and int"),
    ("powers", "{{ 9 ** 9 ** 9 }}", "** cannot be used in a notification"),
    ("products", "{{ " + " * ".join(["999999999999"] * 20) + " }}", "a number is too large"),
    ("a long number", "{{ " + "9" * 9000 + " }}", "Exceeds the limit"),
    ("a number from text", "{{ event.message | replace('a', '9') | int * 9 }}", "a number is too large"),
    ("a long range", "{% for a in range(1000000000) %}{% endfor %}", "a range may hold at most 1000 numbers"),
    ("a sorted range", "{{ range(1000000000) | sort | first }}", "a range may hold at most 1000 numbers"),
    ("growing by replacing", "{{ event.message | replace('', event.message) }}", GROWS),
    ("growing by joining", "{{ event.message | join(event.message) }}", GROWS),
    ("a wide format", "{{ '%1000000000d' % 5 }}", "% does not work on str and int"),
    ("another wide format", "{{ '{:1000000000}'.format(5) }}", UNCALLED),
    ("a wide time", "{{ event.timestamp | time('%1000000000Y') }}", ""),
    ("a wide line", "{{ 'x' | center(1000000000) }}", UNKNOWN),
    ("a padded text", "{{ 'x'.ljust(1000000000) }}", UNCALLED),
    ("a number with zeros", "{{ 'x'.zfill(1000000000) }}", UNCALLED),
    ("wide tabs", "{{ '\\t'.expandtabs(1000000000) }}", UNCALLED),
    ("lists in lists", "{% set x = ['a'] %}" + "{% set x = [x, x] %}" * 400 + "{% if x == x %}{% endif %}", FLAT),
    ("tuples in tuples", "{% set x = ('a',) %}" + "{% set x = (x, x) %}" * 400 + "{{ x | join }}", FLAT),
    ("tables in tables", "{% set x = {} %}" + "{% set x = {1: x, 2: x} %}" * 300 + "{{ x | join }}", FLAT),
    ("deep brackets", "{{ " + "(" * 4000 + "1" + ")" * 4000 + " }}", DEEP),
    ("deep signs", "{{ " + "-" * 8000 + "1 }}", DEEP),
    ("deep sums", "{{ 1" + "+1" * 4000 + " }}", DEEP),
    ("deep attributes", "{{ event.details" + ".a" * 4000 + " }}", DEEP),
    ("deep filters", "{{ event.message" + "|upper" * 1500 + " }}", DEEP),
    ("deep choices", "{{ " + "1 if 1 else " * 800 + "1 }}", DEEP),
    ("deep loops", "{% for a in range(2) %}" * 99 + "{% endfor %}" * 99, DEEP_BLOCKS),
    ("deep ifs", "{% if 1 %}" * 99 + "{% endif %}" * 99, DEEP_BLOCKS),
    ("its own length", "x" * (LONGEST + 1), "it is longer than 10000 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "why"), [each[1:] for each in LARGE], ids=[what for what, _, _ in LARGE])
def test_no_template_takes_long_or_grows_large(source: str, why: str) -> None:
    wild = a_notification(an_event(message="a" * 4000, details={f"key {n}": "v" * 1000 for n in range(50)}))
    started = time.thread_time()
    assert why in failure(source, wild)
    assert time.thread_time() - started < 2.0


ATOMS = (
    *("a", "b", "event.message", "event.details", "notification.events", "link"),
    *("'x'", "9", "-1", "range(99)", "loop", "self"),
)
OPERATIONS = (
    *("{0} ~ {1}", "{0} + {1}", "{0} * {1}", "{0} % {1}", "{0} - {1}", "{0} in {1}", "{0} == {1}", "not {0}"),
    *("{0}[{1}]", "{0}[{1}:]", "{0}({1})", "{0}.items()", "{0}.split({1})", "{0}.format({1})", "{0}.__class__"),
    *("{0} | join({1})", "{0} | replace({1}, {0})", "{0} | default({1})", "{0} | truncate({1})", "{0} | time({1})"),
    *("{0} | sort", "{0} | unique", "{0} | dictsort", "{0} | reverse", "{0} | int", "{0} | first", "{0} | urlencode"),
    "{0} if {1} else {0}",
)
BLOCKS = (
    *("{{{{ {0} }}}}{1}", "{{% set a = {0} %}}{1}"),
    *("{{% for b in {0} %}}{1}{{% endfor %}}", "{{% if {0} %}}{1}{{% endif %}}"),
)


def operation(form: str, one: str, other: str) -> str:
    return f"({form.format(one, other)})"


def block(form: str, expression: str, inside: str, after: str) -> str:
    return form.format(expression, inside) + after


EXPRESSIONS = st.recursive(
    st.sampled_from(ATOMS), lambda inner: st.builds(operation, st.sampled_from(OPERATIONS), inner, inner), max_leaves=8
)
TEMPLATES = st.recursive(
    st.just("text"),
    lambda inner: st.builds(block, st.sampled_from(BLOCKS), EXPRESSIONS, inner, inner),
    max_leaves=8,
)


@given(TEMPLATES)
@settings(max_examples=examples(300), deadline=None)
def test_whatever_is_written_ends_in_text_or_in_a_reason(source: str) -> None:
    started = time.thread_time()
    with suppress(TemplateError):
        assert body("{% set a = event.message %}{% set b = a %}" + source)
    assert time.thread_time() - started < 2.0


@pytest.mark.parametrize("grow", ["replace('', event.message)", "join(event.message)"])
def test_what_is_too_large_is_not_even_made(grow: str) -> None:
    wild = a_notification(an_event(message="a" * 4000))
    tracemalloc.start()
    try:
        assert GROWS in failure(f"{{{{ event.message | {grow} }}}}", wild)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "source",
    [
        "{% if 0 %}" + "{% elif 0 %}" * 300 + "{% else %}x{% endif %}",
        "{% if 1 %}" * DEEPEST + "x" + "{% endif %}" * DEEPEST,
        "x" * LONGEST,
        "{% for a in range(1000) %}{{ a }}, {% endfor %}",
    ],
)
def test_what_is_merely_long_is_allowed(source: str) -> None:
    assert body(source)


def test_a_budget_is_for_one_rendering() -> None:
    large = "{{ 'x' * 40000 }}"
    assert [len(body(large)) for _ in range(5)] == [10_000] * 5


# Tried out before it is needed


def test_every_event_type_has_a_sample_and_so_has_a_digest() -> None:
    assert SAMPLES.keys() == {*EventType, "a digest"}
    assert all(sample.event.event_type == kind for kind, sample in SAMPLES.items() if kind in [*EventType])
    assert SAMPLES["a digest"].is_digest
    assert SAMPLES["a digest"].count > len(SAMPLES["a digest"].events)
    assert SAMPLES["recovered"].event.closes == Closes("sample-consecutive_failures", "consecutive_failures")
    assert {SAMPLES[kind].reason for kind in ("recovered", "test")} == {Reason.RECOVERY, Reason.TEST}


def test_a_right_template_has_no_problem() -> None:
    source = "{{ event.title }} {{ event.connector_id }} {{ notification.count }} {{ event.details.since | default }}"
    assert check_template(source) is None


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ evnt }}", NO_EVNT),
        ("{{", "line 1: it is not a template: unexpected 'end of template'"),
        (
            "{{ event.details.failure_count }}",
            'line 1: there is no "failure_count" here; write {{ … | default("") }} where it may be missing (tried ',
        ),
        ("{% if event.event_type != 'test' %}x{% endif %}", "nothing comes out of it (tried with a sample of test)"),
        (
            "{% if notification.is_digest %}{{ 1 / 0 }}{% endif %}x",
            "line 1: ZeroDivisionError: division by zero (tried with a sample of a digest)",
        ),
        ("{% if event.run_id == 'x' %}{{ event.titel }}{% endif %}x", 'line 1: event has no field "titel"; it has'),
    ],
)
def test_a_wrong_template_is_found_before_it_is_needed(source: str, problem: str) -> None:
    assert (check_template(source) or "").startswith(problem)


def test_what_is_documented_for_admins_is_what_there_is() -> None:
    """config/README.md lists every field and filter that a template may use."""
    guide = (Path(__file__).parents[2] / "config" / "README.md").read_text(encoding="utf-8")
    names = {name for fields in FIELDS.values() for name in fields} | NAMES | Sandbox().filters.keys()
    assert [name for name in names - {"counted", "d", "count"} if f"`{name}`" not in guide] == []
