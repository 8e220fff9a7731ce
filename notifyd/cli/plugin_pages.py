"""A page for each plugin that comes with notifyd, made from its models: `python -m notifyd.cli.plugin_pages FOLDER`.

The pages are `config/plugins/*.md`; a test compares them with what this makes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from notifyd.api import HttpOptions
from notifyd.cli.example import example_of
from notifyd.cli.plugins import Option, options_of
from notifyd.plugin_host import Registered, discover

_PACKAGE = "notifyd_plugins."


def pages() -> Mapping[str, str]:
    """Each page by the name of its file."""
    registry = discover(None)
    ours: list[tuple[str, Registered[Any]]] = [("channel", each) for each in registry.channels.values()]
    ours += [("filter", each) for each in registry.filters.values()]
    plugins = [(kind, each) for kind, each in ours if each.cls.__module__.startswith(_PACKAGE)]
    found = {f"{each.name}.md": "\n".join(_page(kind, each)) + "\n" for kind, each in plugins}
    return {"README.md": "\n".join(_index(plugins)) + "\n", **found}


def _index(plugins: list[tuple[str, Registered[Any]]]) -> Iterator[str]:
    yield "# The plugins that come with notifyd"
    yield ""
    yield "Made from the plugins themselves by `python -m notifyd.cli.plugin_pages config/plugins`."
    for kind in ("channel", "filter"):
        yield ""
        yield f"| {kind} | what it does |"
        yield "|---|---|"
        yield from (f"| [`{each.name}`]({each.name}.md) | {_cell(each.doc)} |" for of, each in plugins if of == kind)


def _page(kind: str, plugin: Registered[Any]) -> Iterator[str]:
    yield f"# The {kind} `{plugin.name}`"
    yield ""
    yield _escaped(inspect.cleandoc(plugin.cls.__doc__ or plugin.doc))
    if kind == "channel" and not plugin.cls.api_allowed:
        yield ""
        yield "Only a settings file may use it, not the API."
    yield ""
    yield "```toml"
    yield example_of(kind, plugin)
    yield "```"
    yield ""
    yield from _table(plugin)


def _table(plugin: Registered[Any]) -> Iterator[str]:
    kind = plugin.cls.Options
    options = options_of(plugin)
    over_http = isinstance(kind, type) and issubclass(kind, HttpOptions)
    own = [option for option in options if not (over_http and option.name in HttpOptions.model_fields)]
    yield "| key | type | default | what it is |"
    yield "|---|---|---|---|"
    yield from map(_row, own)
    if over_http:
        keys = ", ".join(f"`{name}`" for name in HttpOptions.model_fields)
        yield ""
        yield f"And, as [every channel that speaks HTTP](../README.md#every-channel-that-speaks-http): {keys}."


def _row(option: Option) -> str:
    name = option.name if option.name.startswith("(") else f"`{option.name}`"
    default = "required" if option.required else f"`{_cell(option.default)}`" if option.default else ""
    return f"| {name} | {_cell(option.type)} | {default} | {_cell(option.description or '')} |"


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|")


def _escaped(text: str) -> str:
    return text.replace("<", "\\<")


def main() -> None:
    """Write the pages into the folder that is named, and remove those of plugins that are gone."""
    folder, made = Path(sys.argv[1]), pages()
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
