"""Where it listens: an address, a socket, with TLS; and what it does not wait for."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import stat
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import uvicorn

from notifyd.daemon import Daemon
from notifyd.errors import NotifydError
from notifyd.right_of_way import LONGEST_WAIT
from notifyd.settings import HttpSettings
from notifyd.web.protocol import Protocol
from notifyd.web.server import HttpServer
from tests.loops.conftest import Clock, Said
from tests.system.site import Site
from tests.web.conftest import Api


async def health(transport: httpx.AsyncHTTPTransport, url: str = "http://notifyd") -> int:
    async with httpx.AsyncClient(transport=transport) as client:
        return (await client.get(f"{url}/healthz")).status_code


async def run(site: Site, clock: Clock) -> Daemon:
    daemon = Daemon(site.settings(), clock)
    await daemon.start()
    return daemon


async def test_a_unix_socket_for_its_group(site: Site, write: Any, clock: Clock) -> None:
    path = site.folder / "api.sock"
    write(http={"listen": f"unix:{path}"})
    daemon = await run(site, clock)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert await health(httpx.AsyncHTTPTransport(uds=str(path))) == 200
    await daemon.stop()
    assert not path.exists()


async def test_a_socket_that_a_crash_left_is_replaced_and_somebodys_is_not(
    site: Site, write: Any, clock: Clock
) -> None:
    path = site.folder / "api.sock"
    write(http={"listen": f"unix:{path}"})
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    daemon = await run(site, clock)
    with pytest.raises(NotifydError, match=f"http.listen: unix:{path} cannot be used: .*; another program"):
        await HttpServer(daemon.server.app, daemon.settings.http, daemon.right_of_way).start()
    assert await health(httpx.AsyncHTTPTransport(uds=str(path))) == 200
    await daemon.stop()
    (site.folder / "file").write_text("not a socket")
    with pytest.raises(NotifydError, match="cannot be used"):
        await HttpServer(
            daemon.server.app, HttpSettings(listen=f"unix:{site.folder}/file"), daemon.right_of_way
        ).start()
    assert (site.folder / "file").read_text() == "not a socket"


@pytest.fixture
def certificates(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    server = authority.issue_cert("localhost")
    server.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    return authority


async def test_https(site: Site, write: Any, clock: Clock, certificates: trustme.CA) -> None:
    files = {"tls_cert": f"{site.folder}/server.pem", "tls_key": f"{site.folder}/server.key"}
    write(http=files)
    daemon = await run(site, clock)
    trust = ssl.create_default_context()
    certificates.configure_trust(trust)
    url = f"https://localhost:{daemon.server.port}"
    assert await health(httpx.AsyncHTTPTransport(verify=trust), url) == 200
    with pytest.raises(httpx.HTTPError):
        await health(httpx.AsyncHTTPTransport(), f"http://localhost:{daemon.server.port}")
    await daemon.stop()


async def test_a_certificate_that_has_gone_is_a_clear_refusal(
    site: Site, write: Any, clock: Clock, certificates: trustme.CA
) -> None:
    write(http={"tls_cert": f"{site.folder}/server.pem", "tls_key": f"{site.folder}/server.key"})
    settings = site.settings()
    (site.folder / "server.pem").unlink()
    with pytest.raises(NotifydError, match=r"http.tls_cert: .*server.pem cannot be read: no such file or directory"):
        await Daemon(settings, clock).start()


async def test_tokens_in_clear_are_warned_of(site: Site, write: Any, clock: Clock, said: Said) -> None:
    for listen, warned in (("127.0.0.1:0", 0), ("0.0.0.0:0", 1)):
        write(http={"listen": listen})
        daemon = await run(site, clock)
        await daemon.stop()
        assert len(said("tokens travel in clear")) == warned


async def test_off_is_off(site: Site, write: Any, clock: Clock) -> None:
    write(http={"listen": ""})
    daemon = await run(site, clock)
    assert not hasattr(daemon, "server")
    await daemon.stop()


async def test_an_answer_does_not_wait_for_the_network_to_be_sure(api: Api) -> None:
    """40 ms each, with Nagle's algorithm on one side and delayed acknowledgements on the other."""
    await api.get("/configs")
    connections = list(api.daemon.server._server.server_state.connections)
    assert connections
    for connection in connections:
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_head_is_get_without_its_body(api: Api) -> None:
    """On a connection that goes on: a body that came all the same would be taken for the next answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.daemon.server.port)
    for path in ("/readyz", "/api/openapi.json", "/api/notifications/configs", "/nowhere"):
        heads = []
        for method in ("GET", "HEAD", "HEAD"):
            request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\n\r\n"
            writer.write(request.encode())
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
            length = next(int(line.split()[1]) for line in lines if line.startswith("content-length"))
            if method == "GET":
                await reader.readexactly(length)
            heads.append([line for line in lines if not line.startswith("date:")])
        assert heads[0] == heads[1] == heads[2], path
        assert length > 0
    writer.close()


async def test_a_method_that_an_address_does_not_take(api: Api) -> None:
    answer = await api.ask("DELETE", "/configs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    answer = await api.ask("HEAD", "/test")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = await api.ask("DELETE", "/deliveries/retry")  # which could also be the id of a delivery
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


class Impatient(Protocol):
    slowest = 0.2


async def test_a_head_that_never_ends_is_given_up(api: Api) -> None:
    """With another patience than the daemon's, so that this takes no ten seconds."""
    config = uvicorn.Config(
        api.daemon.server.app, http=Impatient, log_config=None, lifespan="off", ws="none", timeout_keep_alive=1
    )
    config.load()
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(
        lambda: Impatient(config, server.server_state, {}, way=api.daemon.right_of_way), "127.0.0.1", 0
    )
    port = listening.sockets[0].getsockname()[1]
    async with asyncio.timeout(5):
        for start in (b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start)
            assert (b"200 OK" in await reader.read()) == (b"Host" in start)  # it ends, as the server hangs up
            writer.close()
    listening.close()


