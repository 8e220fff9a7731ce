"""The key locator against tomli, on documents whose positions are known because the test wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import tomli
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from notifyd.settings.locate import KeyPath, Position, locate
from tests.examples import examples

HOSTILE = "ab\"'\\[]{}=,.# \n\té😀"  # everything that a search for a key's name would fall for
KEYS = st.text("ab", min_size=1, max_size=2) | st.text(HOSTILE, max_size=4) | st.sampled_from(["-", "1", "a.b", "[x]"])
SCALARS = (
    st.integers(-9, 99)
    | st.booleans()
    | st.text(HOSTILE, max_size=12)
    | st.sampled_from(["[a]\nb = 1", "# b = 2", 'b = """', "'''", '"' * 5, "'" * 2, "{b = 1}"])
    | st.dates()
    | st.datetimes()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.lists(st.dictionaries(KEYS, inner, max_size=2), max_size=3)
    ),
    max_leaves=12,
)


class Writer:
    """Writes data as TOML in styles drawn at random, and notes where each key and element begins."""

    def __init__(self, draw: Any) -> None:
        self.text = ""
        self.positions: dict[KeyPath, Position] = {}
        self._draw = draw

    def table(self, path: KeyPath, table: dict[str, Any]) -> None:
        """Pairs first, and then the tables that get headers of their own."""
        later = []
        for key, value in table.items():
            if self._may_have_header(value) and self._coin():
                later.append((key, value))
            else:
                self._filler()
                self._pair(path, [], key, value)
                self._end_of_line()
        for key, value in later:
            self._headed((*path, key), value)

    def _headed(self, path: KeyPath, value: Any) -> None:
        if isinstance(value, list):
            for index, element in enumerate(value):
                self._header("[[", path, "]]")
                self.positions[*path, index] = self._last_key
                self.table((*path, index), element)
        elif value and all(self._may_have_header(child) for child in value.values()) and self._coin():
            for key, child in value.items():  # no header of its own: the first one below it mentions it
                self._headed((*path, key), child)
        else:
            self._header("[", path, "]")
            self.positions[path] = self._last_key
            self.table(path, value)

    def _header(self, left: str, path: KeyPath, right: str) -> None:
        self._filler()
        self.text += left + self._space()
        inside: KeyPath = ()
        for step in path:
            if isinstance(step, str):
                self.text += self._dot() if any(isinstance(outer, str) for outer in inside) else ""
                self._key((*inside, step))
            inside = (*inside, step)
        self.text += self._space() + right
        self._end_of_line()

    def _pair(self, table: KeyPath, dotted: list[str], key: str, value: Any) -> None:
        """`a.b.c = value`, or one such line for each key of a table that is written with dots."""
        if isinstance(value, dict) and value and self._coin():
            for inner, child in value.items():
                self._pair(table, [*dotted, key], inner, child)
                self._end_of_line()
            return
        self.text += self._space()
        path = table
        for number, part in enumerate([*dotted, key]):
            path = (*path, part)
            self.text += self._dot() if number else ""
            self._key(path)
        self.text += self._space() + "=" + self._space()
        self._value(path, value)

    def _key(self, path: KeyPath) -> None:
        key = str(path[-1])
        self._last_key = self._here()
        self.positions.setdefault(path, self._last_key)
        if re.fullmatch(r"[A-Za-z0-9_-]+", key) and self._coin():
            self.text += key
        else:
            self.text += self._string(key, multi_line=False)

    def _value(self, path: KeyPath, value: Any) -> None:
        if isinstance(value, list):
            self._list(path, value)
        elif isinstance(value, dict):
            self._inline_table(path, value)
        elif isinstance(value, str):
            self.text += self._string(value, multi_line=True)
        elif isinstance(value, bool):
            self.text += str(value).lower()
        else:
            self.text += str(value)  # a datetime with a space in it

    def _list(self, path: KeyPath, values: list[Any]) -> None:
        self.text += "[" + self._blank()
        for index, value in enumerate(values):
            self.positions[*path, index] = self._here()
            self._value((*path, index), value)
            self._separator(last=index == len(values) - 1)
        self.text += "]"

    def _inline_table(self, path: KeyPath, table: dict[str, Any]) -> None:
        self.text += "{" + self._blank()
        for number, (key, value) in enumerate(table.items()):
            self._key((*path, key))
            self.text += self._space() + "=" + self._space()
            self._value((*path, key), value)
            self._separator(last=number == len(table) - 1)
        self.text += "}"

    def _string(self, text: str, *, multi_line: bool) -> str:
        styles = ["basic", "literal"] + ["multi-line basic", "multi-line literal"] * multi_line
        match self._draw(st.sampled_from(styles)):
            case "literal" if not re.search(r"['\n]", text):
                return f"'{text}'"
            case "multi-line literal" if "'''" not in text and not text.endswith("'"):
                return f"'''\n{text}'''"
            case "multi-line basic":
                body = text.replace("\\", "\\\\").replace('"""', '""\\"')
                return f'"""\n{body}"""'
        escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
        return '"' + "".join(escapes.get(char, char) for char in text) + '"'

    def _here(self) -> Position:
        return Position(self.text.count("\n") + 1, len(self.text) - (self.text.rfind("\n") + 1) + 1)

    def _may_have_header(self, value: Any) -> bool:
        return isinstance(value, dict) or (
            isinstance(value, list) and bool(value) and all(isinstance(element, dict) for element in value)
        )

    def _coin(self) -> bool:
        return bool(self._draw(st.booleans()))

    def _separator(self, *, last: bool) -> None:
        self.text += self._blank() + ("" if last and self._coin() else ",") + self._blank()

    def _space(self) -> str:
        return str(self._draw(st.sampled_from(["", " ", "\t "])))

    def _dot(self) -> str:
        return f"{self._space()}.{self._space()}"

    def _blank(self) -> str:
        return str(self._draw(st.sampled_from(["", " ", "\n", ' # a = "[\n', "\r\n\t"])))

    def _end_of_line(self) -> None:
        if not self.text.endswith("\n"):
            self.text += self._draw(st.sampled_from(["\n", "\r\n", ' # b = """\n']))

    def _filler(self) -> None:
        self.text += self._draw(st.sampled_from(["", "\n", "# [a]\n", "  "]))


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.data())
@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_key_is_found_where_it_was_written(table: dict[str, Any], data: st.DataObject) -> None:
    writer = Writer(data.draw)
    writer.table((), table)
    assert tomli.loads(writer.text) == table, writer.text
    assert locate(writer.text) == writer.positions, writer.text


