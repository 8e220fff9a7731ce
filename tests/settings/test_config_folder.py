"""config/ is what admins copy from: every key is there, every default is true, every example works."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from notifyd.api import HttpOptions
from notifyd.core.classify import AUTH_WORDS, CONNECTION_WORDS, RATE_LIMIT_WORDS
from notifyd.plugin_host import Registry, discover
from notifyd.settings import default_config_text, json_schema, load
from notifyd.settings.columns import Columns, StatusLists
from notifyd.settings.model import (
    ActionRule,
    ConsecutiveFailures,
    DaemonSettings,
    Delivery,
    Group,
    HeartbeatSettings,
    HttpSettings,
    NotificationTable,
    PatternRule,
    SecuritySettings,
    SourceSettings,
    TemplateTable,
)
from tests.examples import examples
from tests.settings.folders import Folder

CONFIG = Path(__file__).parents[2] / "config"
README = (CONFIG / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted((CONFIG / "examples").glob("*.toml"))
SNIPPETS = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
MODELS = [
    DaemonSettings,
    HttpSettings,
    SourceSettings,
    Columns,
    StatusLists,
    ConsecutiveFailures,
    PatternRule,
    ActionRule,
    NotificationTable,
    Group,
    Delivery,
    TemplateTable,
    SecuritySettings,
    HeartbeatSettings,
]


def uncommented() -> str:
    """notifyd.toml as if someone had removed the # of every key and table in it."""
    return re.sub(r"^#(?=[^ #\n])", "", default_config_text(), flags=re.MULTILINE)


@cache
def ours() -> Registry:
    return discover(None)


@pytest.fixture
def site(folder: Folder) -> Folder:
    """A folder where every secret that the files of config/ mention can be fetched."""
    folder.environ["CREDENTIALS_DIRECTORY"] = str(folder.path)
    for text in [uncommented(), *SNIPPETS, *(path.read_text(encoding="utf-8") for path in EXAMPLES)]:
        folder.environ |= dict.fromkeys(re.findall(r'env = "(\w+)"', text), "https://example.com")
        for name in re.findall(r'credential = "(\w+)"', text):
            (folder.path / name).write_text("s3cret" * 6)
    folder.environ["NIGHTLY_DB"] = "sqlite:////srv/nightly.db"
    (folder.path / "ticketing_signing").write_text("whsec_" + "c2VjcmV0" * 4)
    (folder.path / "credentials").mkdir()
    (folder.path / "credentials/ticketing_token").write_text("s3cret")
    write_certificates(folder.path / "tls")
    return folder


def write_certificates(tls: Path) -> None:
    tls.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tls / "ca.pem")
    server = authority.issue_cert("notifyd.example.com")
    server.cert_chain_pems[0].write_to_path(tls / "server.pem")
    server.private_key_pem.write_to_path(tls / "server.key")
    client = authority.issue_cert("client@example.com")
    client.cert_chain_pems[0].write_to_path(tls / "client.pem")
    client.private_key_pem.write_to_path(tls / "client.key")


# notifyd.toml


def test_the_default_file_asks_for_nothing(folder: Folder) -> None:
    assert all(line.startswith("#") for line in default_config_text().splitlines() if line)
    assert folder.problems(default_config_text()) == []


def test_every_key_of_the_default_file_is_valid(site: Folder) -> None:
    assert site.problems(moved(site, uncommented())) == []


SETTABLE = [number for number, line in enumerate(uncommented().splitlines()) if re.match(r"\w+ = ", line)]
VALUES = [
    "1",
    "-1",
    "1.5",
    "nan",
    "true",
    '""',
    '"x"',
    '"\\u0000"',
    "2026-11-24",
    "07:32:00",
    "[]",
    "[1]",
    '["x"]',
    "[[]]",
]
VALUES += ["{}", "{ x = 1 }", "[{}]", '{ env = "NONE" }', '{ column = "a" }', '"' + "9" * 400 + 'd"', '"("', "9" * 300]


@given(st.sampled_from(SETTABLE), st.sampled_from(VALUES) | st.just("#"))
@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_there_is_taken_or_explained(site: Folder, number: int, value: str) -> None:
    """A wrong value never ends in anything but problems, each with a line of the file."""
    lines = moved(site, uncommented()).splitlines()
    lines[number] = "" if value == "#" else f"{lines[number].partition(' = ')[0]} = {value}"
    for problem in site.problems("\n".join(lines)):
        line, _, text = problem.partition(": ")
        assert 0 < int(line) <= len(lines)
        assert text.isprintable()


