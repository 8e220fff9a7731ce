"""Values inside JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifyd.sources.documents import MALFORMED, as_text, follow, parse, path_of

DOCUMENT = {"error": {"text": "boom", "codes": [429, 503]}, "ok": False, "none": None}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("error.text", "boom"),
        ("$.error.text", "boom"),
        ("error.codes[1]", 503),
        ("error.codes.1", 503),
        ("error.codes[7]", None),
        ("error.codes.x", None),
        ("error.text.deeper", None),
        ("ok", False),
        ("none", None),
        ("absent", None),
        ("error", {"text": "boom", "codes": [429, 503]}),
    ],
)
def test_a_path_leads_to_a_value_or_to_nothing(path: str, value: Any) -> None:
    assert follow(DOCUMENT, path_of(path)) == value


@pytest.mark.parametrize("text", ["", "{", "nope", "[" * 100_000, "1" * 10_000, b"\xff", 7])
def test_what_is_not_json_is_malformed(text: Any) -> None:
    assert parse(text) is MALFORMED
    assert follow(parse(text), ("error",)) is None


def test_null_is_no_document() -> None:
    assert parse(None) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", None),
        (b"", None),
        ("boom", "boom"),
        (b"caf\xc3\xa9 \xff", "café �"),
        (0, "0"),
        (1.5, "1.5"),
        (True, "true"),
        ({"a": [1]}, '{"a": [1]}'),
        ("half a \ud800 pair", "half a ? pair"),
        ("x" * 20, "x" * 9 + "…"),
        (b"x" * 99, "x" * 9 + "…"),
    ],
)
def test_any_value_is_a_bounded_text_that_can_be_stored(value: Any, text: str | None) -> None:
    assert as_text(value, 10 if value in ("x" * 20, b"x" * 99) else 100) == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values, st.text(), st.integers(1, 50))
def test_no_document_and_no_path_makes_it_raise(document: Any, path: str, limit: int) -> None:
    text = as_text(follow(document, path_of(path)), limit)
    assert text is None or len(text.encode()) > 0
    assert len(text or "") <= limit
