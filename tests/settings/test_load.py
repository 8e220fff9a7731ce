"""What a right settings file becomes."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from notifyd.api import EventType, Secret, Severity
from notifyd.core.rules import Advice, Rules
from notifyd.model import Status
from notifyd.settings import Column, Columns, Cron, SourceSettings, default_state, load, sqlite_path, sqlite_url
from notifyd_plugins.email import EmailOptions
from tests.settings.folders import Folder

JOBS = """
[[sources]]
name = "jobs"
url = "sqlite:////srv/jobs.db"
table = "jobs"
columns = { key = "id", status = "state" }
statuses = { failure = ["error"] }
"""

HOOK = """
[[notifications]]
name = "hook"
notification_type = "webhook"
config = { url = "https://example.com/hook" }
"""


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing yet\n", "\ufeff# from a Windows editor\n"])
def test_a_blank_file_is_valid_and_asks_for_nothing(folder: Folder, text: str) -> None:
    settings = folder.load(text)
    assert (settings.sources, settings.notifications) == ((), ())
    assert settings.daemon.state == sqlite_url(folder.path / "notifyd.db")
    assert settings.daemon.plugins_dir is None
    assert (settings.daemon.log_level, settings.daemon.retention) == ("info", timedelta(days=90))
    assert settings.http.address == ("127.0.0.1", 8321)
    assert settings.rules.detection() == Rules()
    assert settings.path == folder.file
    assert {"slack", "email", "webhook"} <= settings.registry.channels.keys()


def test_daemon_http_and_security(folder: Folder) -> None:
    settings = folder.load(
        """
        [daemon]
        state = "sqlite:///state/notifyd.db"
        plugins_dir = "plugins"
        log_level = "debug"
        retention = "7d"
        [http]
        listen = "[::1]:0"
        [security]
        allow_private_targets = ["10.0.0.0/8", "fd00::/8", "192.168.1.5"]
        """
    )
    assert settings.daemon.state == sqlite_url(folder.path / "state/notifyd.db")
    assert settings.daemon.plugins_dir == folder.path / "plugins"
    assert settings.daemon.log_level == "debug"
    assert settings.daemon.retention == timedelta(days=7)
    assert settings.http.address == ("::1", 0)
    assert settings.security.allow_private_targets == tuple(
        map(ip_network, ("10.0.0.0/8", "fd00::/8", "192.168.1.5/32"))
    )


def test_http_can_be_off(folder: Folder) -> None:
    assert folder.load('http.listen = ""').http.address is None


@pytest.mark.parametrize(
    ("path", "environ", "state"),
    [
        ("/srv/notifyd.toml", {}, "/srv/notifyd.db"),
        ("/etc/notifyd/notifyd.toml", {}, "/var/lib/notifyd/notifyd.db"),
        ("/etc/notifyd/notifyd.toml", {"STATE_DIRECTORY": "/run/state"}, "/run/state/notifyd.db"),
        ("/srv/notifyd.toml", {"STATE_DIRECTORY": "/run/a:/run/b"}, "/run/a/notifyd.db"),
        ("/etcetera/notifyd.toml", {}, "/etcetera/notifyd.db"),
    ],
)
def test_where_the_state_is_by_default(path: str, environ: dict[str, str], state: str) -> None:
    assert sqlite_path(default_state(Path(path), environ)) == Path(state)


def test_a_relative_path_to_the_file_changes_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.load(JOBS.replace("sqlite:////srv/jobs.db", "sqlite:///jobs.db"))
    monkeypatch.chdir(folder.path)
    settings = load(Path("notifyd.toml"), environ={})
    assert settings.daemon.state == sqlite_url(folder.path / "notifyd.db")
    assert settings.sources[0].url.reveal() == sqlite_url(folder.path / "jobs.db")


def test_a_file_with_a_bit_of_everything(folder: Folder) -> None:
    """The example that the contract of the TOML is written as."""
    folder.environ["SLACK_WEBHOOK_URL"] = "https://hooks.example.com/T0/B0/s3cret"
    settings = folder.load(
        """
        [daemon]
        state = "sqlite:////var/lib/notifyd/notifyd.db"
        plugins_dir = "/etc/notifyd/plugins"
        log_level = "info"
        retention = "90d"

        [http]
        listen = "127.0.0.1:8321"

        [[sources]]
        name = "shop"
        url = "sqlite:////var/lib/easysale/easysale.db"
        preset = "easysale"
        poll = "1s"
        start = "now"
        timezone = "UTC"
        [sources.columns]
        key = "id"
        [sources.statuses]
        failure = ["error"]

        [rules]
        consecutive_failures = { threshold = 3, remind_every = "24h" }

        [channels.email]
        smtp_host = "mail.example.com"

        [[notifications]]
        name = "ops-slack"
        notification_type = "slack"
        enabled = true
        [notifications.config]
        webhook_url = { env = "SLACK_WEBHOOK_URL" }
        channel = "#sync-alerts"
        username = "EasySale Sync Monitor"
        [notifications.filters]
        min_severity = "warning"
        connectors = ["quickbooks", "woocommerce"]
        [notifications.group]
        window = "5m"
        by = ["event_type", "connector_id"]

        [security]
        allow_private_targets = ["10.0.0.0/8"]
        """
    )
    assert [source.name for source in settings.sources] == ["shop"]
    assert [config.name for config in settings.notifications] == ["ops-slack"]


# Sources


def test_a_source_with_a_mapping_of_its_own(folder: Folder) -> None:
    folder.environ["DB"] = "sqlite:////srv/shop.db"
    (source,) = folder.load(
        """
        [[sources]]
        name = "shop"
        id = "shop-2024"
        enabled = false
        url = { env = "DB" }
        query = "SELECT * FROM jobs"
        error_query = "SELECT text FROM errors WHERE run = :run_id"
        ignore = ["already running", '^\\d+ skipped$']
        rows = "runs"
        run_ends_after = "1h30m"
        poll = "*/5 * * * *"
        start = "24h"
        timezone = "America/Edmonton"
        [sources.columns]
        key = "rowid"
        run_id = "run"
        status = { column = "payload", json = "result.status" }
        message = { column = "payload" }
        details = { size = "bytes", host = { column = "payload", json = "host" } }
        [sources.statuses]
        success = ["ok", 0]
        failure = ["error", 1, -2]
        """
    ).sources
    assert (source.name, source.id, source.enabled) == ("shop", "shop-2024", False)
    assert source.url.reveal() == "sqlite:////srv/shop.db"
    assert source.columns == Columns(
        key=Column("rowid"),
        run_id=Column("run"),
        status=Column("payload", "result.status"),
        message=Column("payload"),
        details={"size": Column("bytes"), "host": Column("payload", "host")},
    )
    assert source.statuses == {
        "ok": Status.SUCCESS,
        "0": Status.SUCCESS,
        "error": Status.FAILURE,
        "1": Status.FAILURE,
        "-2": Status.FAILURE,
    }
    assert source.rows == "runs"
    assert source.run_ends_after == timedelta(minutes=90)
    assert source.poll == Cron("*/5 * * * *")
    assert source.start == timedelta(hours=24)
    assert source.timezone == ZoneInfo("America/Edmonton")
    assert [bool(pattern.found_in("Sync ALREADY RUNNING")) for pattern in source.ignore] == [True, False]


def test_what_a_source_is_by_default(folder: Folder) -> None:
    (source,) = folder.load(JOBS).sources
    assert (source.id, source.enabled, source.rows) == ("jobs", True, "runs")
    assert (source.poll, source.start, source.timezone) == (timedelta(seconds=1), "now", ZoneInfo("UTC"))
    assert (source.run_ends_after, source.ignore) == (timedelta(minutes=10), ())


def test_a_log_with_a_run_id_is_one_of_records(folder: Folder) -> None:
    (source,) = folder.load(JOBS.replace('key = "id"', 'key = "id", run_id = "run"')).sources
    assert source.rows == "records"


def test_details_may_be_a_list(folder: Folder) -> None:
    (source,) = folder.load(JOBS.replace('key = "id"', 'key = "id", details = ["host", "size"]')).sources
    assert source.columns.details == {"host": Column("host"), "size": Column("size")}


def test_a_source_can_be_made_in_code_as_well() -> None:
    source = SourceSettings(
        name="jobs",
        url=Secret("sqlite:////srv/jobs.db"),
        table="jobs",
        columns=Columns(key=Column("id"), status=Column("state"), run_id=Column("run")),
        statuses={"error": Status.FAILURE},
        poll=timedelta(milliseconds=100),
        timezone=ZoneInfo("UTC"),
    )
    assert (source.id, source.rows) == ("jobs", "records")


# Presets


def test_a_preset_gives_the_mapping(folder: Folder) -> None:
    (source,) = folder.load('sources = [{ name = "shop", url = "sqlite:////srv/x.db", preset = "easysale" }]').sources
    assert (source.table, source.query, source.rows) == ("sync_logs", None, "records")
    assert source.columns.key == Column("id")
    assert source.statuses["error"] is Status.FAILURE


def test_keys_of_ones_own_override_a_presets_one_by_one(folder: Folder) -> None:
    (source,) = folder.load(
        """
        [[sources]]
        name = "shop"
        url = "sqlite:////srv/x.db"
        preset = "easysale"
        query = "SELECT * FROM sync_logs WHERE tenant_id = 'a'"
        timezone = "America/Edmonton"
        [sources.columns]
        message = "error_details"
        [sources.statuses]
        failure = ["error", "warning"]
        """
    ).sources
    assert source.table is None
    assert source.timezone == ZoneInfo("America/Edmonton")
    assert (source.columns.message, source.columns.key) == (Column("error_details"), Column("id"))
    assert source.statuses == {"success": Status.SUCCESS, "error": Status.FAILURE, "warning": Status.FAILURE}


# Rules


def test_rules(folder: Folder) -> None:
    rules = folder.load(
        """
        [rules]
        consecutive_failures = { threshold = 5, remind_every = "0s" }
        [[rules.patterns]]
        matches = "stock level"
        connector = "woocommerce"
        event_type = "rate_limit"
        error_type = "stock"
        [[rules.patterns]]
        matches = "already running"
        event_type = "ignore"
        [[rules.actions]]
        connector = "quickbooks"
        event_type = "sync_error"
        actions = ["Call Ann", "Have tea"]
        runbook = "https://wiki.example.com/quickbooks"
        """
    ).rules.detection()
    assert (rules.threshold, rules.remind_every) == (5, None)
    stock, running = rules.patterns
    assert (stock.event_type, stock.connector, stock.error_type) == (EventType.RATE_LIMIT, "woocommerce", "stock")
    assert stock.matches.found_in("Bad STOCK LEVEL")
    assert running.event_type is None
    assert rules.advice == (
        Advice(("Call Ann", "Have tea"), "https://wiki.example.com/quickbooks", "quickbooks", EventType.SYNC_ERROR),
    )


# Notifications


def test_a_notification_config(folder: Folder) -> None:
    (config,) = folder.load(
        """
        [[notifications]]
        name = "ops-slack"
        notification_type = "slack"
        enabled = false
        system = true
        timeout = "10s"
        [notifications.config]
        webhook_url = "https://hooks.example.com/T0/B0/s3cret"
        channel = "#sync-alerts"
        [notifications.filters]
        min_severity = "warning"
        connectors = ["quickbooks", "woocommerce"]
        event_types = ["sync_error"]
        [notifications.group]
        window = "0s"
        by = []
        """
    ).notifications
    assert (config.name, config.notification_type) == ("ops-slack", "slack")
    assert (config.enabled, config.system, config.timeout) == (False, True, timedelta(seconds=10))
    assert config.options.webhook_url.reveal() == "https://hooks.example.com/T0/B0/s3cret"  # type: ignore[attr-defined]
    assert config.filters == {
        "min_severity": Severity.WARNING,
        "connectors": ["quickbooks", "woocommerce"],
        "event_types": [EventType.SYNC_ERROR],
    }
    assert (config.group.window, config.group.by) == (timedelta(), ())
    assert config.where == f"{folder.file}:2"
    assert "s3cret" not in repr(config)


def test_what_a_config_is_by_default(folder: Folder) -> None:
    (config,) = folder.load(HOOK).notifications
    assert (config.enabled, config.system, config.timeout) == (True, False, timedelta(seconds=30))
    assert (config.group.window, config.group.by) == (timedelta(minutes=5), ("event_type", "connector_id"))
    assert config.filters == {}


def test_options_of_the_channel_lie_beneath_those_of_each_config(folder: Folder) -> None:
    ops, dev = folder.load(
        """
        [channels.email]
        smtp_host = "mail.example.com"
        from_address = "notifyd@example.com"
        [[notifications]]
        name = "ops"
        notification_type = "email"
        config = { to_addresses = ["ops@example.com"] }
        [[notifications]]
        name = "dev"
        notification_type = "email"
        config = { to_addresses = ["dev@example.com"], from_address = "dev@example.com" }
        """
    ).notifications
    assert isinstance(ops.options, EmailOptions)
    assert isinstance(dev.options, EmailOptions)
    assert (ops.options.smtp_host, ops.options.from_address) == ("mail.example.com", "notifyd@example.com")
    assert (dev.options.smtp_host, dev.options.from_address) == ("mail.example.com", "dev@example.com")


def test_the_type_may_be_repeated_as_in_the_api(folder: Folder) -> None:
    (config,) = folder.load(HOOK.replace("{ url", '{ type = "Webhook", url')).notifications
    assert config.notification_type == "webhook"


def test_a_drop_in_plugin_is_as_good_as_any(with_pager: Folder) -> None:
    (config,) = with_pager.load(
        """
        daemon.plugins_dir = "plugins"
        [[notifications]]
        name = "night"
        notification_type = "pager"
        filters.office_hours = { begin = 22, end = 6 }
        [notifications.config]
        number = 7
        either = ["a"]
        since = 2026-11-24
        words = ["x"]
        volume = 2
        login = { as = "me", password = "pw" }
        """
    ).notifications
    options = config.options.model_dump()
    assert (options["number"], options["either"], options["words"], options["volume"]) == (7, ["a"], ("x",), 2.0)
    assert str(options["since"]) == "2026-11-24"
    assert config.filters["office_hours"].begin == 22


# Secrets


@pytest.fixture
def elsewhere(folder: Folder) -> str:
    """Settings whose secrets are elsewhere, and the secrets."""
    (folder.path / "token").write_text("s3cret-file\n")
    (folder.path / "credentials").mkdir()
    (folder.path / "credentials/notifyd_key").write_text("s3cret-credential")
    folder.environ |= {"HOOK": "https://s3cret-env.example.com", "CREDENTIALS_DIRECTORY": f"{folder.path}/credentials"}
    return """
        [[notifications]]
        name = "hook"
        notification_type = "webhook"
        [notifications.config]
        url = { env = "HOOK" }
        auth_token = { file = "token" }
        headers = { "X-Key" = { credential = "key" } }
    """


def test_secrets_are_fetched_and_not_shown(folder: Folder, elsewhere: str) -> None:
    settings = folder.load(elsewhere)

    revealed = settings.notifications[0].options
    assert revealed.url.reveal() == "https://s3cret-env.example.com"  # type: ignore[attr-defined]
    assert revealed.auth_token.reveal() == "s3cret-file"  # type: ignore[attr-defined]
    assert revealed.headers["X-Key"].reveal() == "s3cret-credential"  # type: ignore[attr-defined]
    assert "s3cret" not in repr(settings)


def test_without_secrets_they_stay_where_they_are(folder: Folder, elsewhere: str) -> None:
    folder.environ.clear()
    options = folder.load(elsewhere, secrets=False).notifications[0].options
    assert not options.url.resolved  # type: ignore[attr-defined]
    with pytest.raises(LookupError):
        options.auth_token.reveal()  # type: ignore[attr-defined]


def test_a_source_whose_url_is_unresolved(folder: Folder) -> None:
    text = JOBS.replace('"sqlite:////srv/jobs.db"', '{ env = "NONE" }')
    (source,) = folder.load(text, secrets=False).sources
    assert not source.url.resolved


def test_outside_of_the_unit_credentials_are_listed_as_not_checked(folder: Folder, elsewhere: str) -> None:
    del folder.environ["CREDENTIALS_DIRECTORY"]
    settings = folder.load(elsewhere, outside_unit=True)
    (problem,) = settings.not_checked
    assert (problem.line, problem.key) == (8, 'notifications["hook"].config.headers.X-Key')
    assert problem.text == "the credential key is not checked here: systemd hands it only to the unit"
    assert settings.notifications[0].options.auth_token.resolved  # type: ignore[attr-defined]


def test_inside_of_the_unit_they_are_checked(folder: Folder, elsewhere: str) -> None:
    settings = folder.load(elsewhere, outside_unit=True)
    assert settings.not_checked == ()
    assert settings.notifications[0].options.headers["X-Key"].resolved  # type: ignore[attr-defined]
