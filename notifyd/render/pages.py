"""The layouts of a view: Jinja2 templates of our own, compiled once."""

from __future__ import annotations

import re
import textwrap
from functools import cache

from jinja2 import PackageLoader, StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from notifyd.api import Rendered
from notifyd.render.view import View

WIDTH = 76

_ADDRESS = re.compile(r"""(https?://[^\s<>"']*[^\s<>"'.,;:!?)])""")


def page_of(view: View) -> Rendered:
    """The view in all its forms."""
    return Rendered(title=view.title, text=text_page(view), html=html_page(view), link=view.link)


def body_page(view: View, body: str) -> Rendered:
    """The view's title, and a text of the config's own in the place of all else."""
    html = _template("body.html").render(view=view, body=linked(body, view.link))
    return Rendered(title=view.title, text=body, html=html, body=body, link=view.link)


def text_page(view: View) -> str:
    """The view as plain text, wrapped for a mail reader without any HTML."""
    return _template("notification.txt").render(view=view)


def html_page(view: View) -> str:
    """The view as a complete HTML page without scripts, images or anything else to be fetched."""
    return _template("notification.html").render(view=view)


def load() -> None:
    """Compile the layouts, before the first of them is needed."""
    for name in ("notification.txt", "notification.html", "body.html"):
        _template(name)


@cache
def _template(name: str) -> Template:
    return _environment().get_template(name)


@cache
def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        loader=PackageLoader("notifyd.render"),
        autoescape=lambda name: name is None or name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["hang"] = hang
    environment.filters["breaks"] = breaks
    environment.filters["followed"] = followed
    return environment


def hang(text: str, lead: str, column: int) -> str:
    """The text wrapped at `column`, with `lead` before its first line.

    No line of the text can reach the margin, so that a text cannot pass for one of our headings.
    """
    margin = " " * column
    first = lead.ljust(column) if len(lead) < column else f"{lead}  "
    lines = [line for paragraph in text.split("\n") for line in _wrapped(paragraph, margin)]
    return (first + "\n".join(lines).removeprefix(margin)).rstrip()


def _wrapped(paragraph: str, margin: str) -> list[str]:
    """The lines of one paragraph; words are never broken, so that a URL stays one."""
    lines = textwrap.wrap(
        paragraph,
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [""]


def breaks(text: str) -> Markup:
    """The text, escaped, with <br> for its line ends: not every mail reader knows `white-space`."""
    return Markup("<br>").join(text.split("\n"))


def linked(text: str, link: str) -> Markup:
    """The text, escaped, in which our own link can be followed. No other can: a log may have written it."""
    return _anchor(link).join(breaks(part) for part in text.split(link)) if link else breaks(text)


def followed(text: str) -> Markup:
    """The text, escaped, in which every address can be followed: for what the settings say, and no log."""
    parts = _ADDRESS.split(text)  # texts and addresses in turn
    return Markup().join(_anchor(part) if number % 2 else part for number, part in enumerate(parts))


def _anchor(address: str) -> Markup:
    return Markup('<a href="{0}" style="color:inherit;">{0}</a>').format(address)
