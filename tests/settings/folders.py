"""A folder with a settings file, as the tests of settings use one."""

from __future__ import annotations

from pathlib import Path

from notifyd.settings import Settings, SettingsError, load

PAGER = '''
"""A drop-in plugin with options and a filter of many kinds."""
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from notifyd.api import Channel, Filter, Options, Pass, Secret, hookimpl


def _careless(secret):
    if secret.resolved and secret.reveal().startswith("leak"):
        raise ValueError(f"does not like {secret.reveal()}")
    if secret.resolved and secret.reveal().startswith("crash"):
        raise KeyError(secret.reveal())
    return secret


def _crashes(text):
    raise KeyError(text)


class Login(BaseModel, extra="forbid"):
    user: str = Field(alias="as")
    password: Annotated[Secret, AfterValidator(_careless)]


class PagerOptions(Options):
    number: int = Field(ge=1, le=999)
    login: Login | None = None
    tone: Literal["low", "high"] = "low"
    either: int | list[str] = 1
    since: date = date(2026, 1, 1)
    words: tuple[str, ...] = ()
    volume: float = 1.0
    tokens: dict[str, Annotated[Secret, AfterValidator(_careless)]] = {}
    crash: Annotated[str, AfterValidator(_crashes)] = ""

    @model_validator(mode="after")
    def _agree(self):
        if self.tone == "high" and self.volume > 2:
            raise ValueError("too loud for a high tone")
        return self


class Pager(Channel[PagerOptions]):
    """Pages."""

    name = "pager"
    Options = PagerOptions

    async def send(self, notification, ctx): ...


class Hours(BaseModel, extra="forbid"):
    begin: int
    end: int


class QuietHours(Filter[Hours]):
    """Holds at night."""

    name = "office_hours"
    Options = Hours

    def decide(self, event, ctx):
        return Pass()


@hookimpl
def notifyd_channels():
    return [Pager]


@hookimpl
def notifyd_filters():
    return [QuietHours]
'''


class Folder:
    """A folder with a settings file, and plugins beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "notifyd.toml"
        self.environ: dict[str, str] = {}

    def plugin(self, name: str, text: str) -> None:
        """Drop a plugin in."""
        (self.path / "plugins").mkdir(exist_ok=True)
        (self.path / "plugins" / name).write_text(text)

    def load(self, text: str, *, secrets: bool = True, outside_unit: bool = False) -> Settings:
        """Write the settings file and load it."""
        self.file.write_text(text)
        return load(self.file, secrets=secrets, environ=self.environ, outside_unit=outside_unit)

    def problems(self, text: str) -> list[str]:
        """What is wrong with it, as "line: key: text" without the file's name; empty where nothing is."""
        try:
            self.load(text)
        except SettingsError as error:
            return [line.removeprefix(f"{self.file}:") for line in str(error).splitlines()]
        return []
