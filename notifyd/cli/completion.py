"""`notifyd completion`: the script that a shell reads, and that asks notifyd itself for what fits."""

from __future__ import annotations

from typer.completion import get_completion_script  # type: ignore[attr-defined] # it serves --show-completion

VARIABLE = "_NOTIFYD_COMPLETE"
"""As `notifyd.__main__` looks for it."""


def completion(shell: str) -> None:
    """Print the script, as it is."""
    print(get_completion_script(prog_name="notifyd", complete_var=VARIABLE, shell=shell))  # noqa: T201
