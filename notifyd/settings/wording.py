"""Says what pydantic found in words for people. Nothing here quotes a value, because a value may be a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from datetime import date, datetime, time

from pydantic_core import ErrorDetails

_EXPECTED = {
    "string": "text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen": "a list",
    "dict": "a table",
    "model": "a table",
    "dataclass": "a table",
}
_TYPE_ERROR = re.compile(rf"({'|'.join(_EXPECTED)})(?:_\w+)?_(?:type|parsing|float)")
_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number with a point"),
    (str, "text"),
    (list, "a list"),
    (dict, "a table"),
    ((datetime, date, time), "a date or time"),
)
_BOUNDS = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "more than {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "less than {lt}",
}


def explain(error: ErrorDetails, value: object, known: Iterable[str] = ()) -> str:
    """One error as the end of a sentence that begins with the key. `known` are the keys that may stand there."""
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(error['loc'][-1]), known)}"
    if kind in ("literal_error", "enum"):
        return _not_among(context["expected"], value)
    if kind in ("value_error", "assertion_error"):
        return _one_line(str(context["error"])) or "is not accepted"
    if kind.endswith("too_short") and context["min_length"] == 1:
        return "may not be empty"
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind].format(**context)}"
    if (match := _TYPE_ERROR.fullmatch(kind)) is not None:
        return _wrong_type(_EXPECTED[match[1]], value)
    return _one_line(error["msg"].replace("Input should be", "must be").replace("Input should", "must"))


def did_you_mean(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """`; did you mean "slack"?`, or nothing where nothing is close."""
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=likeness)
    return f'; did you mean "{by_folded[close[0]]}"?' if close else ""


def printable(text: str) -> str:
    """The text with an escape for each character that cannot be seen, or that ends a line."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def type_name(value: object) -> str:
    """What a TOML value is, in words."""
    return next((name for types, name in _NAMES if isinstance(value, types)), "nothing")


def _wrong_type(expected: str, value: object) -> str:
    text = f"expected {expected}, not {type_name(value)}"
    if expected == "a list" and isinstance(value, dict):
        return f"{text}: a list of tables is written with two brackets, [[…]]"
    if expected == "a table" and isinstance(value, list):
        return f"{text}: a single table is written with single brackets, […]"
    return text


def _not_among(expected: str, value: object) -> str:
    """pydantic lists what it expected as `'a', 'b' or 'c'`."""
    choices = re.findall(r"'([^']*)'", expected)
    if not choices:
        return f"must be {expected}"
    if not isinstance(value, str):
        return f"expected {_any_of(choices)}, not {type_name(value)}"
    return f"must be {_any_of(choices)}{did_you_mean(value, choices)}"


def _any_of(choices: list[str]) -> str:
    *others, last = (f'"{choice}"' for choice in choices)
    return f"{', '.join(others)} or {last}" if others else last


def _one_line(text: str) -> str:
    return " ".join(text.split())
