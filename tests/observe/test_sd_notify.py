"""sd_notify(3), against a real datagram socket in systemd's place."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from notifyd.observe.sd_notify import notify


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would listen on, at tmp_path/notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def test_all_lines_go_in_one_datagram(systemd: socket.socket) -> None:
    notify("READY=1", "STATUS=3 sources – ok", environ={"NOTIFY_SOCKET": systemd.getsockname()})
    assert systemd.recv(4096).decode() == "READY=1\nSTATUS=3 sources – ok"


def test_the_address_is_read_from_the_environment(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
    notify("STOPPING=1")
    assert systemd.recv(4096) == b"STOPPING=1"


def test_an_abstract_socket_is_written_with_an_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("")  # Linux chooses a free abstract name
        listener.settimeout(5)
        name: bytes = listener.getsockname()
        notify("READY=1", environ={"NOTIFY_SOCKET": "@" + name[1:].decode()})
        assert listener.recv(4096) == b"READY=1"


def test_a_newline_in_a_status_begins_no_assignment_of_its_own(systemd: socket.socket) -> None:
    notify("STATUS=refused:\nMAINPID=1", environ={"NOTIFY_SOCKET": systemd.getsockname()})
    assert systemd.recv(4096) == b"STATUS=refused: MAINPID=1"


@pytest.mark.parametrize("address", [None, "", "/no/such/socket", "/" + "x" * 300, "vsock:2:1234"])
def test_nobody_listening_is_no_error(address: str | None) -> None:
    notify("READY=1", environ={} if address is None else {"NOTIFY_SOCKET": address})


def test_text_that_is_not_unicode_is_still_told(systemd: socket.socket) -> None:
    notify("STATUS=\udcff", environ={"NOTIFY_SOCKET": systemd.getsockname()})
    assert systemd.recv(4096) == b"STATUS=?"


def test_a_full_socket_holds_nobody(systemd: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                flood.sendto(b"STATUS=busy", systemd.getsockname())
    notify("READY=1", environ={"NOTIFY_SOCKET": systemd.getsockname()})
    assert systemd.recv(4096) == b"STATUS=busy"