def moved(site: Folder, text: str) -> str:
    """The text with the paths of an installation in the site's folder."""
    return text.replace("/etc/notifyd/", f"{site.path}/")


def tables(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The tables of the uncommented default file that are of this model."""
    file = tomli.loads(uncommented())
    sources, notifications = file["sources"], file["notifications"]
    return {
        DaemonSettings: [file["daemon"]],
        HttpSettings: [file["http"]],
        SourceSettings: sources,
        Columns: [source["columns"] for source in sources if "columns" in source],
        StatusLists: [source["statuses"] for source in sources if "statuses" in source],
        ConsecutiveFailures: [file["rules"]["consecutive_failures"]],
        PatternRule: file["rules"]["patterns"],
        ActionRule: file["rules"]["actions"],
        NotificationTable: notifications,
        Group: [config["group"] for config in notifications if "group" in config],
        Delivery: [config["delivery"] for config in notifications if "delivery" in config],
        TemplateTable: [config["template"] for config in notifications if "template" in config],
        SecuritySettings: [file["security"]],
        HeartbeatSettings: [file["heartbeat"]],
    }[model]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_there_is_stands_in_the_default_file(model: type[BaseModel]) -> None:
    there = {key for table in tables(model) for key in table}
    assert there == {field.alias or name for name, field in model.model_fields.items()}


def option_tables(channel: str) -> list[dict[str, Any]]:
    file = tomli.loads(uncommented())
    configs = [config["config"] for config in file["notifications"] if config["notification_type"] == channel]
    return [file["channels"].get(channel, {}), *configs]


@pytest.mark.parametrize("channel", ["email", "slack", "webhook"])
def test_every_option_of_our_channels_stands_in_the_default_file(channel: str) -> None:
    there = {key for table in option_tables(channel) for key in table}
    assert there | http_options(channel) == set(ours().channels[channel].cls.Options.model_fields)


def test_every_option_of_http_stands_in_the_default_file() -> None:
    assert set(HttpOptions.model_fields) <= {key for table in option_tables("webhook") for key in table}


def http_options(channel: str) -> set[str]:
    """The options that this channel has because it speaks HTTP."""
    return set(HttpOptions.model_fields) if issubclass(ours().channels[channel].cls.Options, HttpOptions) else set()


def test_every_filter_of_ours_stands_in_the_default_file() -> None:
    file = tomli.loads(uncommented())
    there = {key for config in file["notifications"] for key in config.get("filters", {})}
    assert there == set(ours().filters)


def test_the_lists_of_models_in_this_test_are_complete() -> None:
    tested = {model.__name__ for model in MODELS} | {"StatusLists"}
    definitions = whole_schema()["$defs"]
    tables = {name for name, schema in definitions.items() if schema.get("type") == "object"}
    plugins = {*ours().channels.values(), *ours().filters.values()}
    options = {one.cls.Options.__name__ for one in plugins if isinstance(one.cls.Options, type)}
    assert tables - tested == (options | {"RulesSettings", "QuietTime"}) & tables


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_default_in_the_default_file_is_true(model: type[BaseModel]) -> None:
    for key, default in defaults(model):
        assert default in [table[key] for table in tables(model) if key in table], key


@pytest.mark.parametrize("channel", ["email", "slack", "webhook"])
def test_every_default_of_an_option_is_true(channel: str) -> None:
    for key, default in defaults(ours().channels[channel].cls.Options):
        assert default in [table[key] for table in option_tables(channel) if key in table], key


def defaults(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    """Each key with its default as it is written; without those whose default is to be absent or empty."""
    for key, schema in properties(model).items():
        if schema.get("default"):
            yield key, schema["default"]


def properties(model: type[BaseModel]) -> dict[str, Any]:
    """What the JSON Schema says of each key of a model."""
    schemas: dict[str, Any] = whole_schema()["$defs"].get(model.__name__, model.model_json_schema())["properties"]
    return schemas


# The schema


@cache
def whole_schema() -> dict[str, Any]:
    """What the code says that the written one must be; each test that has a use for it, and each mark of the guide."""
    return json_schema()


def test_the_schema_is_up_to_date() -> None:
    written = json.loads((CONFIG / "notifyd.schema.json").read_text(encoding="utf-8"))
    command = "python -m notifyd.settings.schema > config/notifyd.schema.json"
    assert written == whole_schema(), f"the settings have changed; write the schema anew: {command}"


def test_the_schema_takes_what_notifyd_takes() -> None:
    validator = jsonschema.Draft202012Validator(whole_schema())
    for text in [uncommented(), default_config_text(), *SNIPPETS, *(path.read_text() for path in EXAMPLES)]:
        validator.validate(tomli.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "demon = {}",
        'daemon.log_level = "loud"',
        'daemon.retention = "90 days"',
        "http.listen = 8321",
        'sources = [{ name = "a", url = "sqlite:////a.db" }]',
        'sources = [{ name = "a", url = { evn = "A" }, preset = "easysale" }]',
        'sources = [{ name = "a", url = "b", preset = "easysale", columns = { keys = "id" } }]',
        'notifications = [{ name = "a" }]',
        'notifications = [{ name = "a", notification_type = "slack", config = { chanel = "#a" } }]',
        'notifications = [{ name = "a", notification_type = "slack", filters = { connectors = [] } }]',
        'channels.email.smtp_port = "25"',
    ],
)
def test_the_schema_refuses_what_notifyd_refuses(folder: Folder, text: str) -> None:
    assert not jsonschema.Draft202012Validator(whole_schema()).is_valid(tomli.loads(text))
    assert folder.problems(text)


def test_the_schema_leaves_room_for_the_plugins_of_others(with_pager: Folder) -> None:
    text = """
        daemon.plugins_dir = "plugins"
        [[notifications]]
        name = "night"
        notification_type = "pager"
        config.number = 7
        filters.office_hours = { begin = 22, end = 6 }
        """
    jsonschema.Draft202012Validator(whole_schema()).validate(tomli.loads(text))
    assert with_pager.problems(text) == []


# The examples and the guide


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_works(site: Folder, path: Path) -> None:
    loaded = load(path, environ=site.environ)
    assert loaded.sources
    assert loaded.notifications


@pytest.mark.parametrize("text", SNIPPETS, ids=[text.splitlines()[0] for text in SNIPPETS])
def test_a_snippet_of_the_guide_works(site: Folder, text: str) -> None:
    assert site.problems(text) == []


def test_the_problems_that_the_guide_shows_are_real(folder: Folder) -> None:
    shown = re.search(r"```text\n(.*?)```", README, re.DOTALL)
    assert shown
    text = SNIPPETS[0].replace("preset", 'poll = "5 minutes"\npreset') + 'chanel = "#ops"\n'
    assert [f"notifyd.toml:{line}" for line in folder.problems(text)] == shown[1].splitlines()


def guide_tables() -> Iterator[tuple[str, str]]:
    """What the guide must say at each of its marks."""
    for model in MODELS:
        yield f"<!-- keys: {model.__name__} -->", table_of(model)
    for channel in ("email", "slack", "webhook"):
        options = ours().channels[channel].cls.Options
        yield f"<!-- options: {channel} -->", table_of(options, without=http_options(channel))
    yield "<!-- options: http -->", table_of(HttpOptions)
    rows = [f"| `{name}` | {registered.doc} |" for name, registered in ours().filters.items()]
    yield "<!-- words -->", table_of_words()
    yield "<!-- filters -->", "\n".join(["| filter | lets pass |", "|---|---|", *rows])


def table_of_words() -> str:
    """What texts are taken for, in the order in which it is looked for."""
    kinds = {
        "`rate_limit`, a warning": RATE_LIMIT_WORDS,
        "`sync_error`, an error, with the advice to renew the credentials": AUTH_WORDS,
        "`connection_failure`, critical": CONNECTION_WORDS,
    }
    rows = [f"| {', '.join(words)} | {kind} |" for kind, words in kinds.items()]
    return "\n".join(
        ["| a text with such words | is a |", "|---|---|", *rows, "| anything else | `sync_error`, an error |"]
    )


def table_of(model: type[BaseModel], without: Collection[str] = ()) -> str:
    rows = [
        f"| `{key}` | {default} | {description} |"
        for key, default, description in described(model)
        if key not in without
    ]
    return "\n".join(["| key | default | what it is |", "|---|---|---|", *rows])


def described(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    schemas = properties(model)
    for name, field in model.model_fields.items():
        key = field.alias or name
        default = schemas[key].get("default")
        shown = "required" if field.is_required() else f"`{json.dumps(default)}`" if default not in (None, "") else ""
        assert field.description or field.default is PydanticUndefined, key
        yield (
            key,
            shown,
            (field.description or schemas[key].get("description", "")).replace("|", "\\|").replace("<", "\\<"),
        )


@pytest.mark.parametrize(("mark", "table"), [pytest.param(*one, id=one[0]) for one in guide_tables()])
def test_the_guide_has_every_key(mark: str, table: str) -> None:
    _, found, after = README.partition(f"{mark}\n")
    assert found, f"config/README.md lacks the mark {mark}"
    assert after.startswith(f"{table}\n"), f"in config/README.md, what follows {mark} must be:\n{table}"
