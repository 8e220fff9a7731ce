"""A control group whose memory is limited: the kernel kills who wants more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

_HIERARCHIES = {
    "/sys/fs/cgroup/memory": ("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.oom_control"),  # version 1
    "/sys/fs/cgroup": ("memory.current", "memory.max", "memory.events"),
}


class MemoryGroup:
    """`folder` is the group; the files that say and limit how much it uses differ between the two versions."""

    def __init__(self, folder: Path, usage: str, limit: str, events: str) -> None:
        self.folder = folder
        self._usage, self._limit, self._events = folder / usage, folder / limit, folder / events

    @classmethod
    @contextmanager
    def made(cls) -> Iterator[Self]:
        """A group of its own; the test is skipped where none can be made."""
        for hierarchy, names in _HIERARCHIES.items():
            group = cls(Path(hierarchy, f"notifyd-test-{os.getpid()}"), *names)
            if group._make():
                try:
                    yield group
                finally:
                    group.folder.rmdir()
                return
        pytest.skip("this process may not limit memory: there is no control group that it could make one in")

    def _make(self) -> bool:
        try:
            self.folder.mkdir()
        except OSError:
            return False
        if self._limit.exists():
            return True
        self.folder.rmdir()
        return False

    def take(self, pid: int) -> None:
        """From now on, what this process wants is counted here."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def leave(self, more: int) -> None:
        """Let it have so many bytes more than it has now, and no disk to put the rest on."""
        for name, value in (("memory.swappiness", "0"), ("memory.swap.max", "0")):
            if (file := self.folder / name).exists():
                file.write_text(value)
        self._limit.write_text(str(int(self._usage.read_text()) + more))

    @property
    def killed(self) -> int:
        """How many the kernel has killed here."""
        words = self._events.read_text().split()
        return int(words[words.index("oom_kill") + 1])
