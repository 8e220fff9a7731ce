"""A page as its reader sees it, and every notification that a log may lead to."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import strategies as st

from notifyd.api import Event, EventType, Notification, Rendered, Severity
from notifyd.model import Closes
from tests.sinks.context import a_notification, an_event

OWN_TAGS = frozenset(
    {
        *("html", "head", "meta", "title", "style", "body"),
        *("table", "tr", "td", "th", "div", "span", "br", "h1", "h2", "b", "a"),
    }
)
"""Every element that our pages have; anything else was written by a log."""


class Page(HTMLParser):
    """The words and the tags of a page as a browser reads it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._inside: list[str] = []
        self.feed(html)
        self.close()

    @property
    def words(self) -> list[str]:
        return self.text.split()

    @property
    def links(self) -> list[str | None]:
        """Where one can go from here."""
        return [value for name, value in self.attributes if name == "href"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._separate(tag)
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._separate(tag)
        assert self._inside.pop() == tag, "every element is closed in order"

    def handle_data(self, data: str) -> None:
        if "head" not in self._inside:
            self.text += data

    def _separate(self, tag: str) -> None:
        """Elements part words, but for a link, which may stand in the middle of one."""
        if tag != "a":
            self.text += " "


def assert_safe(html: str, *links: str) -> None:
    """Only the page's own elements are there, closed in order, and nothing that a browser would fetch or run."""
    page = Page(html)
    assert set(page.tags) <= OWN_TAGS
    assert set(page.links) <= set(links)
    assert not {name for name, _ in page.attributes} & {"src", "background", "srcset"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not [value for name, value in page.attributes if name == "style" and "url(" in (value or "")]


def assert_printable(rendered: Rendered) -> None:
    """Nothing comes out that a reader could not see, or that would turn the rest around."""
    for text in rendered.text.split("\n") + rendered.html.split("\n") + [rendered.title]:
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", text)


def words_of(rendered: Rendered) -> list[str]:
    """The words of the text, and those of the page."""
    return [" ".join(rendered.text.split()), " ".join(Page(rendered.html).words)]


# Texts as logs really hold them, and worse: every Unicode character is possible, lone surrogates included.
texts = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    [
        "",
        "<script>alert(1)</script>",
        "a\r\nBcc: x@example.com",
        "{{ 7 * 7 }}",
        "\x1b[31mred",
        "invoice\u202egpj.exe",
        "x" * 5000,
        "&lt;",
        "'\"><i>",
    ]
)
maybe = st.none() | texts


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Events of every kind, with any text in each of their fields."""
    return an_event(
        severity=draw(st.sampled_from(Severity)),
        event_type=draw(st.sampled_from(EventType)),
        title=draw(texts),
        message=draw(texts),
        connector_id=draw(maybe),
        entity_type=draw(maybe),
        tenant_id=draw(maybe),
        run_id=draw(maybe),
        details=draw(st.dictionaries(texts, texts, max_size=4)),
        suggested_actions=tuple(draw(st.lists(texts, max_size=3))),
        closes=draw(st.none() | st.builds(Closes, texts, texts)),
    )


@st.composite
def notifications(draw: st.DrawFn) -> Notification:
    """Single events, and digests with more events than they show."""
    headline, samples = draw(events()), draw(st.lists(events(), max_size=12))
    return a_notification(headline, *samples, count=len(samples) + draw(st.integers(0, 500)), config=draw(texts))
