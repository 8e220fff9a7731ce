"""Stops one thread of another process, as a hung disk or a dead network file system would: by ptrace(2).

with frozen(process.pid, "store"):      # the thread of that name
    …
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def threads(pid: int) -> dict[str, int]:
    """The threads of a process by name, as the system shows them."""
    return {(task / "comm").read_text().strip(): int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()}


@contextmanager
def frozen(pid: int, name: str) -> Iterator[None]:
    """While this lasts, the thread does not run. Only for a thread that is not at work in Python right now."""
    thread = threads(pid)[name]
    _ptrace(_SEIZE, thread)
    _ptrace(_INTERRUPT, thread)
    os.waitpid(thread, _WALL)
    try:
        yield
    finally:
        if _libc.ptrace(_DETACH, thread, None, None) != 0:  # it was killed
            with suppress(ChildProcessError):
                os.waitpid(thread, _WALL)


def _ptrace(request: int, thread: int) -> None:
    if _libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"ptrace({request:#x})")
