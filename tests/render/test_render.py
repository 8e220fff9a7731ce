"""Texts and HTML: the same words, and safe whatever a log wrote."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta

import pytest
from hypothesis import given, settings

from notifyd.api import EventType, Notification, Reason, Severity
from notifyd.model import Closes
from notifyd.render import render
from tests.examples import examples
from tests.render.pages import Page, assert_printable, assert_safe, notifications, texts, words_of
from tests.sinks.context import NOW, a_notification, an_event

LINK = "https://notifyd.example.com/deliveries/0192f0c1e5b27c3d"


@given(notifications())
@settings(max_examples=examples(150), deadline=None)
def test_text_and_html_say_the_same_words(notification: Notification) -> None:
    rendered = render(notification)
    assert Page(rendered.html).words == rendered.text.split()


@given(notifications())
@settings(max_examples=examples(150), deadline=None)
def test_nothing_unprintable_comes_out(notification: Notification) -> None:
    rendered = render(notification)
    assert_printable(rendered)
    assert 0 < len(rendered.title) <= 200


@given(notifications())
@settings(max_examples=examples(100), deadline=None)
def test_no_value_becomes_a_tag_or_an_attribute(notification: Notification) -> None:
    assert_safe(render(notification).html)


@given(texts)
@settings(max_examples=examples(100), deadline=None)
def test_a_message_cannot_forge_our_headings(message: str) -> None:
    """In the text, everything that a log wrote is indented or stands after its label."""
    text = render(a_notification(an_event(message=message + "\nSuggested actions\n1. Send us your password"))).text
    assert len(re.findall("^Suggested actions$", text, re.MULTILINE)) == 1
    assert not re.search("^1. Send us", text, re.MULTILINE)


def test_one_event_is_told_completely() -> None:
    event = an_event(closes=Closes("abc", "consecutive_failures"))
    rendered = render(a_notification(event))
    assert rendered.title == "Sync Error: quickbooks - orders"
    for words in words_of(rendered):
        assert words == (
            "ERROR Sync Error: quickbooks - orders 500: QuickBooks said that the order is not complete "
            "Connector quickbooks Entity type orders Tenant acme Schedule nightly Run run-4711 Source shop "
            "Error type sync_failure Closes consecutive_failures abc Time 2026-11-24 21:00:00 UTC Entity id WC-10492 "
            "Suggested actions 1. Check the credentials 2. Retry the failed records "
            "You get this through the notification config ops-mail. To see why: notifyd why 0192f0c1e5b27c3d"
        )


@pytest.mark.parametrize("public_url", ["https://notifyd.example.com", "https://notifyd.example.com/"])
def test_with_a_public_address_there_is_a_link_back(public_url: str) -> None:
    rendered = render(a_notification(), public_url=public_url)
    assert rendered.link == LINK
    assert Page(rendered.html).links == [LINK]
    for words in words_of(rendered):
        assert words.endswith(f"To see why: notifyd why 0192f0c1e5b27c3d Or open it in notifyd: {LINK}")


def test_a_runbook_can_be_followed_but_nothing_that_a_log_wrote() -> None:
    forged = "see https://thief.example.com/ and https://thief.example.com/"
    actions = ("Ask <b>https://wiki.example.com/a?b=1&c=2</b>.", "Runbook: https://wiki.example.com/quickbooks.")
    html = render(a_notification(an_event(title=forged, message=forged, suggested_actions=actions))).html
    assert Page(html).links == ["https://wiki.example.com/a?b=1&c=2", "https://wiki.example.com/quickbooks"]
    assert "&lt;b&gt;<a href=" in html


def test_without_a_public_address_there_is_no_link() -> None:
    rendered = render(a_notification())
    assert rendered.link == ""
    assert_safe(rendered.html)
    assert "Or open it" not in rendered.text


def test_what_an_event_does_not_have_is_not_mentioned() -> None:
    bare = an_event(
        event_type=EventType.TEST,
        severity=Severity.INFO,
        title="Test Notification",
        message="",
        **dict.fromkeys(["connector_id", "entity_type", "error_type", "tenant_id", "schedule_id", "run_id", "source"]),
        details={},
        suggested_actions=(),
    )
    for words in words_of(render(a_notification(bare))):
        assert words.startswith("INFO Test Notification Time 2026-11-24 21:00:00 UTC You get this")


def test_a_digest_tells_how_many_and_when_and_shows_some() -> None:
    samples = [an_event(message=f"500: record {n}", timestamp=NOW + timedelta(seconds=n)) for n in range(12)]
    said_twice = {"count": "500", "first": "2026-11-24T21:00:00.000000Z", "last": "2026-11-24T21:05:00.000000Z"}
    headline = an_event(title="500 sync errors: quickbooks", details=said_twice, run_id=None)
    digest = a_notification(headline, *samples, count=500, last_at=NOW + timedelta(minutes=5))
    for words in words_of(render(digest)):
        assert "Events 500 First 2026-11-24 21:00:00 UTC Last 2026-11-24 21:05:00 UTC Suggested actions" in words
        assert "500: record 0 2026-11-24 21:00:00 UTC · orders · tenant acme · schedule nightly · run run-4711" in words
        assert "500: record 9 " in words
        assert "500: record 10 " not in words
        assert "… and 490 more" in words


def test_a_digest_whose_events_are_all_shown_says_nothing_of_more() -> None:
    closed = a_notification(an_event(), an_event(), an_event(), reason=Reason.RECOVERY)
    for words in words_of(render(closed)):
        assert "Events 2" in words
        assert "more" not in words


def test_text_is_wrapped_and_urls_stay_in_one_piece() -> None:
    url = "https://shop.example.com/" + "very-long-" * 12
    text = render(a_notification(an_event(message=f"{'word ' * 60}{url} {'word ' * 20}"))).text
    assert url in text
    assert max(len(line) for line in text.splitlines() if url not in line) <= 76


def test_lines_of_a_stack_trace_stay_lines() -> None:
    rendered = render(a_notification(an_event(message="Boom\r\n  at one\n\n  at two\n")))
    assert "  Boom\n    at one\n\n    at two\n\n" in rendered.text
    assert "Boom<br>  at one<br><br>  at two</div>" in rendered.html


def test_a_time_among_the_details_is_one_that_people_read() -> None:
    details = {
        "since": "2026-11-24T18:00:00.123456Z",
        "theirs": "2026-11-24T18:00:00",
        "odd": "2026-13-24T18:00:00.123456Z",
    }
    text = render(a_notification(an_event(details=details))).text
    assert "2026-11-24 18:00:00 UTC" in text
    assert "2026-11-24T18:00:00.123456Z" not in text
    assert "2026-11-24T18:00:00" in text
    assert "2026-13-24T18:00:00.123456Z" in text


def test_long_values_are_cut_and_many_details_are_counted() -> None:
    event = an_event(title="t" * 300, message="m" * 9000, details={f"key_{n}": "v" * 2000 for n in range(33)})
    rendered = render(a_notification(event))
    assert rendered.title == "t" * 199 + "…"
    for words in words_of(rendered):
        assert f"{'m' * 3999}…" in words
        assert f"Key 29 {'v' * 999}…" in words
        assert "Key 30" not in words
        assert "Details … and 3 more" in words


def test_a_title_is_one_line() -> None:
    assert render(a_notification(an_event(title="a\r\nBcc: b\u2028c\x00"))).title == "a Bcc: b c\ufffd"
    assert render(a_notification(an_event(title=" \n "))).title == "sync_error"


@pytest.mark.parametrize(
    ("severity", "colour", "ink"),
    [
        (Severity.INFO, "#36a64f", "#000000"),
        (Severity.WARNING, "#ff9900", "#000000"),
        (Severity.ERROR, "#ff0000", "#000000"),
        (Severity.CRITICAL, "#8b0000", "#ffffff"),
    ],
)
def test_severity_has_its_colour_and_can_be_read_on_it(severity: Severity, colour: str, ink: str) -> None:
    html = render(a_notification(an_event(severity=severity))).html
    assert f"border-top:6px solid {colour};" in html
    assert f"background:{colour};color:{ink};" in html
    assert contrast(colour, ink) >= 4.5


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, by WCAG 2.1."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_page_knows_dark_mode_and_small_screens() -> None:
    html = render(a_notification()).html
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "@media (prefers-color-scheme: dark)" in html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html


def test_jinja_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, notifyd.render; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
