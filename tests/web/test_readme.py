"""The chapter of config/README.md on the API: each of its commands is run, as it stands there."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.sinks.http import HttpSink
from tests.sinks.log import JobLog
from tests.system.site import Site
from tests.web.conftest import Api

README = (Path(__file__).parents[2] / "config" / "README.md").read_text(encoding="utf-8")
CHAPTER = README.split("\n## The API\n")[1].split("\n## ")[0]
COMMANDS = re.findall(r"```sh\n(.*?)```", CHAPTER, re.DOTALL)


def test_every_block_is_run() -> None:
    assert len(COMMANDS) == CHAPTER.count("```") / 2 == 5


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="the chapter uses curl and jq")
async def test_the_chapter(api: Api, sink: HttpSink, jobs: JobLog, site: Site) -> None:
    """With this daemon's port, and a sink in the place of Slack."""
    jobs.add("error", "no such order")
    await sink.wait_for(1)
    script = "\n".join(COMMANDS).replace("127.0.0.1:8321", f"127.0.0.1:{api.daemon.server.port}")
    script = script.replace("https://hooks.slack.com", sink.url)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=site.folder,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NOTIFYD_CONFIG": str(site.file),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = (text.decode() for text in await process.communicate())
    assert process.returncode == 0, out + err
    assert "ntf_" not in out
    for expected in (
        "\tops\twebhook",
        '"success": true',
        '"webhook_url": "********"',
        '"window": "15m"',
        '"balanced": true',
    ):
        assert expected in out, out
    for action in ("config.created", "config.changed", "config.tested", "config.deleted"):
        assert re.search(rf"\tdeploy\t{re.escape(action)}\n", out), out
    assert [request.path for request in sink.requests].count("/services/T000/B000/XXXX") == 2
    assert "the token deploy" in out
