"""/configs: secrets are never shown, go nowhere else, and are sealed with the admin's key."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from notifyd.settings.masks import MASK
from notifyd.store.database import StoreError
from tests.sinks.http import HttpSink
from tests.system.site import Site, webhook
from tests.web.conftest import SLACK, Api, Serving, hook

# -- secrets -----------------------------------------------------------------------------------------


def with_secrets(sink: HttpSink) -> dict[str, Any]:
    return hook(sink.url + "/SECRET-path", config={
        "url": sink.url + "/SECRET-path",
        "headers": {"X-Key": "SECRET-header"},
        "auth_token": "SECRET-token",
        "signing_secrets": ["whsec_" + "U0VDUkVU" * 4],
    })  # fmt: skip


async def test_a_secret_is_never_shown_nor_kept_in_clear(api: Api, sink: HttpSink, site: Site, said: Any) -> None:
    made = await api.make(**with_secrets(sink))
    await api.patch(f"/configs/{made['id']}", {"config": {"auth_token": "SECRET-other"}})
    sink.answer = 500
    await api.post(f"/configs/{made['id']}/test", status=502)
    shown = ["/configs", f"/configs/{made['id']}", "/history", "/events", "/deliveries", "/audit", "/status"]
    texts = [(await api.ask("GET", path)).text for path in shown]
    texts += [path.read_bytes().decode("latin-1") for path in site.folder.iterdir() if path.name.startswith("state.db")]
    texts.append(str(said("")))
    for text in texts:
        assert "SECRET" not in text
        assert "U0VDUkVU" not in text
    assert sink.requests[0].headers["authorization"] == "Bearer SECRET-other"  # and yet it has them


async def test_a_mask_keeps_its_secret(api: Api, sink: HttpSink) -> None:
    made = await api.make(**with_secrets(sink))
    put = await api.put(f"/configs/{made['id']}", {**made, "timeout": "3s"})
    assert put["config"]["headers"] == {"X-Key": MASK}
    longer = {**made["config"], "signing_secrets": [MASK, "whsec_" + "bmV3" * 8]}
    await api.put(f"/configs/{made['id']}", {**made, "config": longer})
    await api.post(f"/configs/{made['id']}/test")
    request = sink.requests[0]
    assert (request.path, request.headers["x-key"]) == ("/SECRET-path", "SECRET-header")
    assert len(request.headers["webhook-signature"].split()) == 2


ELSEWHERE = ["http://127.0.0.1:1/x", "https://127.0.0.1:{port}/x", "http://evil.example.com:{port}/x"]


async def test_a_mask_does_not_send_a_secret_elsewhere(api: Api, sink: HttpSink) -> None:
    """Another scheme, host or port: whoever changes the target has to know the secret."""
    made = await api.make(**with_secrets(sink))
    for url in ELSEWHERE:
        config = {**made["config"], "url": url.format(port=sink.port)}
        for problem in (
            await api.put(f"/configs/{made['id']}", {**made, "config": config}, 422),
            await api.patch(f"/configs/{made['id']}", {"config": {"url": config["url"]}}, 422),
            await api.post("/test", {**made, "config": config}, 422),
        ):
            pointers = {error["pointer"] for error in problem["errors"]}
            assert pointers == {"#/config/headers/X-Key", "#/config/auth_token", "#/config/signing_secrets/0"}
            assert "must be given again" in problem["detail"]
    assert sink.requests == []
    same = {**made["config"], "url": f"{sink.url}/another-path"}
    await api.put(f"/configs/{made['id']}", {**made, "config": same})


async def test_a_mask_without_a_secret_behind_it_is_refused(api: Api, sink: HttpSink) -> None:
    made = await api.make(**with_secrets(sink))
    masked = {**SLACK, "config": {"webhook_url": MASK}}
    for problem in (
        await api.post("/configs", masked, 422),
        await api.put(f"/configs/{made['id']}", masked, 422),  # that was another channel's
    ):
        assert problem["errors"][0]["pointer"] == "#/config/webhook_url"
    for part in (f"{MASK}x", f"https://x.example/{MASK}"):
        problem = await api.patch(f"/configs/{made['id']}", {"config": {"url": part}}, 422)
        assert problem["errors"][0]["pointer"] == "#/config/url"
        assert "not for a part" in problem["detail"]
    shorter = {**made["config"], "signing_secrets": []}
    await api.put(f"/configs/{made['id']}", {**made, "config": shorter})
    problem = await api.put(f"/configs/{made['id']}", made, 422)
    assert problem["errors"][0]["pointer"] == "#/config/signing_secrets/0"


async def test_of_a_list_that_got_shorter_nobody_knows_which_secret_is_meant(api: Api, sink: HttpSink) -> None:
    two = ["whsec_" + "b25l" * 8, "whsec_" + "dHdv" * 8]
    made = await api.make(**hook(sink.url, config={"url": sink.url, "signing_secrets": two}))
    await api.patch(f"/configs/{made['id']}", {"config": {"signing_secrets": [MASK]}}, 422)
    await api.patch(f"/configs/{made['id']}", {"config": {"signing_secrets": two[1:]}})


async def test_the_admins_shared_secrets_stay_with_the_admins_target(
    write: Any, serving: Serving, sink: HttpSink
) -> None:
    """[channels.email] has the company's server and its password; whoever names another server gets neither."""
    shared = {
        "smtp_host": "mail.example.com",
        "smtp_username": "us",
        "smtp_password": "SECRET",
        "from_address": "n@example.com",
    }
    write(webhook("ops", sink.url), channels={"email": shared})
    async with serving() as api:
        own = {"notification_type": "email", "config": {"to_addresses": ["o@example.com"]}}
        made = await api.make(**own)
        assert made["config"] == own["config"]  # what is shared is not returned
        evil = {**own, "config": {**own["config"], "smtp_host": "evil.example.com"}}
        problem = await api.post("/configs", evil, 422)
        assert "the secrets under [channels.email] stay with it" in problem["detail"]
        await api.patch(f"/configs/{made['id']}", {"config": {"smtp_host": "evil.example.com"}}, 422)


