"""A drop-in plugin that does one bad thing, as its options say: copy it into a plugins_dir."""

import asyncio
import ctypes
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Literal

from pydantic import Field

from notifyd.api import Channel, CheckContext, Context, HttpOptions, Notification, Reject, Retry, Secret, hookimpl


class ChaosOptions(HttpOptions):
    """What it does."""

    does: Literal[
        "well", "raise", "sys.exit", "os._exit", "crash", "block", "spin", "eat memory", "hang", "swallow", "print",
        "nonsense", "leak", "fail", "retry", "reject", "connect", "log", "words", "late", "note", "no start", "no open",
        "tell", "modules",
    ] = Field(description="The bad thing.")  # fmt: skip
    url: str = Field("", description="Where it sends, if it does.")
    port: int = Field(0, description="Where it connects.")
    token: Secret | None = Field(None, description="A secret.")
    seconds: float = Field(3600, description="For how long.")


class Chaos(Channel[ChaosOptions]):
    """Does one bad thing."""

    name = "chaos"
    Options = ChaosOptions

    def __init__(self, options: ChaosOptions) -> None:
        super().__init__(options)
        if options.does == "no start":
            raise ValueError(f"will not start with {options.token and options.token.reveal()}")

    async def open(self) -> None:
        if self.options.does == "no open" and not Path(self.options.url or "/nowhere").exists():
            raise OSError("will not open")

    async def check(self, ctx: CheckContext) -> str:
        answer = await ctx.http.request("GET", self.options.url)
        return f"HTTP {answer.status}"

    async def send(self, notification: Notification, ctx: Context) -> str | None:
        does, seconds = self.options.does, self.options.seconds
        if does == "raise":
            raise KeyError("oops")
        if does == "sys.exit":
            sys.exit(3)
        if does == "os._exit":
            os._exit(7)
        if does == "crash":
            ctypes.string_at(0)
        if does == "block":
            time.sleep(seconds)
        if does == "spin":
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                pass
        if does == "eat memory":
            self.eaten = [bytearray(64 * 1024 * 1024) for _ in range(10)]
        if does == "hang":
            await asyncio.sleep(seconds)
        if does == "swallow":
            while True:
                try:
                    await asyncio.sleep(seconds)
                except asyncio.CancelledError:
                    continue
        if does == "print":
            for _ in range(50_000):
                print("la la la")
        if does == "tell":
            token = self.options.token.reveal()
            print("printed", token)
            print("x" * 495 + token)  # cut where a log line ends
            sys.stderr.write("written " + token[:4])
            await asyncio.sleep(0)
            sys.stderr.write(token[4:] + "\n")
            logging.getLogger("chaos").warning("logged %s", token, extra={"also": [token]})
            logging.getLogger("chaos").warning(f"formatted {token}")
            try:
                raise ValueError(f"raised {token}")  # noqa: TRY301
            except ValueError:
                traceback.print_exc()
                logging.getLogger("chaos").exception("caught")
            await asyncio.create_task(asyncio.to_thread(print, "a thread printed", token))
        if does == "nonsense":
            return object()
        if does == "leak":
            self.left = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(10)]
        if does == "fail":
            raise Retry("not now")
        if does == "retry":
            raise Retry("come again", 17, status_code=503)
        if does == "reject":
            raise Reject("never", status_code=410)
        if does == "connect":
            with await ctx.connect("127.0.0.1", self.options.port) as connection:
                await asyncio.get_running_loop().sock_sendall(connection, ctx.delivery_id.encode())
        if does == "log":
            ctx.log.warning("look", token=self.options.token and self.options.token.reveal(), number=7)
        if does == "words":
            return f"{ctx.render().title}, {ctx.attempt}, {ctx.now:%H:%M}, {ctx.timeout:g}"
        if does == "note":
            return f"with {self.options.token and self.options.token.reveal()}"
        if does == "modules":
            unasked = {"notifyd_plugins", "structlog", "aiosmtplib"} & {name.partition(".")[0] for name in sys.modules}
            return " ".join(sorted({__name__, *unasked}))
        if does == "late":
            await asyncio.sleep(seconds)
        if self.options.url:
            answer = await ctx.http.request("POST", self.options.url, body=ctx.delivery_id.encode())
            answer.raise_for_status(ctx.now)
        return None


@hookimpl
def notifyd_channels() -> list[type[Channel]]:
    return [Chaos]
