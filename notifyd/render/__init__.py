"""Notifications as words: one line for a subject, plain text, and HTML that says the same."""

from __future__ import annotations

from notifyd.api import Notification, Rendered


def render(notification: Notification) -> Rendered:
    """The notification as one line of title (at most 200 characters), text and HTML.

    Whatever a log wrote is safe in all three: the title holds no line break, the text no control
    character, and every value in the HTML is escaped.
    """
    # Jinja2 is loaded by the first notification: a command that sends nothing does not pay for it.
    from notifyd.render.pages import html_page, text_page
    from notifyd.render.view import view_of

    view = view_of(notification)
    return Rendered(title=view.title, text=text_page(view), html=html_page(view))
