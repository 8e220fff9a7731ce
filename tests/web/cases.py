"""schemathesis against a daemon: requests made up from what its OpenAPI document says, and every answer checked."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_SETTINGS = Path(__file__).with_name("schemathesis.toml")
_PROGRAM = Path(sys.executable).with_name("schemathesis")

LEAST_CASES = 5_000
"""Of one run with a token and one without."""

WHOLE = ("--max-examples", "40")
"""The whole schema: all phases, stateful too, with a token that may do everything."""

CLOSED = ("--max-examples", "5")
"""And without a token: there is little to make up, as everything is refused."""


@dataclass(frozen=True)
class Cases:
    """What came of a run: `made` is how many requests it says that it has made up, `passed` that no check failed."""

    passed: bool
    made: int
    said: str


async def cases(base_url: str, token: str | None, seed: int, *options: str) -> Cases:
    """Run all its checks in all its phases, unless `options` say otherwise."""
    given = ["-H", f"Authorization: Bearer {token}"] if token else []
    process = await asyncio.create_subprocess_exec(
        *(str(_PROGRAM), "--config-file", str(_SETTINGS), "run", f"{base_url}/api/openapi.json", *given),
        *("--checks", "all", "--workers", "1", "--continue-on-failure", "--no-color"),
        *("--generation-database", ":memory:", "--seed", str(seed), *options),
        *("--suppress-health-check", "too_slow"),  # a busy machine is no fault of the API
        cwd=ROOT,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.web.formats"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        text, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    said = text.decode()
    made = sum(int(number) for number in re.findall(r"(\d+) generated", said))
    return Cases(passed=process.returncode == 0, made=made, said=said)
