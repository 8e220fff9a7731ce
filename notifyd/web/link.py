"""/deliveries/ID, where the links in notifications lead: how to look a delivery up. It is open, and holds no data.

Whoever is told something may lack a token, and a link in a mail carries none. So the page says who can see more, and
how, in the same words whether there is such a delivery or not.
"""

from __future__ import annotations

import re
from importlib.resources import files

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from notifyd.web.docs import HEADERS, template
from notifyd.web.problems import Problem

_ID = re.compile("dlv_[0-9a-f]{24}")

router = APIRouter(include_in_schema=False)


def is_link(path: str) -> bool:
    """Whether this is the address of such a page."""
    return path.startswith("/deliveries/") and _ID.fullmatch(path.removeprefix("/deliveries/")) is not None


@router.get("/deliveries/{delivery_id}")
async def link(delivery_id: str) -> Response:
    """How to look this delivery up."""
    if not _ID.fullmatch(delivery_id):
        raise Problem(404, "there is nothing at this address")
    return HTMLResponse(_PAGE.render(id=delivery_id), headers=HEADERS)


_PAGE = template(files("notifyd.web").joinpath("link.html"))