async def test_connections_that_say_nothing_keep_nobody_out(api: Api) -> None:
    """Neither those that never said anything, nor those that have asked once and are kept."""
    host, port = "127.0.0.1", api.daemon.server.port
    kept = []
    for number in range(300):
        reader, writer = await asyncio.open_connection(host, port)
        kept.append(writer)
        if number % 2:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await reader.readuntil(b"\r\n")
    assert (await api.ask("GET", "/status")).status_code == 200
    for writer in kept:
        writer.close()


async def test_a_request_waits_while_a_poll_is_at_work_but_not_for_long(api: Api, said: Said) -> None:
    """However it comes: in one piece, in two, behind another, and with a body."""
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"x" * 100_000
    post = b"POST /api/notifications/test HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    for pieces, expected in (([get], 1), ([get[:9], get[9:]], 1), ([get + get], 2), ([post, body], 1)):
        reader, writer = await asyncio.open_connection("127.0.0.1", api.daemon.server.port)
        begun = time.monotonic()
        with api.daemon.right_of_way.taken():
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.001)
            async with asyncio.timeout(5):
                for _ in range(expected):
                    status = await reader.readuntil(b"\r\n")
                    assert status.split()[1] == (b"401" if pieces[0] is post else b"200")
                    assert time.monotonic() - begun >= LONGEST_WAIT * 0.9
                    length = re.search(rb"(?i)content-length: (\d+)", await reader.readuntil(b"\r\n\r\n"))
                    assert length
                    await reader.readexactly(int(length[1]))
        writer.close()
    assert not said.tracebacks


async def test_a_client_that_leaves_while_it_waits_is_no_fault(api: Api, said: Said) -> None:
    with api.daemon.right_of_way.taken():
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", api.daemon.server.port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.001)
            writer.transport.abort()
    assert (await api.ask("GET", "/status")).status_code == 200
    assert not said.tracebacks
