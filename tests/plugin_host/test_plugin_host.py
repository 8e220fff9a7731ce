"""Discovery: what is found, and how everything that is wrong with a plugin is named in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from structlog.processors import JSONRenderer

from notifyd.plugin_host import Registry, discover

DropIn = Callable[..., Registry]
Install = Callable[..., None]


CHANNEL = '''
from __future__ import annotations
from notifyd.api import Channel, Options, hookimpl

class PagerOptions(Options):
    number: str

class Pager(Channel[PagerOptions]):
    """Beeps.

    Loudly.
    """
    name = "pager"
    Options = PagerOptions

    async def send(self, notification, ctx):
        pass

@hookimpl
def notifyd_channels():
    return [Pager]
'''

MUTE = """class Mute(Exception):
    def __str__(self):
        raise BaseException("unspeakable")
    __repr__ = __str__
"""

FILTER = '''
from notifyd.api import Filter, Pass, hookimpl

class Weekday(Filter[int]):
    """Only on one day of the week."""
    name = "weekday"
    Options = int

    def decide(self, event, ctx):
        return Pass()

@hookimpl
def notifyd_filters():
    yield Weekday
'''


@pytest.fixture
def drop_in(tmp_path: Path) -> DropIn:
    """`drop_in(pager=SOURCE, …)`: what discovery makes of a plugins_dir with these files."""
    folder = tmp_path / "plugins"
    folder.mkdir()

    def write(**sources: str) -> Registry:
        for name, source in sources.items():
            (folder / f"{name}.py").write_text(source)
        return discover(folder)

    return write


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install("acme", "1.2", {"pager": "acme_pager"}, acme_pager=SOURCE)`: an installed package with entry points."""

    installed: set[str] = set()

    def write(package: str, version: str, points: dict[str, str], **modules: str) -> None:
        site = tmp_path / "site"
        info = site / f"{package.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        lines = [f"{name} = {value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[notifyd]", *lines]))
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        installed.update(modules)

    yield write
    for module in installed:
        sys.modules.pop(module, None)


def pager(old: str, new: str) -> str:
    """The good channel with one fault."""
    assert old in CHANNEL
    return CHANNEL.replace(old, new)


def weekday(old: str, new: str) -> str:
    """The good filter with one fault."""
    assert old in FILTER
    return FILTER.replace(old, new)


def returning(what: str) -> str:
    """The good channel with a hook that ends otherwise."""
    return pager("return [Pager]", what)


def only_problem(registry: Registry) -> str:
    """The text of the one problem, which is one line."""
    (problem,) = registry.problems
    assert "\n" not in str(problem)
    assert "Traceback" not in str(problem)
    return str(problem)


# What is found


def test_the_channels_and_filters_of_notifyd_are_plugins_like_any_other():
    registry = discover(None)
    assert list(registry.channels) == [
        "apprise",
        "command",
        "discord",
        "email",
        "ntfy",
        "pagerduty",
        "slack",
        "teams",
        "telegram",
        "webhook",
    ]
    assert list(registry.filters) == [
        "connectors",
        "entity_types",
        "error_types",
        "event_types",
        "match",
        "min_severity",
        "quiet_hours",
        "tenants",
        "throttle",
    ]
    assert registry.problems == ()
    assert registry.channels["slack"].origin.endswith("(notifyd_plugins.slack)")
    assert registry.channels["slack"].origin.startswith("notifyd ")
    assert all(found.doc for found in [*registry.channels.values(), *registry.filters.values()])


def test_a_file_in_plugins_dir_is_a_plugin(drop_in: DropIn, tmp_path: Path):
    registry = drop_in(pager=CHANNEL, weekday=FILTER)
    assert registry.problems == ()
    beeper, day = registry.channels["pager"], registry.filters["weekday"]
    assert (beeper.name, beeper.origin, beeper.doc) == ("pager", str(tmp_path / "plugins" / "pager.py"), "Beeps.")
    assert day.doc == "Only on one day of the week."
    assert beeper.cls.Options(number="110").number == "110"
    assert {"slack", "webhook"} <= set(registry.channels), "the others stay"


def test_an_installed_package_is_a_plugin(install: Install):
    install("acme-pager", "1.2", {"pager": "acme_pager"}, acme_pager=CHANNEL)
    registry = discover(None)
    assert registry.problems == ()
    assert registry.channels["pager"].origin == "acme-pager 1.2 (acme_pager)"


def test_files_that_begin_with_an_underscore_or_a_dot_and_other_files_are_left_alone(drop_in: DropIn, tmp_path: Path):
    (tmp_path / "plugins" / "notes.txt").write_text("not Python")
    (tmp_path / "plugins" / ".hidden.py").write_text("1/0")
    assert drop_in(_draft="1/0").problems == ()


def test_a_drop_in_called_email_does_not_shadow_the_standard_library(drop_in: DropIn):
    import email.message

    registry = drop_in(email=pager('"pager"', '"other_email"'))
    assert "other_email" in registry.channels
    assert sys.modules["email"] is email
    assert email.message.Message


def test_a_changed_file_is_read_anew_even_within_the_resolution_of_its_time(
    drop_in: DropIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "plugins" / "pager.py"
    drop_in(pager=CHANNEL)
    stat = file.stat()
    file.write_text(pager("Beeps", "Rings"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert discover(file.parent).channels["pager"].doc == "Rings."
    assert not (file.parent / "__pycache__").exists()


def test_a_plugin_that_gives_an_empty_list_is_fine(drop_in: DropIn):
    source = "from notifyd.api import hookimpl\n@hookimpl\ndef notifyd_channels():\n    return []"
    assert drop_in(nothing_today=source).problems == ()


# What is wrong, in one line


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import telephone", "could not be loaded: ModuleNotFoundError: No module named 'telephone' (pager.py:1)"),
        ("\n\ndef oops(:", "could not be loaded: SyntaxError: invalid syntax (pager.py:3)"),
        ("import sys\nsys.exit(3)", "could not be loaded: it called sys.exit(3) (pager.py:2)"),
        ("raise SystemExit", "could not be loaded: it called sys.exit(None) (pager.py:1)"),
        ("raise BaseException('x')", "could not be loaded: BaseException: x (pager.py:1)"),
        ("raise KeyboardInterrupt", "could not be loaded: KeyboardInterrupt (pager.py:1)"),
        (MUTE + "raise Mute", "could not be loaded: Mute (pager.py:5)"),
        (MUTE + "import sys\nsys.exit(Mute())", "could not be loaded: it called sys.exit(a Mute) (pager.py:6)"),
        (returning("raise Mute") + MUTE, "notifyd_channels failed: Mute (pager.py:"),
        (returning("raise BaseException('x')"), "notifyd_channels failed: BaseException: x (pager.py:"),
        (weekday("yield Weekday", "raise BaseException('x')"), "notifyd_filters failed: BaseException: x (pager.py:"),
        ("1/0", "could not be loaded: ZeroDivisionError: division by zero (pager.py:1)"),
        ("raise ValueError('two\\nlines')", "could not be loaded: ValueError: two lines (pager.py:1)"),
        ("x = '\0'", "could not be loaded: SyntaxError: source code string cannot contain null bytes"),
        ("x = 1", "gives nothing: it has no function marked with @hookimpl"),
        (pager("@hookimpl", ""), "the function notifyd_channels is not marked with @hookimpl"),
        (
            pager("def notifyd_channels", "def notifyd_chanels"),
            "there is no hook called notifyd_chanels; did you mean notifyd_channels?",
        ),
        (
            pager("def notifyd_channels", "def register"),
            "there is no hook called register; the hooks are notifyd_channels, notifyd_filters",
        ),
        (pager("notifyd_channels()", "notifyd_channels(config)"), "a hook is declared wrongly: Argument(s) {'config'}"),
        (returning("raise RuntimeError('no')"), "notifyd_channels failed: RuntimeError: no (pager.py:"),
        (returning("raise SystemExit"), "notifyd_channels failed: it called sys.exit"),
        (returning("yield Pager; 1/0"), "notifyd_channels failed: ZeroDivisionError"),
        (returning("return Pager"), "it returned <class"),
        (returning("return 'pager'"), "it returned 'pager' instead of a list of classes"),
        (returning("return 42"), "it returned 42 instead of a list of classes"),
        (returning("[Pager]"), "it returned None instead of a list of classes"),
        (pager("def notifyd", "async def notifyd"), "it is `async def`; a hook is a plain function"),
        (returning("return [None]"), "None, which is not a subclass of notifyd.api.Channel"),
        (returning("return [int]"), "<class 'int'>, which is not a subclass of notifyd.api.Channel"),
        (
            returning("return [Pager(PagerOptions(number='1'))]"),
            "an instance of Pager; return the class itself",
        ),
        (pager('name = "pager"', ""), "class Pager, which has no `name`"),
        (pager('"pager"', '"Pager 1"'), "class Pager, whose name 'Pager 1' is not lower-case letters"),
        (pager('"pager"', "7"), "class Pager, whose name 7 is not lower-case letters"),
        (pager("Options = PagerOptions", ""), "class Pager, which has no `Options`"),
        (pager("Options = PagerOptions", "Options = dict"), "whose Options is not a subclass of notifyd.api.Options"),
        (pager("number: str", "number: Nowhere"), "whose Options pydantic cannot validate"),
        (
            CHANNEL + "api_version = 2\n",
            "the plugin is written for version 2 of notifyd.api, and this notifyd has version 1",
        ),
        (CHANNEL + "api_version = 0\n", "this notifyd has version 1; upgrade the plugin"),
        (pager("name =", "api_version = 2\n    name ="), "class Pager, which is written for version 2 of notifyd.api"),
        (weekday("name =", "api_version = 3\n    name ="), "this notifyd has version 1; upgrade notifyd"),
        (
            pager("name =", "api_version = '1'\n    name ="),
            "api_version '1', which is not a whole number; say api_version = 1",
        ),
        (
            "from notifyd.api import Courier",
            "cannot import name 'Courier' from 'notifyd.api', which is of version 1 (pager.py:1)",
        ),
        (
            pager("(self, notification, ctx)", "(self, notification)"),
            "whose send takes (self, notification) and not (self, notification, ctx)",
        ),
        (
            pager("    async def send", "    def check(self, ctx): ...\n    async def send"),
            "class Pager, whose check is not `async def`",
        ),
        (
            pager("    async def send", "    async def open(self, ctx): ...\n    async def send"),
            "whose open takes (self, ctx) and not (self)",
        ),
        (
            weekday("(self, event, ctx)", "(self, event)"),
            "class Weekday, whose decide takes (self, event) and not (self, event, ctx)",
        ),
        (pager("async def send", "async def transmit"), "class Pager, which lacks the method send"),
        (pager("async def send", "def send"), "class Pager, whose send is not `async def`"),
        (weekday("def decide", "def judge"), "class Weekday, which lacks the method decide"),
        (weekday("def decide", "async def decide"), "class Weekday, whose decide is `async def`"),
        (weekday("Options = int", "Options = object()"), "class Weekday, whose Options pydantic cannot validate"),
    ],
)
def test_a_bad_plugin_is_one_clear_line(source: str, expected: str, drop_in: DropIn, tmp_path: Path):
    registry = drop_in(pager=source)
    line = only_problem(registry)
    assert line.startswith(f"{tmp_path / 'plugins' / 'pager.py'}: ")
    assert expected in line
    assert "pager" not in registry.channels
    assert "weekday" not in registry.filters
    assert {"slack", "webhook"} <= set(registry.channels), "the others stay"


def test_a_pipe_is_no_plugin_and_nobody_waits_for_it(drop_in: DropIn, tmp_path: Path):
    drop_in()
    os.mkfifo(tmp_path / "plugins/pager.py")
    assert only_problem(drop_in()) == f"{tmp_path}/plugins/pager.py: could not be loaded: not a regular file"


def test_one_that_takes_long_to_load_is_named_while_it_does(tmp_path: Path):
    """It waits here for its name to be said: nothing but that lets it end."""
    origin = tmp_path / "pager.py"
    origin.write_text(CHANNEL + WAITS_FOR_ITS_NAME)
    load = (
        "from pathlib import Path; from notifyd.plugin_host import discover\n"
        f"assert 'pager' in discover(Path({str(tmp_path)!r}), 0.05).channels"
    )
    with (tmp_path / "said").open("w") as said:
        environ = os.environ | {"SAID": str(tmp_path / "said")}
        done = subprocess.run([sys.executable, "-c", load], stderr=said, env=environ, timeout=30, check=False)
    assert done.returncode == 0
    (line,) = [line for line in (tmp_path / "said").read_text().splitlines() if str(origin) in line]
    assert line == (
        f"{origin} is still being loaded after 0.05 s; a plugin should do its work in open(), not where it is imported"
    )


def test_a_daemon_at_work_says_so_in_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pager.py").write_text(CHANNEL + WAITS_FOR_ITS_NAME)
    monkeypatch.setenv("SAID", str(tmp_path / "log"))
    with (tmp_path / "log").open("w", buffering=1) as log:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(log), processors=[JSONRenderer()])
        try:
            assert "pager" in discover(tmp_path, 0.05).channels
        finally:
            structlog.reset_defaults()
    lines = map(json.loads, (tmp_path / "log").read_text().splitlines())
    (line,) = [line for line in lines if line["plugin"] == str(tmp_path / "pager.py")]
    assert line["event"] == "a plugin is still being loaded"


WAITS_FOR_ITS_NAME = """
import os, pathlib, time
until = time.monotonic() + 30
while time.monotonic() < until and __file__ not in pathlib.Path(os.environ["SAID"]).read_text():
    time.sleep(0.01)
"""


def test_a_bad_installed_plugin_is_named_and_the_good_one_beside_it_works(install: Install):
    install("acme-pager", "1.2", {"pager": "acme_pager"}, acme_pager=CHANNEL)
    install("acme-fax", "0.1", {"fax": "acme_fax", "gone": "acme_gone"}, acme_fax="import fax_machine")
    registry = discover(None)
    assert "pager" in registry.channels
    fax, gone = map(str, registry.problems)
    assert fax.startswith(
        "acme-fax 0.1 (acme_fax): could not be loaded: ModuleNotFoundError: No module named 'fax_machine'"
    )
    assert gone == "acme-fax 0.1 (acme_gone): could not be loaded: ModuleNotFoundError: No module named 'acme_gone'"


def test_an_entry_point_to_something_odd_is_named(install: Install):
    install("acme-odd", "3", {"odd": "acme_odd:ANSWER"}, acme_odd="ANSWER = 42")
    assert only_problem(discover(None)).startswith("acme-odd 3 (acme_odd:ANSWER): gives nothing")


def test_a_class_that_raises_when_it_is_looked_at_is_named(drop_in: DropIn):
    source = pager("@hookimpl", "class Meta(type(Pager)):\n    @property\n    def name(cls): 1 / 0\n@hookimpl")
    source = source.replace("return [Pager]", "return [Meta('Sly', (Pager,), {})]")
    assert "notifyd_channels failed: ZeroDivisionError" in only_problem(drop_in(pager=source))


def test_a_file_that_failed_leaves_no_module_behind(drop_in: DropIn):
    drop_in(halfway="x = 1\n1/0")
    assert not [name for name in sys.modules if "halfway" in name]


def test_one_bad_class_does_not_take_the_good_one_along(drop_in: DropIn):
    extra = "\n\nclass Mute(Channel):\n    name = 'mute'\n    Options = PagerOptions\n"
    registry = drop_in(pager=pager("\n@hookimpl", extra + "\n@hookimpl").replace("[Pager]", "[Pager, Mute]"))
    assert "pager" in registry.channels
    assert "class Mute, which lacks the method send" in only_problem(registry)
    assert "lacks the method send" in (registry.broken("channel", "mute") or "")


# Names


def test_two_plugins_with_one_name_are_both_named_and_neither_is_used(drop_in: DropIn, tmp_path: Path):
    registry = drop_in(pager=CHANNEL, pager2=CHANNEL)
    line = only_problem(registry)
    assert str(tmp_path / "plugins" / "pager.py") in line
    assert str(tmp_path / "plugins" / "pager2.py") in line
    assert "each gives a channel called pager" in line
    assert "pager" not in registry.channels
    assert registry.broken("channel", "pager") == line


def test_a_drop_in_cannot_take_the_name_of_ours(drop_in: DropIn):
    registry = drop_in(pager=pager('"pager"', '"slack"'))
    assert "slack" not in registry.channels
    assert "notifyd_plugins.slack" in only_problem(registry)


def test_a_channel_and_a_filter_may_share_a_name(drop_in: DropIn):
    registry = drop_in(pager=CHANNEL, weekday=weekday('"weekday"', '"pager"'))
    assert registry.problems == ()
    assert "pager" in registry.channels
    assert "pager" in registry.filters


def test_broken_says_why_a_name_is_unavailable(drop_in: DropIn):
    registry = drop_in(pager="import telephone", weekday=FILTER)
    assert "No module named 'telephone'" in (registry.broken("channel", "pager") or "")
    assert registry.broken("filter", "weekday") is None, "it works"
    assert registry.broken("channel", "carrier_pigeon") is None, "nothing claims it"


def test_a_working_name_is_not_broken_by_a_file_that_is_called_like_it(drop_in: DropIn):
    registry = drop_in(slack="import telephone")
    assert len(registry.problems) == 1
    assert registry.broken("channel", "slack") is None


# The folder


def test_no_folder_was_asked_for():
    assert discover(None).problems == ()


def test_a_missing_folder_is_a_problem(tmp_path: Path):
    line = only_problem(discover(tmp_path / "nowhere"))
    assert line == f"{tmp_path / 'nowhere'}: the plugins_dir cannot be read: No such file or directory"


def test_a_file_is_no_folder(tmp_path: Path):
    file = tmp_path / "plugins.py"
    file.write_text(CHANNEL)
    assert "the plugins_dir cannot be read: Not a directory" in only_problem(discover(file))


def test_an_unreadable_file_is_a_problem(drop_in: DropIn, tmp_path: Path):
    (tmp_path / "plugins" / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "plugins" / "folder.py").mkdir()
    dangling, folder = map(str, drop_in(pager=CHANNEL).problems)
    assert dangling.endswith("dangling.py: could not be loaded: No such file or directory")
    assert folder.endswith("folder.py: could not be loaded: Is a directory")


def test_what_a_plugin_prints_while_it_loads_is_kept_out_of_what_a_command_prints(
    drop_in: DropIn, capsys: pytest.CaptureFixture[str]
):
    assert "pager" in drop_in(pager=CHANNEL + "print('hello')\n").channels
    assert capsys.readouterr() == ("", "hello\n")


def test_the_present_version_is_fine(drop_in: DropIn):
    registry = drop_in(pager=CHANNEL + "api_version = 1\n", weekday=weekday("name =", "api_version = 1\n    name ="))
    assert registry.problems == ()
