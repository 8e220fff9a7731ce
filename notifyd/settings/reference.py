"""The settings file that `notifyd init` writes: every key, commented out, with its default."""

from __future__ import annotations

import importlib.resources


def default_config_text() -> str:
    """The text of config/notifyd.toml, as it is packaged."""
    return (importlib.resources.files("notifyd") / "files" / "notifyd.toml").read_text(encoding="utf-8")
