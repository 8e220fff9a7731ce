"""The guard: whatever a name, a number or an odd spelling leads to, only public addresses are called."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from notifyd.api import HttpOptions, Reject, Retry, SecretUrl
from notifyd.outbound import Dialer, Guard, HttpClient, Resolver
from tests.outbound import ways
from tests.outbound.places import Book, closed_port, server_side
from tests.sinks.http import HttpSink

LOOPBACK = ipaddress.ip_network("127.0.0.1/32")


def guarded(resolver: Resolver | None = None, *allowed: ipaddress.IPv4Network) -> HttpClient:
    """The client of a config that came through the API."""
    return ways.http_client(timeout=5, dialer=Dialer(Guard(allowed), resolver))


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with contextlib.aclosing(guarded()) as client:
        yield client


# Addresses


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("169.254.169.254", "link-local"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.100.100.200", "carrier-grade NAT"),
        ("168.63.129.16", "a cloud's metadata"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("192.0.0.192", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("203.0.113.9", "reserved"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::1%lo", "loopback"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("ff02::1", "multicast"),
        ("::7f00:1", "an IPv4 address in disguise"),
        ("::ffff:127.0.0.1", "an IPv4 address in disguise"),
        ("::ffff:8.8.8.8", "an IPv4 address in disguise"),
        ("::ffff:0:a9fe:a9fe", "an IPv4 address in disguise"),
        ("2002:7f00:1::", "an IPv4 address in disguise"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "an IPv4 address in disguise"),
        ("64:ff9b:1::a00:1", "an IPv4 address in disguise"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("2001:db8::1", "reserved"),
        ("2001:20::1", "reserved"),
        ("3fff::1", "reserved"),
        ("100::1", "reserved"),
        ("5f00::1", "reserved"),
        ("4000::1", "reserved"),
    ],
)
def test_what_is_not_public_is_refused(address: str, kind: str):
    with pytest.raises(Reject) as caught:
        Guard().check("hook.example", [address])
    assert str(caught.value) == (
        f"hook.example: its address is not public ({kind}); configs made through the API may call only public "
        "addresses, and those that allow_private_targets in [security] names"
    )


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
     "192.167.255.255", "223.255.255.255", "2606:4700::1111", "2001:4860:4860::8888", "64:ff9b::808:808"],
)  # fmt: skip
def test_what_is_public_is_let_through(address: str):
    Guard().check("hook.example", [address])


def test_one_private_address_among_public_ones_is_enough():
    with pytest.raises(Reject, match="private"):
        Guard().check("hook.example", ["1.1.1.1", "10.0.0.1"])


def test_what_the_admin_allows_is_let_through_and_nothing_beside_it():
    guard = Guard([ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/64")])
    guard.check("crm.internal", ["10.1.2.3", "fd00::7"])
    for address in ("10.2.0.1", "fd00:0:0:1::7", "::ffff:10.1.2.3"):
        with pytest.raises(Reject):
            guard.check("crm.internal", [address])


# Names, numbers and odd spellings


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "LOCALHOST", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1",
     "017700000001", "0", "127。0。0。1", "hook.example@127.0.0.1", "hook.example\\@127.0.0.1",
     "hook.example%2f@127.0.0.1"],
)  # fmt: skip
async def test_no_spelling_gets_to_this_machine(host: str, http: HttpClient, sink: HttpSink):
    with pytest.raises(Reject, match=r"not public \((loopback|unspecified)\)"):
        await http.request("POST", f"http://{host}:{sink.port}/x")
    assert sink.connections == 0


@pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "::1%25lo", "::1%lo"])
async def test_no_spelling_of_ipv6_does(host: str, http: HttpClient):
    async with HttpSink("::1") as sink:
        with pytest.raises(Reject, match="not public"):
            await http.request("POST", f"http://[{host}]:{sink.port}/x")
        assert sink.connections == 0


async def test_a_name_that_ends_with_a_dot_is_resolved_like_any(sink: HttpSink):
    async with contextlib.aclosing(guarded(Resolver({"hook.example.": ["127.0.0.1"]}.__getitem__))) as http:
        with pytest.raises(Reject, match=r"^hook\.example\.: its address is not public \(loopback\)"):
            await http.request("POST", f"http://hook.example.:{sink.port}/x")
    assert sink.connections == 0


async def test_no_other_protocol_does(sink: HttpSink):
    with pytest.raises(Reject, match="not public"):
        await Dialer(Guard()).connect("localhost", sink.port)
    assert sink.connections == 0


async def test_without_a_guard_a_settings_file_may_send_anywhere(sink: HttpSink):
    async with contextlib.aclosing(ways.http_client(timeout=5)) as http:
        assert (await http.request("POST", sink.url)).status == 200


# One answer of the DNS is judged, and called


async def test_the_address_that_was_judged_is_the_one_that_is_called(sink: HttpSink):
    book = Book(hook_example=[["127.0.0.1"], ["127.0.0.2"]])  # the second is not allowed, and not this sink's
    async with contextlib.aclosing(guarded(book.resolver(), LOOPBACK)) as http:
        assert (await http.request("POST", f"http://hook.example:{sink.port}/x")).status == 200
    assert book.asked == ["hook.example"]
    assert sink.requests[0].headers["host"] == f"hook.example:{sink.port}"


async def test_a_name_that_moves_to_a_private_address_is_refused_from_then_on(sink: HttpSink):
    book = Book(hook_example=[["127.0.0.1"], ["127.0.0.2"]])
    sink.answer = (200, {"Connection": "close"}, b"")
    async with contextlib.aclosing(guarded(book.resolver(), LOOPBACK)) as http:
        await http.request("POST", f"http://hook.example:{sink.port}/x")
        with pytest.raises(Reject, match=r"^hook\.example: its address is not public"):
            await http.request("POST", f"http://hook.example:{sink.port}/x")
    assert len(sink.requests) == 1


async def test_a_kept_connection_is_still_to_the_judged_address(sink: HttpSink):
    book = Book(hook_example=[["127.0.0.1"], ["127.0.0.2"]])
    async with contextlib.aclosing(guarded(book.resolver(), LOOPBACK)) as http:
        for _ in range(3):
            await http.request("POST", f"http://hook.example:{sink.port}/x")
    assert (sink.connections, len(sink.requests), len(book.asked)) == (1, 3, 1)


async def test_the_certificate_is_that_of_the_name(tmp_path: Path):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    book = Book(hook_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    dialer = Dialer(Guard([LOOPBACK]), book.resolver())
    async with (
        HttpSink(tls=server_side(ca, "hook.example")) as sink,
        contextlib.aclosing(
            ways.http_client(timeout=5, dialer=dialer, options=HttpOptions(ca_file=tmp_path / "ca.pem"))
        ) as http,
    ):
        assert (await http.request("POST", f"https://hook.example:{sink.port}/x")).status == 200
        with pytest.raises(Retry, match=r"hostname mismatch, certificate is not valid for 'other\.example'"):
            await http.request("POST", f"https://other.example:{sink.port}/x")


async def test_a_redirect_to_this_machine_is_not_followed(sink: HttpSink):
    book = Book(hook_example=[["127.0.0.1"]])
    sink.answer = (307, {"Location": f"http://127.0.0.1:{sink.port}/private"}, b"")
    async with contextlib.aclosing(guarded(book.resolver(), LOOPBACK)) as http:
        assert (await http.request("POST", f"http://hook.example:{sink.port}/x")).status == 307
    assert [request.path for request in sink.requests] == ["/x"]


# Proxies


async def test_proxy_variables_lead_nowhere(monkeypatch: pytest.MonkeyPatch, sink: HttpSink):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, sink.url)
    async with contextlib.aclosing(guarded()) as http:
        with pytest.raises(Reject, match="not public"):
            await http.request("POST", f"http://127.0.0.1:{closed_port()}/x")
    assert sink.connections == 0


async def test_what_a_proxy_would_resolve_cannot_be_judged(sink: HttpSink):
    options = HttpOptions(proxy=SecretUrl(sink.url))
    async with contextlib.aclosing(
        ways.http_client(timeout=5, dialer=Dialer(Guard([LOOPBACK])), options=options)
    ) as http:
        with pytest.raises(Reject, match="made through the API cannot use a proxy"):
            await http.request("POST", "http://hook.example/x")
    assert sink.connections == 0
