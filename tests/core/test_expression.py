"""An admin's regular expression: how large it may be. How long it may search is seen where it is used."""

from __future__ import annotations

import pytest

from notifyd.expression import Expression, compile_pattern

# None would do harm if it were let through: each comes to 20 MB at most, where the largest that was seen took 22 GB.
HUGE = [
    "a{40000}",
    "(a{200}){200}",
    "(?:[a-z]{60}|x){200}",
    "((((a{10}){10}){10}){10}){2}",
    "(a{200},?){200,}",
    "(?<=(a{200}){200})b",
    "(a{200}\\)){200}",
    "(a{200}[)(]){200}",
    "(a{200}[]()]){200}",
    "(a{200})(?#why)(?i){200}",
    "(a{200}(?#\\))){200}",
    "(a{200}){e<=0}{200}",
    "(" + "ab" * 100 + "){200}",
]

UNTOLD = ["(?x) (a{ 200 }) { 200 }", "(?i-sx:a{200})", "(?V1)[[(]a]{200}", "(a{200}){e<=0:[(]}{200}"]

USUAL = [
    r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}",
    "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"[0-9a-f]{40}|[0-9a-f]{64}|\b(?:\d[ -]*?){13,16}\b",
    r"\b\d{1,3}(?:\.\d{1,3}){3}\b",
    ".{0,20000}end",
    "(?x) timed [ ] out  # as the ERP says",
    r"\{order=(\d{4}):",
    "a{x}b{}c{,3}",
    "|".join(f"customer number {number}" for number in range(300)),
]


@pytest.mark.parametrize("pattern", HUGE)
def test_what_its_counts_make_huge_is_refused(pattern: str):
    with pytest.raises(ValueError, match="too large: with its counts written out it is longer than 10,000"):
        Expression(pattern)


@pytest.mark.parametrize("pattern", UNTOLD)
def test_counts_are_refused_beside_what_hides_them(pattern: str):
    with pytest.raises(ValueError, match="size cannot be told"):
        Expression(pattern)


@pytest.mark.parametrize("pattern", USUAL)
def test_what_people_write_is_compiled(pattern: str):
    assert compile_pattern(pattern).pattern == pattern


@pytest.mark.parametrize("pattern", ["(", "a**", "(" * 3000 + "a" + ")" * 3000, "a{9}{9}", "[", ")"])
def test_what_is_no_regular_expression_is_said_to_be_none(pattern: str):
    with pytest.raises(ValueError, match="is not a regular expression"):
        Expression(pattern)
