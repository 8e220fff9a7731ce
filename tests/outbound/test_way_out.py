"""What HttpOptions say: whom to trust, which certificate to show, and through which proxy to go."""

from __future__ import annotations

import contextlib
import os
import ssl
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from pydantic import ValidationError

from notifyd.api import HttpOptions, Retry
from notifyd.api.options import settings_only
from notifyd.outbound import Dialer, HttpClient
from tests.outbound import ways
from tests.outbound.places import Book, closed_port, server_side
from tests.sinks.http import HttpSink
from tests.sinks.proxy import HttpProxy


class Files(NamedTuple):
    """PEM files of one authority, and of a client that it vouches for."""

    authority: trustme.CA
    ca: Path
    cert: Path
    key: Path
    both: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = trustme.CA()
    client = authority.issue_cert("notifyd.example")
    found = Files(authority, *(tmp_path / f"{name}.pem" for name in ("ca", "cert", "key", "both")))
    authority.cert_pem.write_to_path(str(found.ca))
    client.cert_chain_pems[0].write_to_path(str(found.cert))
    client.private_key_pem.write_to_path(str(found.key))
    client.private_key_and_cert_chain_pem.write_to_path(str(found.both))
    return found


def client(**options: Any) -> HttpClient:
    return ways.http_client(timeout=5, options=HttpOptions.model_validate(options))


def problems(**options: Any) -> list[tuple[str, str]]:
    """(key, text) of what is wrong when a settings file is loaded, with its secrets and files."""
    with pytest.raises(ValidationError) as caught:
        HttpOptions.model_validate(options, context={"secrets": lambda kind, name: name})
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


# Certificates


def asking_for_certificates(files: Files) -> ssl.SSLContext:
    context = server_side(files.authority, "localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    files.authority.configure_trust(context)
    return context


async def test_the_client_certificate_is_shown_to_who_asks(files: Files):
    async with HttpSink("localhost", tls=asking_for_certificates(files)) as sink:
        for shown in ({"client_cert": files.cert, "client_key": files.key}, {"client_cert": files.both}):
            async with contextlib.aclosing(client(ca_file=files.ca, **shown)) as http:
                assert (await http.request("POST", sink.url)).status == 200


async def test_without_one_the_door_stays_closed(files: Files):
    async with (
        HttpSink("localhost", tls=asking_for_certificates(files)) as sink,
        contextlib.aclosing(client(ca_file=files.ca)) as http,
    ):
        with pytest.raises(Retry, match=rf"^localhost:{sink.port}: "):  # it may hang up before it says why
            await http.request("POST", sink.url)
        assert sink.requests == []


async def test_a_client_certificate_does_not_change_whom_we_trust(files: Files):
    async with (
        HttpSink("localhost", tls=server_side(files.authority, "localhost")) as sink,
        contextlib.aclosing(client(client_cert=files.both)) as http,
    ):
        with pytest.raises(Retry, match="unable to get local issuer certificate"):
            await http.request("POST", sink.url)


async def test_a_ca_file_is_trusted_alone(files: Files):
    async with (
        HttpSink("localhost", tls=server_side(trustme.CA(), "localhost")) as sink,
        contextlib.aclosing(client(ca_file=files.ca)) as http,
    ):
        with pytest.raises(Retry, match=r"TLS: "):
            await http.request("POST", sink.url)


async def test_a_file_that_has_gone_costs_attempts_until_it_is_back(files: Files):
    text = files.ca.read_text()
    async with (
        HttpSink("localhost", tls=server_side(files.authority, "localhost")) as sink,
        contextlib.aclosing(client(ca_file=files.ca)) as http,
    ):
        files.ca.unlink()
        with pytest.raises(Retry, match=r"ca\.pem cannot be read: no such file or directory$"):
            await http.request("POST", sink.url)
        files.ca.write_text(text)
        assert (await http.request("POST", sink.url)).status == 200


# Files, when the settings are read


def test_good_files_are_taken(files: Files):
    paths = {"ca_file": files.ca, "client_cert": files.cert, "client_key": files.key}
    options = HttpOptions.model_validate(paths, context={"secrets": lambda kind, name: name})
    assert (options.ca_file, options.client_cert, options.client_key) == (files.ca, files.cert, files.key)


@pytest.mark.parametrize("key", ["ca_file", "client_cert"])
def test_a_file_that_cannot_be_read_is_named(key: str, tmp_path: Path):
    assert problems(**{key: tmp_path / "none"}) == [
        (key, f"Value error, {tmp_path}/none cannot be read: no such file or directory")
    ]
    assert problems(**{key: tmp_path}) == [(key, f"Value error, {tmp_path} cannot be read: is a directory")]
    os.mkfifo(tmp_path / "pipe")
    assert problems(**{key: tmp_path / "pipe"}) == [
        (key, f"Value error, {tmp_path}/pipe cannot be read: not a regular file")
    ]
    assert problems(**{key: "pem/ca.pem"}) == [(key, "Value error, must be an absolute path")]


def test_a_file_that_holds_something_else_is_named(files: Files, tmp_path: Path):
    (tmp_path / "letter").write_text("Dear CA,\n")
    letter = tmp_path / "letter"
    assert problems(ca_file=letter) == [("ca_file", f"Value error, {letter} holds no certificate in PEM form")]
    for cert, key in ((letter, files.key), (files.cert, letter), (files.key, files.cert)):
        ((_, text),) = problems(client_cert=cert, client_key=key)
        assert text == f"Value error, {cert} must hold a certificate and {key} its key, both in PEM form"
    assert "must hold a certificate and" in problems(client_cert=files.cert)[0][1]


def test_a_key_of_another_certificate_is_noticed(files: Files, tmp_path: Path):
    other = tmp_path / "other.pem"
    files.authority.issue_cert("elsewhere.example").private_key_pem.write_to_path(str(other))
    ((_, text),) = problems(client_cert=files.cert, client_key=other)
    assert text == f"Value error, the key in {other} is not the key of the certificate in {files.cert}"


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(files: Files, tmp_path: Path):
    locked = tmp_path / "locked.pem"
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    form = serialization.PrivateFormat.PKCS8
    encrypted = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"s3cret"))
    locked.write_bytes(encrypted)
    ((_, text),) = problems(client_cert=files.cert, client_key=locked)
    assert "the key of the client certificate is encrypted" in text


