"""The HTTP seam over TLS: whom it trusts, and what a person reads where it does not."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from notifyd.api import HttpOptions, Retry
from notifyd.outbound import HttpClient
from tests.outbound import ways
from tests.outbound.places import server_side
from tests.sinks.http import HttpSink

IMPATIENT = 0.3  # seconds


def trusting(ca: trustme.CA, folder: Path) -> HttpOptions:
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    return HttpOptions(ca_file=folder / "ca.pem")


async def test_a_certificate_of_the_ca_file_is_trusted(tmp_path: Path):
    ca = trustme.CA()
    async with (
        HttpSink("localhost", tls=server_side(ca, "localhost")) as sink,
        contextlib.aclosing(ways.http_client(timeout=5, options=trusting(ca, tmp_path))) as http,
    ):
        assert (await http.request("POST", sink.url)).status == 200


@pytest.mark.parametrize(
    ("name", "expires", "words"),
    [
        ("localhost", datetime.now(UTC) - timedelta(days=1), "TLS: certificate has expired"),
        ("elsewhere", None, "TLS: hostname mismatch, certificate is not valid for 'localhost'"),
    ],
)
async def test_a_bad_certificate_says_what_is_bad(name: str, expires: datetime | None, words: str, tmp_path: Path):
    ca = trustme.CA()
    async with (
        HttpSink("localhost", tls=server_side(ca, name, expires)) as sink,
        contextlib.aclosing(ways.http_client(timeout=5, options=trusting(ca, tmp_path))) as http,
    ):
        with pytest.raises(Retry) as caught:
            await http.request("POST", sink.url)
    assert str(caught.value) == f"localhost:{sink.port}: {words}"


async def test_an_unknown_authority_is_not_trusted(http: HttpClient):
    async with HttpSink("localhost", tls=server_side(trustme.CA(), "localhost")) as sink:
        with pytest.raises(Retry, match=r"TLS: unable to get local issuer certificate$"):
            await http.request("POST", sink.url)
        assert sink.requests == []


async def test_https_to_a_port_that_speaks_http(http: HttpClient):
    async def speak_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(speak_http, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Retry, match=r"TLS: .*\(does it speak https\?\)$"):
            await http.request("POST", f"https://127.0.0.1:{port}/x")


async def test_a_handshake_that_times_out_leaves_no_connection_open(http: HttpClient):
    hung_up = asyncio.Event()

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(keep_silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Retry, match="timed out"):
            await http.request("POST", f"https://127.0.0.1:{port}/x", timeout=IMPATIENT)
        async with asyncio.timeout(5):
            await hung_up.wait()
