"""The plugin author's guide is true: its examples run, and its tables name what there is."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import WebhookVerificationError

import notifyd.api
import notifyd.api.testing as kit
from notifyd.api import Channel, FilterContext, Hold, Pass, Reject, Retry, Severity
from notifyd.api.hooks import notifyd_channels, notifyd_filters
from notifyd.core.retry import DAY, WAITS
from notifyd.outbound import Dialer, Guard, HttpClient
from notifyd.plugin_host import Registry, discover
from notifyd.render.samples import SAMPLES
from notifyd.settings import load
from tests.sinks.context import NOW, TestContext, a_notification, an_event
from tests.sinks.http import HttpSink

README = (Path(__file__).parents[2] / "plugins" / "README.md").read_text()
PYTHON = re.findall(r"```python\n# /etc/notifyd/plugins/(\w+\.py)\n(.*?)```", README, re.DOTALL)
RECEIVER = re.findall(r"```python\n# at the receiver.*?\n(.*?)```", README, re.DOTALL)
TOML = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def plugins_dir(tmp_path: Path) -> Path:
    """A folder with every plugin of the page."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    for name, source in PYTHON:
        if name.startswith("test_"):
            continue
        (folder / name).write_text(source)
    return folder


@pytest.fixture
def registry(plugins_dir: Path) -> Registry:
    registry = discover(plugins_dir)
    assert registry.problems == ()
    return registry


def channel(registry: Registry, name: str, **options: Any) -> Channel[Any]:
    cls = registry.channels[name].cls
    return cls(cls.Options.model_validate(options))