def test_a_key_alone_is_of_no_use(files: Files):
    assert problems(client_key=files.key) == [("", "Value error, client_key has no use without client_cert")]


def test_files_are_not_looked_at_by_commands_that_send_nothing(tmp_path: Path):
    options = HttpOptions.model_validate({"ca_file": tmp_path / "none", "proxy": {"env": "PROXY"}})
    assert options.ca_file == tmp_path / "none"


def test_what_only_a_settings_file_may_say_is_marked():
    class Nested(HttpOptions):
        more: list[HttpOptions] | None = None
        text: str = ""

    assert settings_only(HttpOptions) == {"ca_file", "client_cert", "client_key", "proxy"}
    assert settings_only(Nested) == settings_only(HttpOptions) | {"more"}


# Proxies


async def test_a_proxy_is_asked_for_what_is_not_encrypted():
    async with HttpProxy() as proxy, contextlib.aclosing(client(proxy=proxy.url)) as http:
        answer = await http.request("POST", "http://hook.example/x?y=1", headers={"x-a": "b"}, body=b"{}")
    assert answer.status == 202
    (request,) = proxy.requests
    assert (request.method, request.path) == ("POST", "http://hook.example/x?y=1")
    assert (request.headers["host"], request.headers["x-a"]) == ("hook.example", "b")
    assert "proxy-authorization" not in request.headers


async def test_a_tunnel_through_a_proxy_ends_at_the_endpoint(files: Files):
    async with (
        HttpSink(tls=server_side(files.authority, "hook.example")) as sink,
        HttpProxy() as proxy,
        contextlib.aclosing(client(ca_file=files.ca, proxy=proxy.url)) as http,
    ):
        proxy.leads_to = ("127.0.0.1", sink.port)
        answer = await http.request("POST", "https://hook.example/x", headers={"authorization": "Bearer t0ken"})
        assert answer.status == 200
        assert sink.requests[0].path == "/x"
        (request,) = proxy.requests
        assert (request.method, request.path) == ("CONNECT", "hook.example:443")
        assert "authorization" not in request.headers


async def test_the_user_of_the_proxy_is_told_to_the_proxy_alone(files: Files):
    async with (
        HttpSink(tls=server_side(files.authority, "hook.example")) as sink,
        HttpProxy() as proxy,
        contextlib.aclosing(client(ca_file=files.ca, proxy=proxy.url.replace("//", "//ann:s%20p@"))) as http,
    ):
        proxy.leads_to = ("127.0.0.1", sink.port)
        await http.request("POST", "https://hook.example/x")
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic YW5uOnMgcA=="
        assert not [name for name in sink.requests[0].headers if "auth" in name]


async def test_a_proxy_that_refuses_says_why():
    async with HttpProxy() as proxy, contextlib.aclosing(client(proxy=proxy.url)) as http:
        proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        with pytest.raises(Retry) as caught:
            await http.request("POST", "https://hook.example/x")
    assert str(caught.value) == (
        f"the proxy 127.0.0.1:{proxy.port} lets nothing through: 407 Proxy Authentication Required"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_named(scheme: str):
    port = closed_port()
    async with contextlib.aclosing(client(proxy=f"http://127.0.0.1:{port}")) as http:
        with pytest.raises(Retry, match=rf"^127\.0\.0\.1:{port}: connection refused \(the proxy\)$"):
            await http.request("POST", f"{scheme}://hook.example/x")


async def test_a_proxy_without_an_address_is_named():
    dialer = Dialer(resolver=Book().resolver())
    options = HttpOptions.model_validate({"proxy": "http://proxy.example:3128"})
    async with contextlib.aclosing(ways.http_client(timeout=5, dialer=dialer, options=options)) as http:
        with pytest.raises(Retry, match=r"^cannot resolve host proxy\.example \(.*\) \(the proxy\)$"):
            await http.request("POST", "https://hook.example/x")


async def test_what_the_endpoint_does_is_not_blamed_on_the_proxy(files: Files):
    async with (
        HttpSink(tls=server_side(files.authority, "elsewhere.example")) as sink,
        HttpProxy() as proxy,
        contextlib.aclosing(client(ca_file=files.ca, proxy=proxy.url)) as http,
    ):
        proxy.leads_to = ("127.0.0.1", sink.port)
        with pytest.raises(Retry, match=r"^hook\.example:443: TLS: hostname mismatch"):
            await http.request("POST", "https://hook.example/x")


async def test_a_proxy_cannot_echo_its_password():
    async with HttpSink() as proxy:
        proxy.answer = lambda request: (407, {}, f"no: {request.headers}, ann:pr0xypass".encode())
        async with contextlib.aclosing(client(proxy=proxy.url.replace("//", "//ann:pr0xypass@"))) as http:
            excerpt = (await http.request("POST", "http://hook.example/x")).excerpt
    assert "pr0xypass" not in excerpt
    assert "YW5uOnByMHh5cGFzcw" not in excerpt
