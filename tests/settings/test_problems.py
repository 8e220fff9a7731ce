"""What is said of a settings file that is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.settings import SettingsError, load
from tests.settings.folders import Folder

# The catalogue: problems.txt says how it is written

GOOD = {
    "@jobs": [
        "[[sources]]",
        'name = "jobs"',
        'url = "sqlite:////srv/jobs.db"',
        'table = "jobs"',
        'columns.key = "id"',
        'columns.status = "state"',
        'statuses.failure = ["error"]',
    ],
    "@hook": [
        "[[notifications]]",
        'name = "hook"',
        'notification_type = "webhook"',
        'config.url = "https://example.com/hook"',
    ],
}


def catalogue() -> Iterator[tuple[str, list[str]]]:
    """Each case: the settings file, and the lines that it gets."""
    text = (Path(__file__).parent / "problems.txt").read_text(encoding="utf-8")
    for case in text.split("\n\n")[1:]:
        lines = case.strip().splitlines()
        if not lines[0].startswith("──"):
            written = [line for line in lines if not line.startswith("→ ")]
            yield expanded(written), [line.removeprefix("→ ") for line in lines if line.startswith("→ ")]


def expanded(lines: list[str]) -> str:
    """The file that a case means."""
    file: list[str] = []
    good: dict[str, int] = {}  # the keys of the good block, and where they are
    for line in lines:
        removed = line.startswith("- ")
        if line in GOOD:
            good = {key_of(given): len(file) + number for number, given in enumerate(GOOD[line])}
            file += GOOD[line]
        elif removed or key_of(line) in good:
            file[good[key_of(line.removeprefix("- "))]] = "" if removed else line
        else:
            file.append(line)
    return "\n".join(file)


def key_of(line: str) -> str:
    return line.partition(" = ")[0]


@pytest.mark.parametrize(("text", "lines"), [pytest.param(*case, id=case[0]) for case in catalogue()])
def test_what_is_said(folder: Folder, text: str, lines: list[str]) -> None:
    folder.environ |= {"EMPTY": "", "FTP": "ftp://example.com/s3cret"}
    said = [line.replace(str(folder.path), "{folder}") for line in folder.problems(text)]
    assert said == lines
    assert "s3cret" not in "".join(said)


def test_a_good_source_and_a_good_notification(folder: Folder) -> None:
    assert folder.problems("\n".join(GOOD["@jobs"] + GOOD["@hook"])) == []


# The file itself


def unreadable(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load(path, environ={})
    return str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    assert unreadable(path) == f"{path}: there is no such file; `notifyd init` writes one to begin with"


def test_a_directory(tmp_path: Path) -> None:
    assert unreadable(tmp_path) == f"{tmp_path}: this is a directory; expected a TOML file"


@pytest.mark.usefixtures("unprivileged")
def test_a_file_that_may_not_be_read() -> None:
    text = "permission denied: the user that notifyd runs as may not read it"
    assert unreadable(Path("/etc/shadow")) == f"/etc/shadow: {text}"


@pytest.mark.parametrize("name", ["n" * 300, "nul\0"])
def test_a_path_that_cannot_be(tmp_path: Path, name: str) -> None:
    assert "it cannot be read: " in unreadable(tmp_path / name)


def test_not_utf_8(folder: Folder) -> None:
    folder.file.write_bytes("[daemon]\n# fenêtre\n".encode("latin-1"))
    text = "this is not UTF-8 text (byte 0xea); save the file as UTF-8"
    assert unreadable(folder.file) == f"{folder.file}:2: {text}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[daemon]\nlog_level = loud\n", "2:13: this is not TOML: invalid value"),
        ("[daemon\n", "1:8: this is not TOML: expected ']' at the end of a table declaration"),
        ("a = 1\na = 2\n", "2:6: this is not TOML: cannot overwrite a value"),
        ("a = " + "[" * 500, " lists and tables are nested too deeply"),
        ("a = " + "{a=" * 101 + "1" + "}" * 101, " lists and tables are nested too deeply"),
        ("a = " + "9" * 5000, " this cannot be read as TOML: Exceeds the limit"),
        ("a = 2026-02-30", "1:5: this is not TOML: invalid date or datetime"),
    ],
    ids=["value", "header", "twice", "unclosed", "deep", "long", "date"],
)
def test_not_toml(folder: Folder, text: str, problem: str) -> None:
    (line,) = folder.problems(text)
    assert line.startswith(problem)


# Options and filters of plugins

PAGER_CASES = [
    ("number = 1000", ".number: must be at most 999"),
    ('number = "1"', ".number: expected a whole number, not text"),
    ("number = 1\neither = true", ".either: expected a whole number, not true or false; or: expected a list, not"),
    ('number = 1\nlogin = { as = "me" }', ".login.password: is required"),
    ('number = 1\nlogin = { aas = "me", as = "me", password = "x" }', '.login.aas: unknown key; did you mean "as"?'),
    ('number = 1\nlogin = { as = "me", password = "leak-s3cret" }', ".login.password: does not like <secret>"),
    ('number = 1\nlogin = { as = "me", password.env = "LEAK" }', ".login.password: does not like <secret>"),
    ("number = 1\ntokens.'a b' = 'leak-s3cret'", '.tokens."a b": does not like <secret>'),
    ('number = 1\nwords = ["a", 2]', ".words[1]: expected text in quotes, not a whole number"),
    ('number = 1\nsince = "soon"', ".since: must be a valid date"),
    ("number = 1\nvolume = 3\ntone = 'high'", ": too loud for a high tone"),
    (
        "number = 1\ntokens.a = 'crash-s3cret'",
        ": pager ({folder}/plugins/pager.py) failed while it checked its options: ",
    ),
    (
        "number = 1\ncrash = 'x'",
        ": pager ({folder}/plugins/pager.py) failed while it checked its options: KeyError: 'x'",
    ),
]


@pytest.mark.parametrize(("options", "problem"), PAGER_CASES, ids=[options for options, _ in PAGER_CASES])
def test_options_of_any_shape(with_pager: Folder, options: str, problem: str) -> None:
    with_pager.environ["LEAK"] = "leak-s3cret"
    (line,) = with_pager.problems(
        with_plugins(["[[notifications]]", 'name = "p"', 'notification_type = "pager"'], options)
    )
    _, _, said = line.replace(str(with_pager.path), "{folder}").partition('notifications["p"].config')
    assert said.startswith(problem)
    assert "s3cret" not in line


def with_plugins(config: list[str], options: str = "") -> str:
    return "\n".join(['daemon.plugins_dir = "plugins"', *config, "[notifications.config]" * bool(options), options])


def test_a_filter_with_a_model_of_its_own(with_pager: Folder) -> None:
    text = with_plugins([*GOOD["@hook"], 'filters.office_hours = { begin = "22", ende = 6 }'])
    assert with_pager.problems(text) == [
        '6: notifications["hook"].filters.office_hours.begin: expected a whole number, not text',
        '6: notifications["hook"].filters.office_hours.end: is required',
        '6: notifications["hook"].filters.office_hours.ende: unknown key; did you mean "end"?',
    ]


def test_the_plugins_fault_is_told_where_a_config_needs_it(folder: Folder) -> None:
    folder.plugin("pager.py", "import no_such_module\n")
    (line,) = folder.problems(with_plugins(GOOD["@hook"]).replace('"webhook"', '"pager"'))
    assert line.startswith('4: notifications["hook"].notification_type: the channel "pager" cannot be used: ')
    assert f"{folder.path}/plugins/pager.py: could not be loaded: ModuleNotFoundError" in line


def test_two_plugins_with_one_name_are_told_where_a_config_needs_it(with_pager: Folder) -> None:
    with_pager.plugin("pager2.py", (with_pager.path / "plugins/pager.py").read_text())
    (line,) = with_pager.problems(with_plugins([*GOOD["@hook"], "filters.office_hours = { begin = 22, end = 6 }"]))
    assert line.startswith('6: notifications["hook"].filters.office_hours: the filter "office_hours" cannot be used: ')
    assert "pager.py" in line
    assert "pager2.py" in line


def test_a_broken_plugin_that_no_config_needs_is_no_problem_of_the_file(folder: Folder) -> None:
    folder.plugin("pager.py", "import no_such_module\n")
    assert folder.problems(with_plugins(GOOD["@hook"])) == []
    assert len(folder.load(with_plugins(GOOD["@hook"])).registry.problems) == 1


def test_a_name_that_a_broken_plugin_may_have_given(folder: Folder) -> None:
    folder.plugin("other.py", "import no_such_module\n")
    (line,) = folder.problems(with_plugins(GOOD["@hook"]).replace('"webhook"', '"pager"'))
    assert line.endswith("; some plugins cannot be used, see `notifyd plugins`")