LINES = st.sampled_from(
    [
        "[a]", "[[a]]", "[a.b]", "[[a.b]]", "[ 'a' . \"c\" ]", '["a.b"]', "[b]", "[[b.c]]",
        "a = 1", "b = 1", "a.b = 1", "a . 'c' = 2", "b.a.c = {}", '"" = 1', '"\\u0061" = 1',
        'c = """a = 1\n[b]"""', 'c = """"""""', 'c = """\\""""""', "c = '''\n'a'''''", "c = '\\'", 'c = "\\\\"',
        "d = 1979-05-27 07:32:00", "d = 07:32:00 # [x]", "d = +inf", "d = 0x_f", "d = -1e5",
        "e = [ ]", "e = [1, [2, {a = [3,], b.c = 4}], \n # ]\n]", "e = [[],[[]],{}]",
        "e = {a = ']', \"b\" = '}', c.d = {}}",
        "f = {\n a = 1, # }\n b = [\n],\n}", "", "# a = 1", "\t#'''", "  ",
    ]
)  # fmt: skip


@given(st.lists(LINES, max_size=8, unique=True))
@settings(max_examples=examples(1000), deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_the_paths_found_are_exactly_those_that_tomli_parses(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        table = tomli.loads(text)
    except tomli.TOMLDecodeError:
        assume(False)
    assert set(locate(text)) == set(_paths(table))


def _paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in children:
        yield (*path, step)
        yield from _paths(child, (*path, step))


@pytest.mark.parametrize(
    ("text", "path", "position"),
    [
        ("[a.b]\nc = 1\n\n[a]\nd = 2\n", ("a",), (4, 2)),  # its own header, not the first mention
        ("[a.b]\nc = 1\n", ("a",), (1, 2)),
        ("[[n]]\n[[n]]\n", ("n",), (1, 3)),
        ("[[n]]\n[n.c]\nx = 1\n[[n]]\n[n.c]\nx = 2\n", ("n", 1, "c", "x"), (6, 1)),
        ('text = """\nkey = 1\n"""\nkey = 2\n', ("key",), (4, 1)),
        ("# key = 1\nother = 'key = 1'\nkey = 2\n", ("key",), (3, 1)),
        ("a = { b = 1, 'c.d' = [10, 20] }", ("a", "c.d", 1), (1, 27)),
        ("\r\na = 1\r\nb = 2\r\n", ("b",), (3, 1)),
    ],
)
def test_positions_that_matter_to_people(text: str, path: KeyPath, position: tuple[int, int]) -> None:
    assert locate(text)[path] == position
