"""The HTTP seam over real sockets: every way in which an endpoint can fail, and what a person reads of it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import time
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from notifyd import __version__
from notifyd.api import Answer, Reject, Retry
from notifyd.outbound import HttpClient
from notifyd.outbound.endpoint import CONNECTIONS
from tests.outbound import ways
from tests.outbound.places import closed_port, never_accepting
from tests.sinks.http import DRIP, DRIP_BODY, HALF_CLOSE, HANG, RESET, RESET_IN_BODY, HttpSink, Request

NOW = datetime(2026, 11, 24, 21, 0, tzinfo=UTC)
SECRETS = ("hook-5ecret", "t0ken", "us3r", "passw0rd")  # of path, query and userinfo
IMPATIENT = 0.3  # seconds


def secret_url(sink: HttpSink) -> str:
    return f"{sink.url.replace('://', '://us3r:passw0rd@')}/hook-5ecret/x?key=t0ken"


# An answer


async def test_a_request_arrives_as_it_was_given(http: HttpClient, sink: HttpSink):
    sink.answer = (201, {"X-Trace": "7", "Content-Type": "text/plain"}, b"thank you")
    answer = await http.request("PUT", f"{sink.url}/a/b?c=d", headers={"X-Key": "1"}, body="grüße".encode())
    assert answer.status == 201
    assert answer.headers["x-trace"] == "7"
    assert answer.excerpt == "thank you"
    (request,) = sink.requests
    assert (request.method, request.path, request.body.decode()) == ("PUT", "/a/b?c=d", "grüße")
    assert request.headers == {
        "host": sink.url.removeprefix("http://"),
        "user-agent": f"notifyd/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "x-key": "1",
        "content-length": "7",
    }


async def test_a_header_of_the_caller_replaces_ours_and_may_hold_any_text(http: HttpClient, sink: HttpSink):
    await http.request("POST", sink.url, headers={"User-Agent": "acme", "X-Name": "Zoë"})
    headers = sink.requests[0].headers
    assert headers["user-agent"] == "acme"
    assert headers["x-name"].encode("latin-1").decode() == "Zoë"


async def test_the_userinfo_of_a_url_becomes_basic_authentication(http: HttpClient, sink: HttpSink):
    await http.request("POST", f"{sink.url.replace('://', '://ann:s%20p@')}/x")
    assert sink.requests[0].headers["authorization"] == "Basic YW5uOnMgcA=="
    assert sink.requests[0].path == "/x"


async def test_204_is_an_answer_without_a_body(http: HttpClient, sink: HttpSink):
    sink.answer = 204
    assert await http.request("POST", sink.url) == Answer(204, {}, "")


async def test_a_redirect_is_an_answer_and_not_followed(http: HttpClient, sink: HttpSink):
    sink.answer = (307, {"Location": f"{sink.url}/elsewhere"}, b"")
    answer = await http.request("POST", f"{sink.url}/here")
    assert answer.status == 307
    assert [request.path for request in sink.requests] == ["/here"]
    with pytest.raises(Reject, match="redirects are not followed"):
        answer.raise_for_status()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("Tue, 24 Nov 2026 21:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 20:00:00 GMT", 0.0),
        ("1000000000", 1e9),
        ("9" * 5000, 1e9),
        ("soon", None),
        ("-5", None),
    ],
)
async def test_retry_after_is_understood(value: str, seconds: float | None, http: HttpClient, sink: HttpSink):
    sink.answer = (503, {"Retry-After": value}, b"busy")
    answer = await http.request("POST", sink.url)
    with pytest.raises(Retry, match=r"^HTTP 503: busy$") as caught:
        answer.raise_for_status(NOW)
    assert caught.value.after == seconds
    assert caught.value.status_code == 503


async def test_connections_are_kept_and_cookies_are_not(http: HttpClient, sink: HttpSink):
    sink.answer = (200, {"Set-Cookie": "session=1; Path=/"}, b"")
    await http.request("POST", sink.url)
    await http.request("POST", sink.url)
    assert sink.connections == 1
    assert "cookie" not in sink.requests[1].headers


async def test_an_endpoint_gets_at_most_eight_connections_at_once(http: HttpClient, sink: HttpSink):
    here = peak = 0

    async def busy(_: Request) -> int:
        nonlocal here, peak
        here += 1
        peak = max(peak, here)
        await asyncio.sleep(0.01)
        here -= 1
        return 200

    sink.answer = busy
    answers = await asyncio.gather(*(http.request("POST", sink.url) for _ in range(3 * CONNECTIONS)))
    assert {answer.status for answer in answers} == {200}
    assert (peak, sink.connections) == (CONNECTIONS, CONNECTIONS)


async def test_an_ipv6_address_is_called(http: HttpClient):
    async with HttpSink("::1") as sink:
        answer = await http.request("POST", f"{sink.url}/x")
        assert answer.status == 200
        assert sink.requests[0].headers["host"] == f"[::1]:{sink.port}"
    with pytest.raises(Retry, match=rf"^\[::1\]:{sink.port}: connection refused$"):
        await http.request("POST", f"{sink.url}/x")


async def test_proxies_and_netrc_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sink: HttpSink
):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with contextlib.aclosing(ways.http_client(timeout=5)) as http:
        await http.request("POST", sink.url)
    assert "authorization" not in sink.requests[0].headers


# The start of an answer


@pytest.mark.parametrize(
    ("headers", "body", "excerpt"),
    [
        ({}, b"  no\r\n\tsuch   hook\x00\x1b[31m\xe2\x80\xae!  ", "no such hook [31m !"),
        ({"Content-Type": "text/plain; charset=latin-1"}, "Schlüssel".encode("latin-1"), "Schlüssel"),
        ({"Content-Type": "text/plain; charset=klingon"}, "Schlüssel".encode(), "Schlüssel"),
        ({"Content-Type": "text/plain; charset=hex"}, b"ab", "ab"),
        ({}, b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
        ({}, b"x" * 501, "x" * 499 + "…"),
        ({"Content-Encoding": "gzip"}, gzip.compress(b"0" * 1_000_000), ""),
    ],
)
async def test_an_excerpt_is_short_clean_text(
    headers: Mapping[str, str], body: bytes, excerpt: str, http: HttpClient, sink: HttpSink
):
    sink.answer = (500, headers, body)
    assert (await http.request("POST", sink.url)).excerpt == excerpt


async def test_a_huge_answer_is_read_only_at_its_start(http: HttpClient, sink: HttpSink):
    sink.answer = (200, {}, b"x" * 20_000_000)
    answer = await http.request("POST", sink.url)
    assert (answer.status, len(answer.excerpt)) == (200, 500)
    await sink.wait_until_deserted()  # the connection with the rest of the answer was dropped


async def test_an_answer_cannot_echo_what_is_secret(http: HttpClient, sink: HttpSink):
    def echo(request: Request) -> tuple[int, dict[str, str], bytes]:
        return 404, {}, f"Cannot POST {request.path}, {request.headers}, us3r:passw0rd".encode()

    sink.answer = echo
    headers = {"authorization": "Bearer b3arer", "x-signature": "s1gned", "content-type": "text/x-innocent"}
    excerpt = (await http.request("POST", secret_url(sink), headers=headers)).excerpt
    assert excerpt.startswith("Cannot POST <secret>")
    assert "text/x-innocent" in excerpt
    for secret in (*SECRETS, "b3arer", "s1gned"):
        assert secret not in excerpt


# No answer


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxxxx"
BROKEN = {
    "resets": (RESET, "connection reset"),
    "closes": (b"", "it closed the connection without an answer"),
    "closes half": (HALF_CLOSE, "it closed the connection without an answer"),
    "closes in its head": (b"HTTP/1.1 200 OK\r\nContent-Le", "it closed the connection without an answer"),
    "speaks something else": (b"220 mail.example.com ESMTP\r\n\r\n", "what it answered is not HTTP"),
    "speaks something else from now on": (SWITCH, "what it answered is not HTTP"),
    "never ends its headers": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000, "what it answered is not HTTP"),
    "hangs": (HANG, f"timed out after {IMPATIENT} s"),
    "drips": (DRIP, f"timed out after {IMPATIENT} s"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_an_endpoint_that_does_not_answer_is_worth_a_retry(how: str, http: HttpClient, sink: HttpSink):
    sink.answer, words = BROKEN[how]
    began = time.monotonic()
    with pytest.raises(Retry) as caught:
        await http.request("POST", f"{sink.url}/hook", body=b"{}", timeout=IMPATIENT)
    assert str(caught.value) == f"127.0.0.1:{sink.port}: {words}"
    assert time.monotonic() - began < 10 * IMPATIENT


async def test_an_answer_whose_rest_is_late_is_one_and_says_so(http: HttpClient, sink: HttpSink):
    sink.answer = DRIP_BODY
    answer = await http.request("POST", secret_url(sink), timeout=IMPATIENT)
    answer.raise_for_status()
    assert set(answer.excerpt) == {"x"}
    assert answer.note == f"127.0.0.1:{sink.port}: the rest of its answer had not come after {IMPATIENT} s"
    await sink.wait_until_deserted()


BROKEN_OFF = {
    "resets": (RESET_IN_BODY, "connection reset"),
    "closes": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n0123456789",
        "it closed the connection in the middle of its answer",
    ),
    "closes in a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n0123456789",
        "it closed the connection in the middle of its answer",
    ),
    "breaks its chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\nXYZ\r\n",
        "what it answered is not HTTP",
    ),
}


@pytest.mark.parametrize("how", BROKEN_OFF)
async def test_an_answer_whose_rest_is_broken_is_one_and_says_so(how: str, http: HttpClient, sink: HttpSink):
    broken, words = BROKEN_OFF[how]
    sink.script = [broken]
    answer = await http.request("POST", secret_url(sink), body=b"{}")
    answer.raise_for_status()
    assert answer.excerpt == "0123456789"
    assert answer.note == f"127.0.0.1:{sink.port}: {words}; the status that it sent counts"
    assert (await http.request("POST", sink.url)).note == ""
    assert sink.connections == 2


@pytest.mark.parametrize(
    "written",
    [
        b"HTTP/1.1 202 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 202 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 202 OK\r\nX-Odd: \xff\xfe\x01\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 202\r\nX-Odd: folded\r\n here\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["two ends", "bare line feeds", "odd bytes", "a folded line"],
)
async def test_what_is_not_quite_http_is_an_answer(written: bytes, http: HttpClient, sink: HttpSink):
    sink.answer = written
    answer = await http.request("POST", sink.url)
    assert (answer.status, answer.excerpt, answer.note) == (202, "ok", "")


async def test_a_length_that_is_given_twice_is_no_reason_to_send_again(http: HttpClient, sink: HttpSink):
    sink.answer = b"HTTP/1.1 202 OK\r\nX-Id: 7\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
    answer = await http.request("POST", sink.url)
    assert (answer.status, answer.headers["x-id"]) == (202, "7")


@pytest.mark.parametrize("body", [b"", b"not this"])
async def test_a_head_has_no_body(body: bytes, http: HttpClient, sink: HttpSink):
    sink.answer = (200, {}, body)
    assert (await http.request("HEAD", sink.url)).status == 200


async def test_answers_that_come_before_the_answer_are_passed_over(http: HttpClient, sink: HttpSink):
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    sink.answer = early + early + b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
    answer = await http.request("POST", sink.url)
    assert (answer.status, answer.headers, answer.excerpt) == (201, {"content-length": "2"}, "ok")


async def test_a_body_may_end_with_its_connection_or_come_in_pieces(http: HttpClient, sink: HttpSink):
    sink.script = [
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nin \r\n6\r\npieces\r\n0\r\n\r\n",
    ]
    assert (await http.request("POST", sink.url)).excerpt == "until the end"
    assert (await http.request("POST", sink.url)).excerpt == "in pieces"


async def test_what_nobody_asked_for_is_no_answer_to_the_next_request(http: HttpClient, sink: HttpSink):
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst" + b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
    sink.script = [twice]
    assert (await http.request("POST", sink.url)).excerpt == "first"
    assert (await http.request("POST", sink.url)).status == 200
    assert sink.connections == 2


async def test_a_switch_to_another_protocol_is_the_end(http: HttpClient, sink: HttpSink):
    sink.script = [SWITCH]
    with pytest.raises(Retry):
        await http.request("POST", sink.url)
    assert (await http.request("POST", sink.url)).status == 200


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"220 mail.example ESMTP\r\n\r\n", "what it answered is not HTTP"),
        (b"", "it closed the connection without an answer|connection reset"),
    ],
)
async def test_who_speaks_first_or_leaves_at_once_is_told_apart_at_once(greeting: bytes, words: str, http: HttpClient):
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        if greeting:
            await reader.read(1)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        for _ in range(3):
            with pytest.raises(Retry, match=f": (?:{words})$"):
                await http.request("POST", url, body=b"{}")


async def test_a_refused_connection(http: HttpClient):
    port = closed_port()
    with pytest.raises(Retry, match=rf"^127\.0\.0\.1:{port}: connection refused$"):
        await http.request("POST", f"http://127.0.0.1:{port}/x")


async def test_a_name_that_does_not_exist(http: HttpClient):
    host = "a" * 64 + ".example"  # longer than a label may be, so no resolver is asked
    with pytest.raises(Retry, match=rf"^cannot resolve host {host} \("):
        await http.request("POST", f"http://{host}/x")


async def test_a_connection_that_is_never_accepted_times_out(http: HttpClient):
    with never_accepting("127.0.0.1") as port, pytest.raises(Retry, match=f"timed out after {IMPATIENT} s$"):
        await http.request("POST", f"http://127.0.0.1:{port}/x", timeout=IMPATIENT)


async def test_cancelled_and_timed_out_requests_take_no_connection_away(http: HttpClient, sink: HttpSink):
    sink.answer = HANG
    hanging = [asyncio.create_task(http.request("POST", sink.url)) for _ in range(2 * CONNECTIONS)]
    await sink.wait_for(CONNECTIONS)
    for task in hanging:
        task.cancel()
    assert {type(done) for done in await asyncio.gather(*hanging, return_exceptions=True)} == {asyncio.CancelledError}
    for _ in range(CONNECTIONS + 1):
        with pytest.raises(Retry, match="timed out"):
            await http.request("POST", sink.url, timeout=0.02)
    sink.answer = 200
    assert (await http.request("POST", sink.url)).status == 200


# What may not be asked


@pytest.mark.parametrize(
    "url",
    ["", "/hook-5ecret", "ftp://h/hook-5ecret", "http:///hook-5ecret", "http://[::1/hook-5ecret", "http://h:99999/t0ken",
     "http://h/hook-5ecret\n", "http://h:0/t0ken", "http://xn--/hook-5ecret", "http://256.1.1.1/hook-5ecret", "file:///etc/t0ken"],
)  # fmt: skip
async def test_a_bad_url_is_rejected_without_being_quoted(url: str, http: HttpClient):
    with pytest.raises(Reject, match=r"^the URL ") as caught:
        await http.request("POST", url)
    assert not any(secret in str(caught.value) for secret in SECRETS)


@pytest.mark.parametrize(
    ("name", "value"),
    [("X Y", "t0ken"), ("", "t0ken"), ("X-A", "t0ken\r\nX-B: 1"), ("X-A", "t0ken\x00"), ("X-A", " t0ken"),
     ("X-A", "t0ken\ud800"), ("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("X-\N{SNOWMAN}", "t0ken")],
)  # fmt: skip
async def test_a_bad_header_is_rejected_without_its_value(name: str, value: str, http: HttpClient, sink: HttpSink):
    with pytest.raises(Reject) as caught:
        await http.request("POST", sink.url, headers={name: value})
    assert "t0ken" not in str(caught.value)
    assert sink.connections == 0


async def test_a_bad_method_is_rejected(http: HttpClient, sink: HttpSink):
    with pytest.raises(Reject, match="cannot be written as HTTP"):
        await http.request("PO ST", sink.url)


# Secrets


@pytest.mark.parametrize("how", [*BROKEN, "refuses", "answers 500", "answers 404", "redirects"])
async def test_no_secret_of_the_url_is_in_any_error_or_log(
    how: str, http: HttpClient, sink: HttpSink, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    url = secret_url(sink)
    answers = {"answers 500": 500, "answers 404": 404, "redirects": 302}
    if how == "refuses":
        url = url.replace(str(sink.port), str(closed_port()))
    elif how in answers:
        sink.answer = lambda request: (answers[how], {}, f"{request.path} {request.headers}".encode())
    else:
        sink.answer = BROKEN[how][0]
    with pytest.raises((Retry, Reject)) as caught:
        (await http.request("POST", url, body=b"{}", timeout=IMPATIENT)).raise_for_status()
    told = "".join(traceback.format_exception(caught.value)[-1:]) + caplog.text
    assert not [secret for secret in SECRETS if secret in told]
