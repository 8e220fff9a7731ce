"""A config's own words: its title and its body, as templates that a person wrote into the settings.

This module is loaded with the settings; Jinja2 is not, before there is a template.
"""

from __future__ import annotations

from dataclasses import dataclass

from notifyd.errors import NotifydError


@dataclass(frozen=True, slots=True)
class Template:
    """What a config says instead of the default title and text; None is the default."""

    title: str | None = None
    body: str | None = None


class TemplateError(NotifydError):
    """A template that could not be rendered, and why."""
