"""Answers that say what is wrong: RFC 9457 problem details, each with one sentence for a person.

`error` repeats the sentence, for clients that look there; `errors` points at the fields of a request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from notifyd.errors import NotifydError
from notifyd.saved import Missing
from notifyd.settings import BodyError
from notifyd.settings.wording import explain, printable
from notifyd.store.database import StoreError
from notifyd.store.edits import NameTaken, Outdated
from notifyd.web.answers import SAFE

MEDIA_TYPE = "application/problem+json"

_SENTENCES = {404: "there is nothing at this address", 405: "this address does not take this method"}

log = structlog.get_logger("notifyd.web")


class Problem(Exception):
    """Ends a request with this status and sentence. `members` are added to the answer."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        # What it quotes of the request cannot break out of its line, here or in a log.
        self.status, self.detail, self.headers, self.members = status, printable(detail), headers, members

    def response(self) -> Response:
        """The answer."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "error": self.detail,
            **self.members,
        }
        return Response(json.dumps(body), self.status, {**SAFE, **(self.headers or {})}, MEDIA_TYPE)


def of_body(path: Iterable[str | int], text: str) -> dict[str, str]:
    """One of `errors`: a field of the body, by its JSON pointer (RFC 6901)."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return {"pointer": "#" + "".join(f"/{step}" for step in steps), "detail": text}


def of_parameter(name: str, text: str) -> dict[str, str]:
    """One of `errors`: a parameter of the address."""
    return {"parameter": name, "detail": text}


def tell_problems(app: FastAPI) -> None:
    """Have every error end as a problem."""
    app.exception_handler(Problem)(_problem)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_parameters)
    app.exception_handler(BodyError)(_body)
    app.exception_handler(Missing)(_missing)
    app.exception_handler(NotifydError)(_refused)
    app.exception_handler(NameTaken)(_name_taken)
    app.exception_handler(Outdated)(_outdated)
    app.exception_handler(StoreError)(_store)
    app.exception_handler(Exception)(_bug)


async def _problem(_: Request, problem: Problem) -> Response:
    return problem.response()


async def _http(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == 405 and (allowed := _allowed(request)):
        headers["Allow"] = ", ".join(allowed)
    return Problem(error.status_code, _SENTENCES.get(error.status_code, str(error.detail)), headers).response()


def _allowed(request: Request) -> list[str]:
    """The methods that this address takes, by the documentation: a route by itself knows only its own."""
    paths, asked = request.app.openapi()["paths"], request.url.path
    matching = [asked] if asked in paths else [path for path in paths if _regex(path).match(asked)]
    taken = {name.upper() for path in matching for name in paths[path]}
    return sorted(taken | {"HEAD"} if "GET" in taken else taken)


@cache
def _regex(path: str) -> re.Pattern[str]:
    return compile_path(path)[0]


async def _parameters(_: Request, error: RequestValidationError) -> Response:
    errors = [of_parameter(str(each["loc"][-1]), explain(each, each.get("input"))) for each in error.errors()]
    return Problem(422, f"{errors[0]['parameter']}: {errors[0]['detail']}", errors=errors).response()


async def _body(_: Request, error: BodyError) -> Response:
    errors = [of_body(fault.path, fault.text) for fault in error.faults]
    return Problem(422, str(error), errors=errors).response()


async def _missing(_: Request, error: Missing) -> Response:
    return Problem(404, str(error)).response()


async def _refused(_: Request, error: NotifydError) -> Response:
    """Right as a request, and not to be done as things are: a config of the settings file, a plugin with a bug."""
    return Problem(409, str(error)).response()


async def _name_taken(_: Request, error: NameTaken) -> Response:
    return Problem(409, str(error), errors=[of_body(["name"], str(error))]).response()


async def _outdated(_: Request, error: Outdated) -> Response:
    return Problem(412, f"{error}; read it again, and make your change to what it is now").response()


async def _store(_: Request, error: StoreError) -> Response:
    log.error("the state DB cannot be used", why=str(error))
    return Problem(503, str(error), {"Retry-After": "5"}).response()


async def _bug(_: Request, error: Exception) -> Response:
    return Problem(500, f"this is a bug in notifyd, and its log has the details: {type(error).__name__}").response()
