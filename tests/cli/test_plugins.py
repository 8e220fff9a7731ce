"""`notifyd plugins`: what is installed, what is dropped in, what is broken, and what options each takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import tomli
from pydantic import Field

from notifyd.api import Options, Secret, SecretUrl, Severity
from notifyd.cli.example import example_of
from notifyd.cli.plugins import holds_secret, type_text
from notifyd.plugin_host import discover
from tests.cli.conftest import Notifyd, invoke
from tests.system.site import Site

PAGER = '''
from notifyd.api import Channel, Options, Secret, hookimpl

class PagerOptions(Options):
    number: str
    pin: Secret | None = None
    loud: bool = True

class Pager(Channel[PagerOptions]):
    """Rings a pager."""
    name = "pager"
    Options = PagerOptions

    async def send(self, notification, ctx):
        pass

@hookimpl
def notifyd_channels():
    return [Pager]
'''


@pytest.fixture
def dropped_in(site: Site, tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "pager.py").write_text(PAGER)
    (folder / "broken.py").write_text("import nowhere\n")
    site.write(sources=[], notifications=[], daemon={"plugins_dir": "plugins"})
    return folder


def test_all_of_them(dropped_in: Path, notifyd: Notifyd) -> None:
    answer = notifyd("plugins", "--json")
    found = {(item["kind"], item["name"]): item for item in answer.items}
    assert {
        ("channel", "webhook"),
        ("channel", "slack"),
        ("channel", "email"),
        ("filter", "min_severity"),
    } <= found.keys()
    assert found["channel", "pager"]["origin"] == str(dropped_in / "pager.py")
    assert found["channel", "pager"]["doc"] == "Rings a pager."
    (problem,) = answer.json["problems"]
    assert problem["origin"] == str(dropped_in / "broken.py")
    table = notifyd("plugins").stdout
    assert "Rings a pager." in table
    assert f"{dropped_in / 'broken.py'}: could not be loaded" in table


@pytest.mark.usefixtures("dropped_in")
def test_the_options_of_one(notifyd: Notifyd) -> None:
    (item,) = notifyd("plugins", "pager", "--json").items
    assert item["options"] == [
        {"name": "number", "type": "text", "default": None, "required": True, "secret": False, "description": None},
        {"name": "pin", "type": "secret text", "default": None, "required": False, "secret": True, "description": None},
        {
            "name": "loud",
            "type": "true or false",
            "default": "true",
            "required": False,
            "secret": False,
            "description": None,
        },
    ]
    assert "pager (channel): Rings a pager." in notifyd("plugins", "pager").stdout


def test_every_option_of_our_own_plugins_is_described(site: Site, notifyd: Notifyd) -> None:
    site.write(sources=[], notifications=[])
    for name in ("webhook", "slack", "email"):
        (item,) = notifyd("plugins", name, "--json").items
        assert all(option["description"] for option in item["options"]), name
    secrets = {
        option["name"]
        for name in ("webhook", "slack", "email")
        for option in notifyd("plugins", name, "--json").items[0]["options"]
        if option["secret"]
    }
    assert secrets >= {"url", "headers", "auth_token", "webhook_url", "smtp_password"}
    assert not secrets & {"method", "channel", "username", "smtp_host", "to_addresses"}


def test_a_filter_takes_a_value(site: Site, notifyd: Notifyd) -> None:
    site.write(sources=[], notifications=[])
    (item,) = notifyd("plugins", "min_severity", "--json").items
    assert [option["type"] for option in item["options"]] == ["info, warning, error or critical"]


@pytest.mark.usefixtures("dropped_in")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("webhok", 'no plugin is called "webhok"; did you mean "webhook"?'),
        ("broken", "broken cannot be used: "),
    ],
)
def test_one_that_there_is_not(notifyd: Notifyd, name: str, expected: str) -> None:
    answer = notifyd("plugins", name)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(expected)


def test_wrong_settings_hide_no_plugin(site: Site, dropped_in: Path, notifyd: Notifyd) -> None:
    """The message "unknown channel" sends people here."""
    site.file.write_text(site.file.read_text().replace("notifications = []", "") + '\n[[notifications]]\nnam = "x"\n')
    assert notifyd("check").exit_code == 2
    assert "Rings a pager." in notifyd("plugins").stdout


def test_a_file_that_is_no_toml_is_said(site: Site, notifyd: Notifyd) -> None:
    site.file.write_text("[[[")
    answer = notifyd("plugins")
    assert answer.exit_code == 2
    assert answer.stderr.startswith(f"{site.file}:1:")


def test_no_settings_file_at_all(tmp_path: Path) -> None:
    assert invoke("plugins", "--config", str(tmp_path / "nowhere.toml")).exit_code == 2


@pytest.mark.parametrize(
    ("kind", "text", "secret"),
    [
        (str, "text", False),
        (Annotated[str, Field(min_length=1)] | None, "text", False),
        (list[str], "list of text", False),
        (tuple[str, ...], "list of text", False),
        (dict[str, Secret], "table of secret text", True),
        (Mapping[str, int], "table of whole number", False),
        (SecretUrl, "secret URL", True),
        (Literal["POST", "PUT"], "POST or PUT", False),
        (Severity, "info, warning, error or critical", False),
        (Options, "table", False),
        (str | int, "text or whole number", False),
        (float, "number", False),
        (Any, "anything", False),
        (Path, "Path", False),
    ],
)
def test_types_in_words(kind: Any, text: str, secret: bool) -> None:
    assert (type_text(kind), holds_secret(kind)) == (text, secret)


@pytest.mark.usefixtures("dropped_in")
def test_an_example_for_the_settings_file(notifyd: Notifyd) -> None:
    (item,) = notifyd("plugins", "pager", "--json").items
    assert item["example"].splitlines() == [
        "[[notifications]]",
        'name = "my-pager"',
        'notification_type = "pager"',
        "",
        "[notifications.config]",
        'number = "…"',
        '# pin = { env = "PAGER_PIN" }',
        "# loud = true",
    ]
    table = notifyd("plugins", "pager").stdout
    assert all(line in table for line in item["example"].splitlines())


def test_the_examples_of_our_own_are_toml_with_every_key(site: Site, notifyd: Notifyd) -> None:
    site.write(sources=[], notifications=[])
    registry = discover(None)
    for kind, found in (("channel", registry.channels), ("filter", registry.filters)):
        for name, plugin in found.items():
            text = example_of(kind, plugin)
            tables = tomli.loads("\n".join(line.removeprefix("# ") for line in text.splitlines()))["notifications"]
            if kind == "channel":
                assert set(tables[0]["config"]) == set(plugin.cls.Options.model_fields), name
            else:
                assert set(tables["filters"]) == {name}
