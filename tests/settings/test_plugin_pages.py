"""The pages of our plugins are what their models say, and their examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli

from notifyd.cli.plugin_pages import pages
from notifyd.settings import load

FOLDER = Path(__file__).parents[2] / "config" / "plugins"
COMMAND = "python -m notifyd.cli.plugin_pages config/plugins"


def test_the_pages_are_up_to_date() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert written == pages(), f"the plugins have changed; write their pages anew: {COMMAND}"


def test_every_plugin_has_a_page_with_an_example_that_is_toml() -> None:
    for name, page in pages().items():
        examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
        assert len(examples) == (name != "README.md"), name
        for example in examples:
            tomli.loads(example)
            tomli.loads(re.sub("^# ", "", example, flags=re.MULTILINE))


SECRETS = {
    "APPRISE_URL": "json://hooks.example.com/a-secret-path",
    "DISCORD_WEBHOOK_URL": "https://discord.com/api/webhooks/1/a-secret-token",
    "NTFY_TOPIC": "a-secret-topic",
    "PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.com/services/T000/B000/XXXX",
    "TEAMS_URL": "https://example.webhook.office.com/a-secret-path",
    "TEAMS_WEBHOOK_URL": "https://example.webhook.office.com/a-secret-path",
    "TELEGRAM_BOT_TOKEN": "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11",
    "WEBHOOK_URL": "https://hooks.example.com/a-secret-path",
}
AROUND = """[[notifications]]
name = "ops"
notification_type = "webhook"
config.url = "https://hooks.example.com/"
"""


@pytest.mark.filterwarnings("ignore:.* is deprecated and slated for removal:DeprecationWarning")
@pytest.mark.parametrize("name", sorted(pages().keys() - {"README.md"}))
def test_the_example_of_a_page_is_right_as_it_stands(name: str, tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", pages()[name], re.DOTALL)
    file = tmp_path / "notifyd.toml"
    file.write_text(example if "[[notifications]]" in example else AROUND + example)
    assert len(load(file, environ=SECRETS).notifications) == 1
