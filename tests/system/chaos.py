"""Everything that an endpoint can do wrong, at once, against every channel of one daemon, and what becomes of it.

Each fault has an endpoint and a config of its own for each channel. One row fails in the sync log, so each config
is told at once; its first attempt has to end as documented, with a real reason in the history. Every config is
full of secrets, and the endpoints repeat what they are told: none may come to light.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import trustme

from notifyd.store import tokens
from notifyd.store.database import open_database
from notifyd.store.tokens import Permission
from notifyd.store.trail import Actor
from tests.outbound.places import closed_port, server_side
from tests.sinks.http import DRIP, DRIP_BODY, HALF_CLOSE, HANG, RESET, RESET_IN_BODY, Answer, HttpSink, Reply, Request
from tests.sinks.log import JobLog
from tests.sinks.smtp import Deed, Phase, SmtpSink
from tests.system.process import ROOT, Process
from tests.system.site import Site, free_port, until

PATIENCE = "6s"
"""The timeout of an attempt that ends by itself, also on a busy machine."""

IMPATIENCE = "2s"
"""That of one that nothing but its timeout ends."""

Verdict = Literal["sent", "retry", "rejected"]


# -- the faults --------------------------------------------------------------------------------------


class Echo(NamedTuple):
    """An answer that repeats the whole request, as many endpoints do."""

    status: int
    headers: Mapping[str, str] = {}

    def __call__(self, request: Request) -> Reply:
        return self.status, {"Content-Type": "text/plain", **self.headers}, _repeated(request)


def _repeated(request: Request) -> bytes:
    told = {name: value for name, value in request.headers.items() if name not in ("user-agent", "accept")}
    for value in request.headers.values():
        if value.startswith("Basic "):
            told["login"] = base64.b64decode(value[6:]).decode()
    return f"Cannot {request.method} {request.path}: {told}".encode()


@dataclass(frozen=True)
class HttpFault:
    """What an HTTP endpoint does, and how the attempt ends; Apprise tries everything again that is not a 2xx."""

    name: str
    answer: Answer = 200
    verdict: Verdict = "retry"
    words: str = ""  # a pattern in the reason
    status: int | None = None
    after: float = 0  # seconds that the endpoint asked for
    place: Literal["sink", "closed port", "no such name"] = "sink"
    certificate: Literal["", "good", "expired", "unknown", "of another name"] = ""
    tls_is_expected: bool = False
    apprise: Verdict | None = None  # where it differs
    timeout: str = PATIENCE


HTTP_FAULTS = [
    HttpFault("answers", 200, "sent", "", 200),
    HttpFault("answers with TLS", 200, "sent", "", 200, certificate="good"),
    HttpFault("answers at length", (200, {}, b"x" * 5_000_000), "sent", "", 200),
    HttpFault("answers, and drips the rest", DRIP_BODY, "sent", "the rest of its answer had not", 200, apprise="retry",
              timeout="4s"),
    HttpFault("refuses connections", words="connection refused", place="closed port"),
    HttpFault("has no address", words="cannot resolve host", place="no such name"),
    HttpFault("resets", RESET, words="connection reset"),
    HttpFault("resets in its body", RESET_IN_BODY, "sent", "connection reset; the status", 200, apprise="retry"),
    HttpFault("closes", b"", words="closed the connection without an answer"),
    HttpFault("closes half", HALF_CLOSE, words="closed the connection without an answer"),
    HttpFault("closes in its body", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "sent", "in the middle of", 200,
              apprise="retry"),
    HttpFault("hangs", HANG, words="timed out after 2 s", timeout=IMPATIENCE),
    HttpFault("drips its headers", DRIP, words="timed out after 2 s", timeout=IMPATIENCE),
    HttpFault("speaks SMTP", b"220 mail.example ESMTP\r\n\r\n", words="is not HTTP"),
    HttpFault("never ends its headers", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000, words="is not HTTP"),
    HttpFault("is overrun", Echo(429), words="^HTTP 429: Cannot POST", status=429),
    HttpFault("is overrun and says so", Echo(429, {"Retry-After": "17"}), words="^HTTP 429:", status=429, after=17),
    HttpFault("fails", Echo(500), words="^HTTP 500: Cannot POST", status=500),
    HttpFault("is unavailable", Echo(503, {"Retry-After": "23"}), words="^HTTP 503", status=503, after=23),
    HttpFault("fails at length", (500, {}, b"x" * 5_000_000), words="^HTTP 500: xxx", status=500),
    HttpFault("redirects", Echo(302, {"Location": "http://127.0.0.1:1/"}), "rejected", "it redirects", 302),
    HttpFault("redirects for good", Echo(308, {"Location": "http://127.0.0.1:1/"}), "rejected", "it redirects", 308),
    HttpFault("does not understand", Echo(400), "rejected", "^HTTP 400", 400),
    HttpFault("is not there", Echo(404), "rejected", "^HTTP 404", 404),
    HttpFault("is gone", Echo(410), "rejected", "^HTTP 410", 410),
    HttpFault("has expired", words="TLS: certificate has expired", certificate="expired"),
    HttpFault("is certified by nobody", words="TLS: .*certificate", certificate="unknown"),
    HttpFault("is certified as another", words="TLS: hostname mismatch", certificate="of another name"),
    HttpFault("speaks no TLS", words="TLS: |closed|lost|reset|timed out", tls_is_expected=True,
              timeout=IMPATIENCE),
]  # fmt: skip


@dataclass(frozen=True)
class SmtpFault:
    """What a mail server says in a phase, and how the attempt ends."""

    name: str
    phase: Phase = "CONNECT"
    reply: str | Deed = ""
    verdict: Verdict = "retry"
    words: str = ""
    status: int | None = None
    address: str = ""  # the one recipient that it concerns
    tls: Literal["none", "starttls"] = "none"
    timeout: str = PATIENCE


_LOCAL = r"127\.0\.0\.1:\d+"
SMTP_FAULTS = [
    SmtpFault("takes it", verdict="sent"),
    SmtpFault("greets with 421", "CONNECT", "421 too busy", words=f"{_LOCAL} answered 421 too busy", status=421),
    SmtpFault("greets with 554", "CONNECT", "554 go away", "rejected", "answered 554 go away", 554),
    SmtpFault("greets with garbage", "CONNECT", "HTTP/1.1 400 Bad Request", words="does not answer like a mail server"),
    SmtpFault("drops at once", "CONNECT", Deed.DROP, words="closed the connection"),
    SmtpFault("hangs at once", "CONNECT", Deed.HANG, words="within 2 s|timed out", timeout=IMPATIENCE),
    SmtpFault("offers no STARTTLS", verdict="rejected", words="does not offer STARTTLS", tls="starttls"),
    SmtpFault("refuses the login", "AUTH", "535 5.7.8 no: {password}", words="refused the login of ann: 5", status=535),
    SmtpFault("greylists", "MAIL", "451 4.7.1 greylisted", words="answered 451 4.7.1 greylisted", status=451),
    SmtpFault("refuses the sender", "MAIL", "550 5.1.8 not you", "rejected", "answered 550 5.1.8 not you", 550),
    SmtpFault("refuses everyone for now", "RCPT", "450 4.2.0 full", words="every recipient: .*450 4.2.0", status=450),
    SmtpFault("refuses everyone", "RCPT", "550 5.1.1 unknown", "rejected", "refused every recipient: .*550 5.1.1", 550),
    SmtpFault("refuses one", "RCPT", "550 5.1.1 unknown", "sent", "1 of 2 .*refused for b@", address="b@example.com"),
    SmtpFault("refuses one for now", "RCPT", "452 full", "sent", "for b@.*not tried again", address="b@example.com"),
    SmtpFault("refuses the data", "DATA", "554 no", "rejected", "answered 554 no", 554),
    SmtpFault("is full after the data", "END-OF-DATA", "452 4.3.1 full", words="answered 452 4.3.1", status=452),
    SmtpFault("calls it spam", "END-OF-DATA", "554 5.7.1 spam", "rejected", "answered 554 5.7.1 spam", 554),
    SmtpFault("drops after the data", "END-OF-DATA", Deed.DROP, words="closed the connection"),
    SmtpFault("hangs after the data", "END-OF-DATA", Deed.HANG, words="within 2 s|timed out", timeout=IMPATIENCE),
    SmtpFault("drops in the middle", "RCPT", Deed.DROP, words="closed the connection"),
]  # fmt: skip

SECRETS = {
    "the path of a URL": "p4th-of-the-h00k",
    "the query of a URL": "qu3ry-t0ken",
    "the userinfo of a URL": "us3r-passw0rd",
    "a header": "h3ader-value",
    "a bearer token": "b3arer-token",
    "a signing key": base64.b64encode(b"signing-key-of-thirty-two-bytes!").decode(),
    "the path of a Slack URL": "B0TOKEN/sl4ck-path",
    "an Apprise URL": "appr1se-path",
    "the password of an Apprise URL": "appr1se-passw0rd",
    "a password for SMTP": "smtp-passw0rd",
}
"""Every secret by what it is. Each is looked for as it is, and in base64 as headers carry it."""


# -- one run -----------------------------------------------------------------------------------------


class Ended(NamedTuple):
    """How the first attempt of one config ended."""

    channel: str
    fault: str
    verdict: str
    status: int | None
    reason: str
    wrong: str  # what is not as documented


@dataclass
class Chaos:
    """One run in a folder. `ended` is what became of each config, and `leaks` names every secret that came to light."""

    folder: Path
    fast: bool
    ended: list[Ended] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    imbalances: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Everything, from the first row to the last look for secrets."""
        self.site = Site(self.folder)
        self._port = free_port()
        async with AsyncExitStack() as stack:
            with JobLog(self.folder / "jobs.db") as jobs:
                configs = [config async for config in self._configs(stack)]
                self.site.write(
                    daemon={"fast": self.fast, "log_level": "debug"},
                    http={"listen": f"127.0.0.1:{self._port}"},
                    sources=[jobs.source("jobs")],
                    notifications=[table for table, _ in configs],
                )
                self._token = self._make_token()
                async with Process(self.site.file) as process:
                    jobs.add("error", "no such order")
                    await until(lambda: self._all_tried(len(configs)), 60, "an attempt of each config")
                    texts = await self._texts()
                    await process.end()
                texts["the log"] = process.log.read_text()
                self.ended = [self._ended(table["name"], fault) for table, fault in configs]
                self.imbalances = self.site.imbalances()
                self.leaks = list(_leaks(texts))

    @property
    def wrong(self) -> list[str]:
        """What did not end as documented, a line each."""
        return [f"{each.channel}, {each.fault}: {each.wrong}" for each in self.ended if each.wrong]

    def _all_tried(self, count: int) -> bool:
        sql = "SELECT COUNT(DISTINCT config_id) FROM notification_history WHERE finished_at IS NOT NULL"
        return bool(self.site.value(sql) == count)

    def _ended(self, config: str, fault: HttpFault | SmtpFault) -> Ended:
        attempt = self.site.attempts(config)[0]
        channel = config.partition(" ")[0]
        verdict, status, reason = attempt["result"], attempt["status_code"], attempt["error"] or ""
        wrong = "; ".join(_not_as_documented(channel, fault, attempt))
        return Ended(channel, fault.name, verdict, status, reason, wrong)

    # The places

    async def _configs(self, stack: AsyncExitStack) -> Any:
        """Each config as a table of the settings file, with its fault, and its endpoint up."""
        ca, stranger = trustme.CA(), trustme.CA()
        ca_file = self.folder / "ca.pem"
        ca.cert_pem.write_to_path(str(ca_file))
        self._files = _Certificates(ca, stranger, ca_file)
        for number, fault in enumerate(HTTP_FAULTS):
            where = await self._http_place(stack, fault)
            yield _table("webhook", fault, _webhook(where, number, ca_file)), fault
            yield _table("slack", fault, _slack(where, ca_file)), fault
            if fault.certificate != "good" and fault.place != "no such name":  # it has no ca_file, and no such URLs
                yield _table("apprise", fault, _apprise(where)), fault
        for mail in SMTP_FAULTS:
            yield _table("email", mail, self._mail_server(stack, mail)), mail

    async def _http_place(self, stack: AsyncExitStack, fault: HttpFault) -> str:
        """Scheme, host and port."""
        scheme = "https" if fault.certificate or fault.tls_is_expected else "http"
        if fault.place == "closed port":
            return f"{scheme}://127.0.0.1:{closed_port()}"
        if fault.place == "no such name":
            return f"{scheme}://{'a' * 64}.example"
        sink = HttpSink("localhost", tls=self._files.server_side(fault) if fault.certificate else None)
        sink.answer = fault.answer
        await stack.enter_async_context(sink)
        return f"{scheme}://localhost:{sink.port}"

    def _mail_server(self, stack: AsyncExitStack, fault: SmtpFault) -> dict[str, Any]:
        """Its options. A server that speaks no TLS does not let anyone log in before it is asked for it."""
        password = SECRETS["a password for SMTP"]
        sink = stack.enter_context(SmtpSink(users={"ann": password}))
        if fault.reply:
            reply = fault.reply.format(password=password) if isinstance(fault.reply, str) else fault.reply
            sink.answer(fault.phase, reply, address=fault.address)
        return {
            "smtp_host": sink.host,
            "smtp_port": sink.port,
            "smtp_username": "ann",
            "smtp_password": password,
            "from_address": "notifyd@example.com",
            "to_addresses": ["a@example.com", "b@example.com"],
            "tls": fault.tls,
        }

    # What people can see

    async def _texts(self) -> dict[str, str]:
        """All that the daemon says, by where it says it."""
        texts = {}
        for path in ("configs", "history?limit=200", "deliveries?limit=200", "events?limit=50", "audit", "status"):
            texts[f"the API's {path}"] = await asyncio.to_thread(self._get, path)
        commands = ("status", "check")
        for command, told in zip(commands, await asyncio.gather(*map(self._notifyd, commands)), strict=True):
            texts[f"notifyd {command}"] = told
        for file in self.folder.glob("state.db*"):
            texts[file.name] = file.read_bytes().decode("latin-1")
        return texts

    def _make_token(self) -> str:
        database = open_database(f"sqlite:///{self.site.state}", create=True)
        try:
            now = datetime.now(UTC)
            return tokens.create(database, "chaos", [Permission.MANAGE_SETTINGS], Actor("chaos"), now)[1]
        finally:
            database.close()

    def _get(self, path: str) -> str:
        url = f"http://127.0.0.1:{self._port}/api/notifications/{path}"
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {self._token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    async def _notifyd(self, command: str) -> str:
        """What a command says, whatever comes of it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "notifyd", command, "--config", str(self.site.file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
        )
        told, _ = await process.communicate()
        return told.decode()


class _Certificates(NamedTuple):
    ca: trustme.CA
    stranger: trustme.CA
    ca_file: Path

    def server_side(self, fault: HttpFault) -> Any:
        expired = datetime.now(UTC) - timedelta(days=1) if fault.certificate == "expired" else None
        name = "elsewhere.example" if fault.certificate == "of another name" else "localhost"
        return server_side(self.stranger if fault.certificate == "unknown" else self.ca, name, expired)


# -- configs full of secrets -------------------------------------------------------------------------


def _table(channel: str, fault: HttpFault | SmtpFault, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"{channel} {fault.name}",
        "notification_type": channel,
        "config": options,
        "group": {"window": "0s"},
        "timeout": fault.timeout,
    }


def _webhook(where: str, number: int, ca_file: Path) -> dict[str, Any]:
    """With the user in the URL, or with a bearer token."""
    path = f"/{SECRETS['the path of a URL']}?key={SECRETS['the query of a URL']}"
    options: dict[str, Any] = {
        "url": f"{where}{path}",
        "headers": {"X-Key": SECRETS["a header"]},
        "signing_secrets": [f"whsec_{SECRETS['a signing key']}"],
        "ca_file": str(ca_file),
    }
    if number % 2:
        return options | {"auth_token": SECRETS["a bearer token"]}
    user = f"ann:{SECRETS['the userinfo of a URL']}@"
    return options | {"url": f"{where.replace('://', f'://{user}')}{path}"}


def _slack(where: str, ca_file: Path) -> dict[str, Any]:
    path = SECRETS["the path of a Slack URL"]
    return {"webhook_url": f"{where}/services/T0/{path}", "channel": "#alerts", "ca_file": str(ca_file)}


def _apprise(where: str) -> dict[str, Any]:
    user = f"ann:{SECRETS['the password of an Apprise URL']}"
    scheme, _, place = where.partition("://")
    return {"url": f"{scheme.replace('http', 'json')}://{user}@{place}/{SECRETS['an Apprise URL']}"}


# -- judging -----------------------------------------------------------------------------------------


def _not_as_documented(channel: str, fault: HttpFault | SmtpFault, attempt: Mapping[str, Any]) -> Iterator[str]:
    verdict, reason = attempt["result"], attempt["error"] or ""
    if channel == "apprise":
        assert isinstance(fault, HttpFault)
        wanted = fault.apprise or ("sent" if fault.verdict == "sent" else "retry")
        if verdict != wanted:
            yield f"{verdict}, not {wanted} ({reason})"
        if wanted == "retry" and (len(reason) < 10 or "gave no reason" in reason):
            yield f"without a real reason: {reason!r}"
        return
    if verdict != fault.verdict:
        yield f"{verdict}, not {fault.verdict} ({reason})"
    if attempt["status_code"] != fault.status:
        yield f"status {attempt['status_code']}, not {fault.status}"
    if not re.search(fault.words, reason) or (bool(reason) and not fault.words):
        yield f"the reason is {reason!r}"


def _leaks(texts: Mapping[str, str]) -> Iterator[str]:
    for where, text in texts.items():
        assert text, f"{where} is empty"
        for what, secret in SECRETS.items():
            if any(form in text for form in _forms(secret)):
                yield f"{what} is in {where}"


def _forms(secret: str) -> Sequence[str]:
    """The secret itself, as Basic authentication carries it, and as a URL or JSON quotes it."""
    login = base64.b64encode(f"ann:{secret}".encode()).decode()
    return secret, login, urllib.parse.quote(secret, safe=""), json.dumps(secret)[1:-1]
