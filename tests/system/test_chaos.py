"""Every fault of an endpoint against every channel, in one daemon. The bench does it both ways, and at length."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

from notifyd.errors import NotifydError
from tests.system.chaos import Chaos
from tests.system.site import Site


async def test_every_fault_ends_as_documented_and_no_secret_comes_to_light(tmp_path: Path):
    chaos = Chaos(tmp_path, fast=True)
    await chaos.run()
    assert chaos.wrong == []
    assert chaos.leaks == []
    assert chaos.imbalances == []


@pytest.mark.parametrize(
    ("channel", "options"),
    [
        ("webhook", {"url": "ftp://example.com/s3cret-s3cret"}),
        ("webhook", {"url": "http://ann:s3cret-s3cret@exa mple.com/"}),
        ("webhook", {"url": "https://example.com:99999/s3cret-s3cret"}),
        ("webhook", {"url": ["https://example.com/s3cret-s3cret"]}),
        ("webhook", {"url": "https://ann:s3cret-s3cret@example.com/", "auth_token": "s3cret-s3cret"}),
        ("webhook", {"url": "https://example.com/", "auth_token": "s3cret-s3cret\r\nX-A: b"}),
        ("webhook", {"url": "https://example.com/", "auth_token": {"is": "s3cret-s3cret"}}),
        ("webhook", {"url": "https://example.com/", "headers": {"X-Key": "s3cret-s3cret\n"}}),
        ("webhook", {"url": "https://example.com/", "headers": {"X-Key": ["s3cret-s3cret"]}}),
        ("webhook", {"url": "https://example.com/", "signing_secrets": ["whsec_s3cret-s3cret"]}),
        ("webhook", {"url": "https://example.com/", "signing_secrets": "s3cret-s3cret"}),
        ("webhook", {"url": "https://example.com/", "password": "s3cret-s3cret"}),
        ("webhook", {"url": "https://example.com/", "proxy": "socks5://ann:s3cret-s3cret@example.com"}),
        ("webhook", {"url": "https://example.com/", "pasword": "s3cret-s3cret"}),
        ("slack", {"webhook_url": "hooks.slack.com/services/s3cret-s3cret"}),
        ("apprise", {"url": "tgram://s3cret-s3cret"}),
        ("apprise", {"url": "nosuch://s3cret-s3cret/x"}),
        ("email", {"smtp_host": "https://ann:s3cret-s3cret@example.com", "from_address": "a@b.example"}),
        ("email", {"smtp_host": "example.com", "smtp_password": "s3cret-s3cret"}),
        ("email", {"smtp_host": "example.com", "smtp_username": "ann", "smtp_password": ["s3cret-s3cret"]}),
    ],
)
@pytest.mark.filterwarnings("ignore:.* is deprecated and slated for removal:DeprecationWarning")  # by Apprise
def test_bad_settings_are_told_without_their_secrets(channel: str, options: dict[str, Any], site: Site):
    config = {"name": "ops", "notification_type": channel, "config": options}
    site.write(sources=[], notifications=[config])
    with pytest.raises(NotifydError) as caught:
        site.settings()
    told = "".join(traceback.format_exception(caught.value))
    assert f"{site.file}:" in str(caught.value)
    assert "s3cret-s3cret" not in told
