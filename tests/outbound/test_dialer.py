"""From a name to a connection: which addresses are called, in which order, and what a slow DNS server costs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from notifyd.api import Retry
from notifyd.outbound import Dialer, HttpClient, Resolver
from notifyd.outbound.dialer import HEAD_START
from notifyd.outbound.resolver import MOST
from tests.outbound import ways
from tests.outbound.places import Book, closed_port, never_accepting
from tests.sinks.http import HttpSink

IMPATIENT = 0.2  # seconds


class DeadServer:
    """A lookup of which "dead" names get no answer until the test ends."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.over = threading.Event()

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if "dead" in host:
            self.over.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return ["127.0.0.1"]


@pytest.fixture
def dead_server() -> Iterator[DeadServer]:
    lookup = DeadServer()
    yield lookup
    lookup.over.set()


def client(lookup: DeadServer | Book) -> HttpClient:
    return ways.http_client(timeout=5, dialer=Dialer(resolver=Resolver(lookup)))


def lookups() -> int:
    return sum(thread.name.startswith("look up") for thread in threading.enumerate())


# A slow DNS server


async def test_a_name_without_an_answer_takes_no_longer_than_the_attempt(dead_server: DeadServer):
    async with contextlib.aclosing(client(dead_server)) as http:
        with pytest.raises(Retry, match=rf"^dead\.example:80: timed out after {IMPATIENT} s$"):
            await http.request("POST", "http://dead.example/x", timeout=IMPATIENT)


async def test_it_delays_nobody_else(dead_server: DeadServer, sink: HttpSink):
    async with contextlib.aclosing(client(dead_server)) as dead, contextlib.aclosing(client(dead_server)) as healthy:
        hanging = [asyncio.create_task(dead.request("POST", f"http://dead{n}.example/x")) for n in range(50)]
        await asyncio.sleep(0)
        began = time.monotonic()
        assert (await healthy.request("POST", f"http://hook.example:{sink.port}/x")).status == 200
        assert await asyncio.to_thread(lambda: "the loop's own threads are free") != ""
        assert time.monotonic() - began < 1
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_its_lookups_do_not_pile_up(dead_server: DeadServer):
    async with contextlib.aclosing(client(dead_server)) as http:
        for turn in range(3):
            urls = [f"http://dead{turn}{n}.example/x" for n in range(10)]
            await asyncio.gather(*(http.request("POST", url, timeout=0.02) for url in urls), return_exceptions=True)
        assert lookups() == MOST
        assert len(dead_server.asked) == MOST


async def test_a_name_is_asked_for_once_however_many_wait(sink: HttpSink):
    book = Book(hook_example=[["127.0.0.1"]])
    async with contextlib.aclosing(client(book)) as http:
        await asyncio.gather(*(http.request("POST", f"http://hook.example:{sink.port}/x") for _ in range(8)))
    assert book.asked == ["hook.example"]


async def test_who_leaves_does_not_end_the_lookup_of_others(sink: HttpSink):
    go = threading.Event()

    def slow(_: str) -> Sequence[str]:
        go.wait(10)
        return ["127.0.0.1"]

    resolver = Resolver(slow)
    impatient, patient = (asyncio.create_task(resolver.addresses("hook.example")) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    go.set()
    assert await patient == ["127.0.0.1"]


async def test_a_name_that_does_not_exist_is_asked_for_again(sink: HttpSink):
    book = Book()
    async with contextlib.aclosing(client(book)) as http:
        for _ in range(2):
            with pytest.raises(Retry, match=r"^cannot resolve host hook\.example \(name or service not known\)$"):
                await http.request("POST", f"http://hook.example:{sink.port}/x")
    assert book.asked == ["hook.example"] * 2


async def test_an_address_is_not_looked_up(sink: HttpSink):
    book = Book()
    async with contextlib.aclosing(client(book)) as http:
        await http.request("POST", sink.url)
    assert book.asked == []


async def test_the_system_resolver_knows_this_machine():
    assert set(await Resolver().addresses("localhost")) & {"127.0.0.1", "::1"}
    with pytest.raises(socket.gaierror):
        await Resolver().addresses("a" * 64 + ".example")
    with pytest.raises(socket.gaierror):
        await Resolver().addresses("ä" * 64 + ".example")


# Several addresses


async def test_an_address_that_refuses_is_passed_over(sink: HttpSink):
    book = Book(hook_example=[["127.0.0.2", "127.0.0.1"]])
    async with contextlib.aclosing(client(book)) as http:
        assert (await http.request("POST", f"http://hook.example:{sink.port}/x")).status == 200


async def test_an_address_that_is_silent_costs_a_moment(sink: HttpSink):
    book = Book(hook_example=[["127.0.0.2", "127.0.0.1"]])
    with never_accepting("127.0.0.2", sink.port):
        async with contextlib.aclosing(client(book)) as http:
            began = time.monotonic()
            assert (await http.request("POST", f"http://hook.example:{sink.port}/x")).status == 200
            assert HEAD_START <= time.monotonic() - began < 10 * HEAD_START


async def test_where_all_refuse_the_first_says_why():
    book = Book(hook_example=[["127.0.0.1", "127.0.0.2", "127.0.0.3"]])
    port = closed_port()
    async with contextlib.aclosing(client(book)) as http:
        with pytest.raises(Retry, match=rf"^hook\.example:{port}: connection refused$"):
            await http.request("POST", f"http://hook.example:{port}/x")


async def test_the_first_to_answer_is_taken_and_the_others_are_let_go():
    late = asyncio.Event()
    hung_up: list[str] = []

    async def connect(address: str) -> str:
        if address == "10.0.0.1":
            await late.wait()
        else:
            late.set()  # now both answer
        return address

    async def discard(address: str) -> None:
        hung_up.append(address)

    resolver = Resolver({"hook.example": ["10.0.0.1", "10.0.0.2"]}.__getitem__)
    taken = await Dialer(resolver=resolver).dial("hook.example", connect, discard)
    assert sorted([taken, *hung_up]) == ["10.0.0.1", "10.0.0.2"]


async def test_who_gives_up_leaves_no_call_behind():
    ended: list[str] = []

    async def connect(address: str) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(address)
        return address

    async def discard(address: str) -> None:
        raise AssertionError(address)

    resolver = Resolver({"hook.example": ["10.0.0.1", "10.0.0.2"]}.__getitem__)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * HEAD_START):
            await Dialer(resolver=resolver).dial("hook.example", connect, discard)
    assert sorted(ended) == ["10.0.0.1", "10.0.0.2"]


# What is not HTTP


async def test_a_connection_for_another_protocol():
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        book = Book(mail_example=[["127.0.0.2", "127.0.0.1"]])
        connection = await Dialer(resolver=book.resolver()).connect("mail.example", port)
        assert not connection.getblocking()
        reader, writer = await asyncio.open_connection(sock=connection)
        assert await reader.readline() == b"220 mail.example\r\n"
        writer.close()
        await writer.wait_closed()


async def test_a_connection_over_ipv6(sink: HttpSink):
    async with HttpSink("::1") as there:
        connection = await Dialer().connect("::1", there.port)
        assert connection.getpeername()[:2] == ("::1", there.port)
        connection.close()


async def test_no_connection_says_why():
    port = closed_port()
    with pytest.raises(Retry, match=rf"^127\.0\.0\.1:{port}: connection refused$"):
        await Dialer().connect("127.0.0.1", port)
    with pytest.raises(Retry, match=r"^cannot resolve host mail\.example \("):
        await Dialer(resolver=Book().resolver()).connect("mail.example", 25)
