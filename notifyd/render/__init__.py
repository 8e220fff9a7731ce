"""Notifications as words: one line for a subject, plain text, and HTML that says the same.

view → pages                 the default words: a View is what is said, the pages are how it looks
template → own_words         a config's own words instead; sandbox, language and budget keep its template in bounds
"""

from __future__ import annotations

import threading

from notifyd.api import Notification, Rendered
from notifyd.render.template import Template, TemplateError

__all__ = ["Template", "TemplateError", "check_template", "link_of", "load", "loaded", "render"]

# Jinja2 is loaded by the first notification or template: a command that needs neither does not pay for it.
_loaded = threading.Event()


def load() -> None:
    """Load what `render` needs: a tenth of a second, which an event loop should leave to a thread."""
    from notifyd.render import pages, view  # noqa: F401

    pages.load()
    _loaded.set()


def loaded() -> bool:
    """Whether that was done."""
    return _loaded.is_set()


def render(notification: Notification, template: Template | None = None, public_url: str = "") -> Rendered:
    """The notification as one line of title (at most 200 characters), text and HTML.

    Whatever a log wrote is safe in all three: the title holds no line break, the text no control
    character, and every value in the HTML is escaped. A template gives a title and a text of its own;
    where it fails, TemplateError says why. With a `public_url` there is a link back to the daemon.
    """
    from notifyd.render.pages import page_of
    from notifyd.render.view import view_of

    view = view_of(notification, link_of(public_url, notification))
    if template is None or template == Template():
        return page_of(view)

    from notifyd.render.own_words import in_own_words

    return in_own_words(view, notification, template)


def check_template(source: str) -> str | None:
    """What is wrong with a title or a body, tried with one sample of every event type and with a digest."""
    from notifyd.render.own_words import problem_of

    return problem_of(source)


def link_of(public_url: str, notification: Notification) -> str:
    """Where the daemon says how to look this delivery up; empty without a `public_url`."""
    return f"{public_url.rstrip('/')}/deliveries/{notification.id}" if public_url else ""
