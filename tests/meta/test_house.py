"""House rules that no linter knows: names, public doors, machine paths, the changelog's form."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import notifyd.api

ROOT = Path(__file__).parents[2]

EMPTY_WORDS = {"manager", "handler", "helper", "util", "common", "misc"}
NOT_OURS = {".git", ".venv", ".hypothesis", "build", "dist", "__pycache__", "notifyd.egg-info"}

# A folder that only exists where the text was written
MACHINE_PATH = re.compile(r"(?<![\w.:/-])/(?:root|work|workspace|Users)/\w")


def files() -> Iterator[Path]:
    """Every file of the project, by path; symlinks lead to files that are here too."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(
            name for name in folders if name not in NOT_OURS and not (name.startswith(".") and name.endswith("cache"))
        )
        yield from (path for name in sorted(names) if not (path := Path(folder, name)).is_symlink())


def modules() -> list[Path]:
    """The Python files of the two packages, which stand where the wheel takes them from."""
    return sorted(path for package in ("notifyd", "plugins") for path in (ROOT / package).rglob("*.py"))


def words(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in lower case and without a plural's s."""
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def names_of(module: Path) -> Iterator[str]:
    """The module's own name, and its classes'."""
    yield module.stem
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            yield node.name


def test_words_of_a_name() -> None:
    assert words("HTTPHandlers_of_misc") == {"http", "handler", "of", "misc"}


def test_nothing_has_an_empty_name() -> None:
    """A manager, handler, helper, util, common or misc says nothing of what it does."""
    found = [f"{module}: {name}" for module in modules() for name in names_of(module) if words(name) & EMPTY_WORDS]
    assert found == []


def test_the_plugin_api_is_exactly_what_it_lists() -> None:
    public = {
        name
        for name, value in vars(notifyd.api).items()
        if not name.startswith("_") and not isinstance(value, type(notifyd.api))
    }
    assert sorted(public) == sorted(notifyd.api.__all__)


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    here = f"{ROOT}/"
    found = []
    for path in files():
        text = path.read_text(encoding="utf-8", errors="replace")
        if here in text or MACHINE_PATH.search(text):
            found.append(str(path.relative_to(ROOT)))
    assert found == []


def test_every_change_is_told_in_the_same_form() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = [line for line in changelog.splitlines() if line.startswith("- ")]
    assert entries
    assert [entry for entry in entries if not re.match(r"- \[(CHANGE|FEATURE|FIX)\] [a-z, ]+: \S", entry)] == []