def names_in_table(heading: str) -> list[str]:
    """The first column of the table under a heading."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)


def test_every_block_of_code_is_executed_by_a_test_here():
    files = ["gotify.py", "test_gotify.py", "alarms.py", "logbook.py", "graphite.py", "night.py"]
    assert [name for name, _ in PYTHON] == files
    assert len(RECEIVER) == 1
    assert len(TOML) == 2
    assert README.count("```") == 2 * (len(PYTHON) + len(RECEIVER) + len(TOML) + 3), "commands, a report, signatures"


# The examples


async def test_the_first_channel_sends(registry: Registry):
    notification = a_notification(an_event(severity=Severity.CRITICAL))
    async with HttpSink() as sink, contextlib.aclosing(HttpClient(timeout=5)) as http:
        ctx = TestContext(notification, http=http)
        await channel(registry, "gotify", url=f"{sink.url}/message", token="s3cret").send(notification, ctx)
        (request,) = sink.requests
        sink.answer = 403
        with pytest.raises(Reject, match="HTTP 403"):
            await channel(registry, "gotify", url=f"{sink.url}/message", token="wrong").send(notification, ctx)
    assert (request.method, request.path) == ("POST", "/message")
    assert request.headers["x-gotify-key"] == "s3cret"
    assert request.json() == {"title": ctx.render().title, "message": ctx.render().text, "priority": 10}


@pytest.mark.parametrize("mistake", [False, True])
def test_its_tests_say_what_the_page_shows(tmp_path: Path, mistake: bool):
    sources = dict(PYTHON)
    if mistake:
        sources["gotify.py"] = sources["gotify.py"].replace("answer.raise_for_status()", WRONG)
    for name in ("gotify.py", "test_gotify.py"):
        (tmp_path / name).write_text(sources[name])
    chosen = "later or taken or priority" if mistake else "not hostile and not sends and not faults and not block"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, "test_gotify.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == mistake, done.stdout
    (shown,) = re.findall(r"```text\nnotifyd: the channel gotify\n(.*?)```", README, re.DOTALL)
    assert (shown in done.stdout) == mistake
    assert ("✗" in done.stdout) == mistake


WRONG = """if answer.status != 200 and answer.status not in (201, 202, 204, 408, 425, 429, 500, 502):
            from notifyd.api import Reject

            raise Reject("busy")
        answer.raise_for_status()"""


def test_the_settings_beside_it_are_right(plugins_dir: Path, tmp_path: Path):
    file = tmp_path / "notifyd.toml"
    file.write_text(TOML[0].replace("/etc/notifyd/plugins", str(plugins_dir)))
    settings = load(file, environ={"GOTIFY_TOKEN": "s3cret"})
    (config,) = settings.notifications
    assert config.options == settings.registry.channels["gotify"].cls.Options.model_validate(
        {"url": "https://push.example.com/message", "token": "s3cret"}
    )
    assert config.timeout == timedelta(seconds=30), "which the page promises"


async def test_what_is_opened_is_taken_down_on_recovery(registry: Registry):
    problem = SAMPLES["consecutive_failures"]
    both = replace(problem, events=(problem.event, kit.A_RECOVERY.event), count=2)
    async with HttpSink() as sink, contextlib.aclosing(HttpClient(timeout=5)) as http:
        alarms = channel(registry, "alarms", url=sink.url)
        for notification in (problem, kit.A_RECOVERY, both, kit.A_TEST):
            await alarms.send(notification, TestContext(notification, http=http))
        sink.answer = 404
        await alarms.send(kit.A_RECOVERY, TestContext(kit.A_RECOVERY, http=http))
        with pytest.raises(Reject):
            await alarms.send(problem, TestContext(problem, http=http))
    asked = [(request.method, request.path.rpartition("/")[2]) for request in sink.requests]
    name = problem.event.id
    assert asked[:4] == [("PUT", name), ("DELETE", name), ("DELETE", name), ("PUT", a_notification().id)]


async def test_the_channel_without_http_writes_and_says_what_is_wrong(registry: Registry, tmp_path: Path):
    notification = a_notification()
    ctx = TestContext(notification)
    await channel(registry, "logbook", path=tmp_path / "log").send(notification, ctx)
    assert (tmp_path / "log").read_text() == f"2026-11-24 21:00 {ctx.delivery_id} {ctx.render().title}\n"
    with pytest.raises(Reject, match=r"there is no folder .*; create it"):
        await channel(registry, "logbook", path=tmp_path / "nowhere" / "log").send(notification, ctx)
    with pytest.raises(Retry, match="Is a directory"):
        await channel(registry, "logbook", path=tmp_path).send(notification, ctx)


async def test_the_channel_over_tcp_sends_its_line(registry: Registry):
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.put_nowait(await reader.readline())
        writer.close()

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        notification = a_notification()
        graphite = channel(registry, "graphite", host="localhost", port=port)
        await graphite.send(notification, TestContext(notification))
        assert await asyncio.wait_for(got.get(), 5) == b"notifyd.sync_error 1 1795554000\n"
    with pytest.raises(Retry, match=rf"^localhost:{port}: connection refused$"):
        await graphite.send(notification, TestContext(notification))
    with pytest.raises(Reject, match="not public"):
        await graphite.send(notification, TestContext(notification, dialer=Dialer(Guard())))


async def test_the_receiver_of_a_webhook_knows_who_sent_it():
    receiver: dict[str, Any] = {}
    exec(RECEIVER[0], receiver)
    secret = re.findall(r"whsec_[\w+/=]+", RECEIVER[0])
    notification = a_notification()
    async with HttpSink() as sink, contextlib.aclosing(HttpClient(timeout=5)) as http:
        config = channel(discover(None), "webhook", url=sink.url, signing_secrets=secret)
        await config.send(notification, TestContext(notification, http=http, now=datetime.now(UTC)))
        (request,) = sink.requests
    assert receiver["received"](request.headers, request.body) == notification.id
    with pytest.raises(WebhookVerificationError):
        receiver["received"](request.headers, b"{}")


def test_the_filter_holds_until_the_morning(registry: Registry):
    night = registry.filters["night_until"].cls(6)
    at_two = FilterContext(NOW.replace(hour=2, minute=30), "my-phone")
    assert night.decide(an_event(), at_two) == Hold(NOW.replace(hour=6, minute=0), "it is night until 6:00 UTC")
    assert night.decide(an_event(severity=Severity.CRITICAL), at_two) == Pass()
    assert night.decide(an_event(), FilterContext(NOW.replace(hour=6), "my-phone")) == Pass()


def test_a_package_built_from_the_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pyproject.toml").write_text(TOML[1])
    (tmp_path / "notifyd_gotify.py").write_text(dict(PYTHON)["gotify.py"])
    build = "from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.syspath_prepend(tmp_path)
    registry = discover(None)
    assert registry.problems == ()
    assert registry.channels["gotify"].origin == "notifyd-gotify 1.0 (notifyd_gotify)"


# The tables


def test_the_api_table_names_everything_that_is_exported():
    assert sorted(names_in_table("The API")) == sorted(notifyd.api.__all__)
    assert f"this page: {notifyd.api.API_VERSION} |" in README


def test_the_api_table_names_the_members_that_there_are():
    for name, words in re.findall(
        r"^\| `(\w+)` \| (.*) \|$", README.split("## The API\n")[1].split("\n## ")[0], re.MULTILINE
    ):
        exported = getattr(notifyd.api, name)
        members = set(re.findall(r"`([a-z_]+)(?:\(\))?`", words))
        known = {*dir(exported), *getattr(exported, "__annotations__", {})}
        known |= {member.value for member in exported} if name == "Reason" else set()
        assert members - {"send", "check", "decide"} <= known, name  # which rows about their arguments name


def test_every_method_has_its_exact_signature_on_the_page():
    (block,) = re.findall(r"```text\n(Answer\..*?)```", README, re.DOTALL)
    assert sorted(block.replace("'", "").splitlines(), key=by_name) == sorted(signatures(), key=by_name)


def signatures() -> Iterator[str]:
    """Of all public methods that the exported classes define."""
    for name in notifyd.api.__all__:
        exported = getattr(notifyd.api, name)
        for method, function in vars(exported).items() if inspect.isclass(exported) else ():
            if inspect.isfunction(function) and not method.startswith("_") and exported is not Severity:
                word = "async " if inspect.iscoroutinefunction(function) else ""
                yield f"{word}{name}.{method}{inspect.signature(function)}".replace("'", "")


def by_name(line: str) -> str:
    return line.removeprefix("async ")


def test_the_kit_s_table_has_every_attribute_with_its_type_and_default():
    section = README.split("## The conformance kit\n")[1].split("\nFor tests of your own")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ((?:`[^`]+`)?) \| ((?:`[^`]+`)?) \| .+ \|$", section, re.MULTILINE)
    assert rows == list(kit_members())
    assert len(rows) == section.count("\n| `"), "each row is understood"


def test_what_the_kit_has_beside_its_classes_is_on_the_page():
    section = README.split("\nFor tests of your own")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    others = {name: getattr(kit, name) for name in kit.__all__ if not inspect.isclass(getattr(kit, name))}
    assert sorted(listed) == sorted(name + call_of(value) for name, value in others.items())
    assert f"| {NOW:%Y-%m-%d %H:%M} UTC |" in section
    assert (kit.A_DIGEST.count, len(kit.A_DIGEST.events)) == (120, 3), "as the page says"


def call_of(value: object) -> str:
    """How it is called, as the page writes it; nothing of what is no function."""
    if not inspect.isfunction(value):
        return ""
    return str(inspect.signature(value)).partition(" -> ")[0].replace("'", "").replace(" | ", " or ")


def kit_members() -> Iterator[tuple[str, str, str]]:
    """Of the classes that the kit exports: each attribute that is not a check, its type, and its default."""
    for name in kit.__all__:
        cls = getattr(kit, name)
        if inspect.isclass(cls):
            listed = dict.fromkeys([*inspect.get_annotations(cls), *vars(cls)])
            for member in (each for each in listed if not each.startswith(("_", "test_"))):
                yield f"{name}.{member}", *kind_and_default(cls, member)


def kind_and_default(cls: type, member: str) -> tuple[str, str]:
    """As they are in the table: in code marks, empty where there is none."""
    annotation, value = inspect.get_annotations(cls).get(member), vars(cls).get(member, inspect.Parameter.empty)
    if isinstance(value, property):
        annotation, value = inspect.get_annotations(value.fget).get("return"), inspect.Parameter.empty
    elif callable(getattr(cls, member, None)) and annotation is None:
        signature = str(inspect.signature(getattr(cls, member))).replace("b''", 'b""').replace("'", "")
        return f"`{signature}`".replace(" | ", " or "), ""
    elif isinstance(value, cls):  # of an enumeration
        return "", ""
    default = "" if value is inspect.Parameter.empty or type(value).__name__ == "_tuplegetter" else f"`{value!r}`"
    annotation = getattr(annotation, "__forward_arg__", annotation) or type(value).__name__
    kind = re.sub(r"^ClassVar\[(.*)\]$", r"\1", annotation)
    return f"`{kind}`".replace(" | ", " or "), default


@pytest.mark.parametrize("hook", [notifyd_channels, notifyd_filters])
def test_the_hooks_table_gives_their_exact_signatures(hook: Any):
    arguments = ", ".join(inspect.signature(hook).parameters)
    assert f"{hook.__name__}({arguments})" in names_in_table("The hooks")
    assert len(names_in_table("The hooks")) == 2


def test_the_waits_between_attempts_are_those_of_the_daemon():
    words = {"s": "seconds", "m": "minutes"}
    listed = re.search(r"after about ((?:\d+ [sm], )+)then hourly for a day", README)
    assert listed
    waits = [timedelta(**{words[unit]: int(number)}) for number, unit in re.findall(r"(\d+) ([sm])", listed[1])]
    assert (*waits, timedelta(hours=1)) == WAITS
    assert timedelta(days=1) == DAY