# -- the key -----------------------------------------------------------------------------------------

KEYS = ["0123456789abcdef" * 2, "fedcba9876543210" * 2]


async def test_a_wrong_key_is_refused_at_the_start(write: Any, serving: Serving, sink: HttpSink, site: Site) -> None:
    for key in (KEYS[0], None):  # the settings', and the one in the file
        write(security={"key": key} if key else {})
        async with serving() as api:
            await api.make(**hook(sink.url, f"sealed with {key}"))
        write(security={"key": KEYS[1]})
        with pytest.raises(
            StoreError, match=r"cannot be read: the key in \[security\] key is not the one .* put that key back"
        ):
            async with serving():
                pass
        for file in (site.state, site.state.with_name("state.db.lock")):  # which remembers that there was one
            file.unlink()


async def test_a_lost_key_can_be_given_up_as_the_guide_says(
    write: Any, serving: Serving, sink: HttpSink, site: Site
) -> None:
    write()
    async with serving() as api:
        await api.make(**hook(sink.url, "lost"))
    (key,) = site.folder.glob("*.key")
    key.unlink()
    with pytest.raises(StoreError, match="which is gone; put it back"):
        async with serving():
            pass
    guide = (Path(__file__).parents[2] / "config" / "README.md").read_text(encoding="utf-8")
    (statement,) = re.findall(r'sqlite3 notifyd.db "(UPDATE .*?)"', guide, re.DOTALL)
    with closing(sqlite3.connect(site.state)) as connection, connection:
        connection.execute(statement)
    async with serving() as api:
        assert (await api.get("/configs"))["items"] == []
        await api.make(**hook(sink.url, "new"))


async def test_no_secret_needs_no_key(write: Any, serving: Serving, site: Site) -> None:
    """A daemon without a config of the API makes none."""
    write()
    async with serving() as api:
        await api.get("/configs")
    assert list(site.folder.glob("*.key")) == []
