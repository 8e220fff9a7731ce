"""Presets: partial [[sources]] tables for known systems, kept beside the sources as data."""

from __future__ import annotations

import importlib.resources
from typing import Any

import tomli

_FOLDER = importlib.resources.files("notifyd") / "sources" / "presets"


def preset_names() -> list[str]:
    """The presets that there are, by name."""
    names = (file.name for file in _FOLDER.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read_preset(name: str) -> dict[str, Any]:
    """What a preset says, as a partial [[sources]] table."""
    return tomli.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))


def merge(preset: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """The preset with the user's table over it: key by key, and also inside of columns and statuses."""
    preset = {key: value for key, value in preset.items() if key not in _replaced(table)}
    merged = {**preset, **table}
    for key in ("columns", "statuses"):
        if isinstance(table.get(key), dict):
            merged[key] = {**preset.get(key, {}), **table[key]}
    if isinstance(table.get("statuses"), dict) and "statuses" in preset:
        merged["statuses"] = _moved(merged["statuses"], table["statuses"])
    return merged


def _replaced(table: dict[str, Any]) -> set[str]:
    """A query of the user's own takes the place of the preset's table, and the other way round."""
    return {"table", "query"} if {"table", "query"} & table.keys() else set()


def _moved(statuses: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The statuses without the raw values of a preset's list that the user has put into another list."""
    claimed = [raw for raws in own.values() if isinstance(raws, list) for raw in raws]
    return {
        status: raws if status in own else [raw for raw in raws if raw not in claimed]
        for status, raws in statuses.items()
    }
