"""A notification in a config's own words: renders its template, and tries a template out before it is needed."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from typing import NamedTuple

import jinja2

from notifyd.api import Notification, Rendered
from notifyd.render.budget import TooMuch, a_budget, take
from notifyd.render.cleaning import clean_lines, one_line
from notifyd.render.language import Refused, parse
from notifyd.render.pages import body_page, page_of
from notifyd.render.samples import SAMPLES
from notifyd.render.sandbox import Sandbox
from notifyd.render.template import Template, TemplateError
from notifyd.render.variables import variables_of
from notifyd.render.view import TITLE_LIMIT, View, view_of

BODY_LIMIT = 10_000
"""Characters of a body; a longer one is cut."""

_LONGEST_REASON = 300
_SOME_LINK = "https://notifyd.example.com/deliveries/0"


class _Compiled(NamedTuple):
    template: jinja2.Template
    names: frozenset[str]  # the variables that it needs


def in_own_words(view: View, notification: Notification, template: Template) -> Rendered:
    """The notification as the template says it. Raises TemplateError, which names the part that failed."""
    title = _part("title", template.title, view, notification)
    body = _part("body", template.body, view, notification)
    if title is not None:
        view = dataclasses.replace(view, title=one_line(title, TITLE_LIMIT))
    return page_of(view) if body is None else body_page(view, clean_lines(body, BODY_LIMIT))


def problem_of(source: str) -> str | None:
    """What is wrong with a title or a body, found by trying it out on every sample."""
    if problem := _failure(partial(_compiled, source)):
        return problem
    for kind, sample in SAMPLES.items():
        view = view_of(sample, _SOME_LINK)
        if problem := _failure(partial(_words, source, view, sample)):
            return f"{problem} (tried with a sample of {kind})"
    return None


def _part(key: str, source: str | None, view: View, notification: Notification) -> str | None:
    if source is None:
        return None
    try:
        return _words(source, view, notification)
    except Exception as error:  # a template may fail in any way that a person can think of
        raise TemplateError(f"{key}: {_explained(error)}") from None


def _failure(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except Exception as error:
        return _explained(error)
    return None


def _words(source: str, view: View, notification: Notification) -> str:
    """The text that comes out; it is never empty."""
    compiled = _compiled(source)
    variables = variables_of(view, notification, compiled.names)
    with a_budget():
        text = "".join(_paid(compiled.template.generate(variables)))
    if not text.strip():
        raise Refused("nothing comes out of it")
    return text


def _paid(pieces: Iterator[str]) -> Iterator[str]:
    for piece in pieces:
        take(len(piece))
        yield piece


@lru_cache(maxsize=256)
def _compiled(source: str) -> _Compiled:
    parsed = parse(_sandbox(), source)
    return _Compiled(_sandbox().from_string(parsed.tree), parsed.names)


@cache
def _sandbox() -> Sandbox:
    return Sandbox()


def _explained(error: Exception) -> str:
    """What went wrong, and in which line of the template."""
    match error:
        case jinja2.TemplateSyntaxError():
            text = f"it is not a template: {error.message}"
        case Refused() | TooMuch() | jinja2.TemplateError():
            text = str(error)
        case RecursionError() | MemoryError():
            text = "it is nested too deeply"
        case _:
            text = f"{type(error).__name__}: {error}"
    line = _line(error)
    return one_line(f"line {line}: {text}" if line else text, _LONGEST_REASON)


def _line(error: Exception) -> int | None:
    if isinstance(error, jinja2.TemplateSyntaxError | Refused) and (line := getattr(error, "lineno", None)):
        return int(line)
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == "<template>"), None)
