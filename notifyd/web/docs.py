"""/api/openapi.json, and /api/docs: the same as a page, made here and asking no other host for anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, StrictUndefined, Template

from notifyd.web.answers import SAFE, answer

HEADERS = {
    **SAFE,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}

router = APIRouter(include_in_schema=False)


@router.get("/api/openapi.json")
async def openapi(request: Request) -> Response:
    """The OpenAPI document."""
    return answer(request.app.openapi())


@router.get("/api/docs")
async def docs(request: Request) -> Response:
    """The document as a page."""
    found = request.app.openapi()
    page = _TEMPLATE.render(about=found["info"], operations=list(_operations(found)), schemas=_schemas(found))
    return HTMLResponse(page, headers=HEADERS)


class Operation(NamedTuple):
    """One operation, as the page shows it."""

    method: str
    path: str
    summary: str
    description: str
    parameters: list[dict[str, Any]]
    examples: list[tuple[str, str]]
    responses: list[tuple[str, str, str]]


def _operations(found: dict[str, Any]) -> Iterator[Operation]:
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield Operation(
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                description=operation["description"],
                parameters=operation.get("parameters", []),
                examples=list(_examples(operation)),
                responses=list(_responses(operation)),
            )


def _examples(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        for example in content["examples"].values():
            yield example["summary"], _pretty(example["value"])


def _responses(operation: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Status, what it means, and the schema's name."""
    for status, response in operation["responses"].items():
        schemas = [content["schema"] for content in response.get("content", {}).values()]
        refs = [schema["$ref"].rpartition("/")[2] for schema in schemas if "$ref" in schema]
        yield status, response["description"], refs[0] if refs else ""


def _schemas(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, _pretty(schema)) for name, schema in sorted(found["components"]["schemas"].items())]


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def template(file: Traversable) -> Template:
    """A page; whatever it is given is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(file.read_text(encoding="utf-8"))


_TEMPLATE = template(files("notifyd.web").joinpath("docs.html"))
