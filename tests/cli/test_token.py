"""`notifyd token`: made, listed and revoked, beside a daemon or before there is one."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest

from notifyd.store.lock import Lock
from tests.cli.conftest import Notifyd, hook, invoke
from tests.system.site import Site

ALL = ("--permission", "manage_settings")


@pytest.fixture(autouse=True)
def settings(site: Site) -> None:
    site.write(sources=[], notifications=[hook("ops")], http={"listen": "127.0.0.1:0"})


def test_a_token_is_printed_alone_and_this_once(notifyd: Notifyd, site: Site) -> None:
    made = notifyd("token", "create", "--name", "ci", *ALL)
    assert (made.exit_code, made.stdout.count("\n")) == (0, 1)
    assert re.fullmatch(r"ntf_[\w-]{43}\n", made.stdout)
    assert "that is the token ci, which is shown this once" in made.stderr
    token = made.stdout.strip()
    assert token not in notifyd("token", "list").stdout
    assert token not in notifyd("token", "list", "--json").stdout
    assert token.encode() not in site.state.read_bytes()


def test_it_may_come_before_the_first_start(notifyd: Notifyd, site: Site) -> None:
    assert not site.state.exists()
    assert notifyd("token", "create", "--name", "ci", *ALL).exit_code == 0
    assert site.state.stat().st_mode & 0o077 == 0
    lock = Lock(site.state)
    assert lock.take()  # nobody holds it any more
    lock.release()


def test_the_others_make_no_state_db(notifyd: Notifyd, site: Site) -> None:
    for arguments in (["list"], ["revoke", "ci"]):
        answer = notifyd("token", *arguments)
        assert answer.exit_code == 1
        assert "there is no state DB" in answer.stderr
    assert not site.state.exists()


def test_they_are_listed_with_their_state(notifyd: Notifyd) -> None:
    for name, *more in (("old",), ("brief", "--expires", "1ms"), ("new", "--expires", "90d")):
        notifyd("token", "create", "--name", name, *ALL, *more)
    notifyd("token", "revoke", "old")
    listed = {each["name"]: each for each in notifyd("token", "list", "--json").items}
    assert {name: each["state"] for name, each in listed.items()} == {
        "new": "active",
        "brief": "expired",
        "old": "revoked",
    }
    assert listed["new"]["permissions"] == ["manage_settings"]
    assert (listed["old"]["expires_at"], listed["old"]["last_used_at"]) == (None, None)
    table = notifyd("token", "list").stdout
    assert re.search(r"new\s+active\s+manage_settings\s+\d{4}", table)


def test_nothing_is_there_yet(notifyd: Notifyd) -> None:
    notifyd("token", "create", "--name", "ci", *ALL)
    notifyd("token", "revoke", "ci")
    answer = notifyd("token", "revoke", "ci")
    assert (answer.exit_code, answer.stderr) == (1, 'there is no token "ci" to revoke\n')


def test_a_slip_of_the_pen_is_seen(notifyd: Notifyd) -> None:
    notifyd("token", "create", "--name", "deploy", *ALL)
    assert 'did you mean "deploy"?' in notifyd("token", "revoke", "depoly").stderr


def test_by_its_id_too(notifyd: Notifyd) -> None:
    made = notifyd("token", "create", "--name", "ci", *ALL, "--json").json
    assert made["token"].startswith("ntf_")
    assert notifyd("token", "revoke", made["id"]).exit_code == 0
    assert notifyd("token", "list", "--json").items[0]["state"] == "revoked"


def test_a_name_is_free_again_once_it_is_revoked(notifyd: Notifyd) -> None:
    assert notifyd("token", "create", "--name", "ci", *ALL).exit_code == 0
    again = notifyd("token", "create", "--name", "ci", *ALL)
    assert (again.exit_code, again.stdout) == (1, "")
    assert 'there is a token called "ci" already' in again.stderr
    notifyd("token", "revoke", "ci")
    assert notifyd("token", "create", "--name", "ci", *ALL).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["create"],
        ["create", "--name", "ci"],
        ["create", *ALL],
        ["create", "--name", "ci", "--permission", "everything"],
        ["create", "--name", "", *ALL],
        ["create", "--name", "a\nb", *ALL],
        ["create", "--name", "a" * 101, *ALL],
        ["create", "--name", "ci", *ALL, "--expires", "soon"],
        ["create", "--name", "ci", *ALL, "--expires", "0s"],
        ["revoke"],
        ["nope"],
    ],
    ids=str,
)
def test_wrong_use_is_exit_2(notifyd: Notifyd, site: Site, arguments: list[str]) -> None:
    answer = notifyd("token", *arguments) if arguments != ["nope"] else notifyd("token", "nope")
    assert answer.exit_code == 2
    assert not site.state.exists()


def test_that_the_api_is_off_is_said(notifyd: Notifyd, site: Site) -> None:
    site.write(sources=[], notifications=[])
    made = notifyd("token", "create", "--name", "ci", *ALL)
    assert made.exit_code == 0
    assert 'the API is off: http.listen is ""' in made.stderr


def test_the_trail_has_it(notifyd: Notifyd, site: Site) -> None:
    notifyd("token", "create", "--name", "ci", *ALL)
    notifyd("token", "revoke", "ci")
    with closing(sqlite3.connect(site.state)) as connection:
        trail = connection.execute("SELECT action, object_name, actor FROM audit ORDER BY id").fetchall()
    assert [(action, name) for action, name, _ in trail] == [("token.created", "ci"), ("token.revoked", "ci")]
    assert trail[0][2].endswith(" at the command line")


def test_help_names_all_three() -> None:
    said = invoke("token", "--help").stdout
    for command in ("create", "list", "revoke"):
        assert f" {command} " in said


def test_the_settings_file_may_come_first(site: Site) -> None:
    made = invoke("--config", str(site.file), "token", "create", "--name", "ci", *ALL)
    assert made.exit_code == 0, made.stderr
