"""Places to connect to, and a resolver that knows where they are."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import datetime

import trustme

from notifyd.outbound import Resolver


class Book:
    """A lookup that gives the answers of a list, the last of them again and again; `asked` are the names."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(given) for name, given in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        given = self.answers[host]
        return given.pop(0) if len(given) > 1 else given[0]

    def resolver(self) -> Resolver:
        return Resolver(self)


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def never_accepting(host: str, port: int = 0) -> Iterator[int]:
    """A port whose queue of connections is full, so that connecting to it takes for ever."""
    with socket.create_server((host, port), backlog=0) as server, contextlib.ExitStack() as queue:
        for _ in range(4):  # more than its queue holds
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def server_side(ca: trustme.CA, name: str, expires: datetime | None = None) -> ssl.SSLContext:
    """TLS for a sink that is called `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name, not_after=expires).configure_cert(context)
    return context
