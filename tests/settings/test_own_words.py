"""Words of a config's own, as they come out of the settings."""

from __future__ import annotations

from notifyd.render import Template
from tests.settings.folders import Folder

HOOK = """
[[notifications]]
name = "hook"
notification_type = "webhook"
config.url = "https://example.com/hook"
"""


def test_a_template_is_handed_on_as_it_was_written(folder: Folder) -> None:
    [hook] = folder.load(f'{HOOK}template = {{ title = "{{{{ event.id }}}}", body = "  a  " }}').notifications
    assert hook.template == Template("{{ event.id }}", "  a  ")


def test_without_one_there_is_none(folder: Folder) -> None:
    [hook] = folder.load(HOOK).notifications
    assert hook.template == Template(None, None)


def test_a_public_address_ends_without_a_slash(folder: Folder) -> None:
    assert folder.load("").http.public_url is None
    for written in ("https://notifyd.example.com", "https://notifyd.example.com/"):
        assert folder.load(f'http.public_url = "{written}"').http.public_url == "https://notifyd.example.com"
    assert folder.load('http.public_url = "http://a:8321/b/"').http.public_url == "http://a:8321/b"
