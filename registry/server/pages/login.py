"""Logging in and out: the same users and the same checks as at the data plane, remembered in a cookie of the pages."""

from __future__ import annotations

import asyncio
import time
import urllib.parse

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from starlette.requests import ClientDisconnect

from registry.server.auth import LoginRefusal
from registry.server.context import Registry
from registry.server.exchange import DisconnectedError
from registry.server.pages.rendering import HEADERS, render
from registry.server.people import NOTE, ORIGIN, PAGES
from registry.server.sessions import COOKIE, SECONDS, Sessions
from registry.server.wire import Refusal

_FORM_BYTES = 8 << 10
FORM_SECONDS = 30.0


def form(request: Request) -> Response:
    """Show the form."""
    return render(request, "login.html", next=_inward(request.query_params.get("next", "")), fault="")


async def enter(request: Request) -> Response:
    """Begin a session, or show the form again. Raises Refusal as the data plane does when too many are tried."""
    _refuse_strangers(request)
    given = urllib.parse.parse_qs((await _body(request)).decode("utf-8", "replace"), max_num_fields=8)
    name, password, after = (given.get(field, [""])[0] for field in ("name", "password", "next"))
    registry: Registry = request.app.state.registry
    sessions: Sessions = request.app.state.sessions
    try:
        user = await registry.access.login(name, password, request.scope[ORIGIN])
    except LoginRefusal as refused:
        request.scope[NOTE](refused)
        return render(request, "login.html", 401, next=_inward(after), fault="The name or the password is wrong.")
    answer = RedirectResponse(_inward(after), 303, HEADERS)
    value = sessions.begin(user, time.time())
    answer.set_cookie(COOKIE, value, SECONDS, path=PAGES, httponly=True, samesite="strict", secure=_is_secure(request))
    return answer


def leave(request: Request) -> Response:
    """End the session."""
    _refuse_strangers(request)
    answer = RedirectResponse(f"{PAGES}login", 303, HEADERS)
    answer.delete_cookie(COOKIE, path=PAGES, httponly=True, samesite="strict", secure=_is_secure(request))
    return answer


def _refuse_strangers(request: Request) -> None:
    """Refuse a form that another site's page sent: browsers say where a request comes from."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refusal("DENIED", "this form was sent from another site")


def _is_secure(request: Request) -> bool:
    settings = request.app.state.registry.settings
    return settings.certificate is not None or str(settings.external_url).startswith("https://")


def _inward(place: str) -> str:
    """Return where to go next if it is one of the pages, else the first of them."""
    path = urllib.parse.urlsplit(place).path
    is_ours = path.startswith(PAGES) and path not in (f"{PAGES}login", f"{PAGES}logout")
    return place if is_ours and place.startswith("/ui") and "\\" not in place and place.isprintable() else PAGES


async def _body(request: Request) -> bytes:
    """Return the form. Raises Refusal (408, 413), and DisconnectedError if the person went away."""
    data = b""
    try:
        async with asyncio.timeout(FORM_SECONDS):
            async for part in request.stream():
                data += part
                if len(data) > _FORM_BYTES:
                    raise Refusal("SIZE_INVALID", "the form is too large", status=413)
    except TimeoutError as error:
        raise Refusal("UNSUPPORTED", "the form did not come in time", status=408) from error
    except ClientDisconnect as error:
        raise DisconnectedError from error
    return data
