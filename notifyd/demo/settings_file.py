"""The settings that the demonstration's daemon runs on: a file as anyone would write it."""

from __future__ import annotations

from pathlib import Path

WEBHOOK, SLACK, MAIL = CONFIGS = ("ops-webhook", "ops-slack", "accountant")
"""The names of the notification configs."""

WANTS = (
    "a webhook   is told everything",
    "Slack       is told of warnings and worse",
    "e-mail      is told of errors and worse, of QuickBooks alone",
)
"""What each of them is, in the words of the story."""

SOURCE = "shop"
"""The name of the source, and so its id."""

WINDOW = 3
"""Seconds that a group gathers; the default of five minutes would make a long demonstration."""

_TEXT = """\
# The settings of `notifyd demo`. Paths without a leading slash are beside this file.

[daemon]
state = "sqlite:///state.db"  # what notifyd remembers: events, deliveries, every attempt

[http]
listen = "127.0.0.1:{health_port}"  # GET /healthz and /readyz

[[sources]]
name = "{source}"
url = "sqlite:///sync-log.db"  # opened read-only
preset = "easysale"  # which column means what
start = "beginning"
poll = "200ms"  # default: 1s
run_ends_after = "1s"  # default: 10m; short, so that a recovery is seen soon

[rules]
consecutive_failures = {{ threshold = 3 }}  # failed runs in a row that raise the alarm

# Everything, as JSON
[[notifications]]
name = "ops-webhook"
notification_type = "webhook"
config = {{ url = "http://127.0.0.1:{http_port}/webhook" }}
group = {{ window = "{window}s" }}  # default: 5m

# Whatever is at least a warning
[[notifications]]
name = "ops-slack"
notification_type = "slack"
config = {{ webhook_url = "http://127.0.0.1:{http_port}/slack", channel = "#sync-alerts" }}
filters = {{ min_severity = "warning" }}
group = {{ window = "{window}s" }}

# The accountant wants to hear of QuickBooks alone, and of errors alone
[[notifications]]
name = "accountant"
notification_type = "email"
filters = {{ connectors = ["quickbooks"], min_severity = "error" }}
group = {{ window = "{window}s" }}
[notifications.config]
smtp_host = "127.0.0.1"
smtp_port = {smtp_port}
tls = "none"  # on loopback; the default is "starttls"
from_address = "Sync Monitor <notifyd@shop.example>"
to_addresses = ["accountant@shop.example"]
"""


def write(path: Path, *, http_port: int, smtp_port: int, health_port: int) -> None:
    """Write the file, for sinks and a health endpoint on these ports of loopback."""
    text = _TEXT.format(http_port=http_port, smtp_port=smtp_port, health_port=health_port, source=SOURCE, window=WINDOW)
    path.write_text(text, encoding="utf-8")
