"""The pages of our plugins are what their models say, and their examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import tomli

from notifyd.cli.plugin_pages import pages

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
