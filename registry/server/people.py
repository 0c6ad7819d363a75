"""The door for people: the administration API below /api/v1/ and the pages below /ui/, beside the data plane.

* Nobody passes without an identity, but to the form for logging in and to what it is drawn with.
* The API takes what the data plane takes (Basic, tokens); the pages take the session's cookie as well.
* FastAPI and the templates are loaded when the first person comes, not when the server starts.
"""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from registry.server.auth import Identity
from registry.server.context import Registry
from registry.server.exchange import Answer, ASGIApp, Message, Request, Scope
from registry.server.limits import Gate, address_of
from registry.server.sessions import COOKIE, Sessions, session_key
from registry.server.watch import Sight
from registry.server.wire import Refusal

if TYPE_CHECKING:
    from fastapi import FastAPI

API, PAGES = "/api/v1/", "/ui/"
OPEN = ("/ui/login", "/ui/static/")
IDENTITY = "dryport.identity"
"""Where the ASGI scope says who asks; without it no route answers."""
ORIGIN, NOTE = "dryport.origin", "dryport.note"
"""Where it says for which address the request counts, and whom to tell of a refusal."""
LABELS = ("GET /api/v1/", "GET /ui/")
"""What requests here are counted as."""
_FRONT = ("/", "/ui")
_SAFE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
"""What is said with every answer that does not say otherwise itself."""
_ASK = 401


class People:
    """Answers for what `claims` names."""

    def __init__(self, registry: Registry, gate: Gate) -> None:
        self._registry, self._gate = registry, gate
        self._app: FastAPI | None = None
        self._loading = asyncio.Lock()
        self._sessions = Sessions(session_key(registry.settings))

    @staticmethod
    def claims(path: str) -> bool:
        """Say whether a path is for people."""
        return path in _FRONT or path.startswith((API, PAGES))

    async def answer(self, request: Request, sight: Sight) -> Answer:
        """Return the answer to one request. Raises Refusal (401) at the API; a page leads to the form instead."""
        sight.route = LABELS[not request.path.startswith(API)]
        sight.origin = address_of(request.peer, request.headers.get("x-forwarded-for"), self._registry.settings.limits)
        self._gate.admit_address(sight.origin)
        if request.path in _FRONT:
            return _redirect(PAGES)
        identity = await self._identify(request, sight.origin)
        if identity is None and not request.path.startswith(OPEN):
            asked = f"{request.path}?{_query(request)}" if request.query else request.path
            return _redirect(f"/ui/login?{urllib.parse.urlencode({'next': asked})}")
        if identity is not None:
            sight.user = identity.name
            self._gate.admit_identity(identity.name)
        note = partial(self._registry.watch.refused, sight, request)
        answer = await _run(await self._loaded(), request, {IDENTITY: identity, ORIGIN: sight.origin, NOTE: note})
        answer.headers = _SAFE | answer.headers
        return answer

    async def _identify(self, request: Request, origin: str) -> Identity | None:
        access = self._registry.access
        is_page = request.path.startswith(PAGES)
        if is_page and "authorization" not in request.headers:
            value = cookie(request.headers.get("cookie", ""))
            if value and (user := self._sessions.user(value, time.time(), access.account, access.void_before)):
                return access.granted(user)
        try:
            return await access.identify(request.headers, request.certificate, origin, tokens=False)
        except Refusal as refused:
            if is_page and refused.status == _ASK and "authorization" not in request.headers:
                return None
            raise

    async def _loaded(self) -> ASGIApp:
        async with self._loading:
            if self._app is None:
                self._app = await self._registry.threads.keep(self._load)
        return self._app

    def _load(self) -> FastAPI:
        from registry.server.admin import administration  # noqa: PLC0415 - half a second that no pull waits for

        return administration(self._registry, self._sessions)


def cookie(header: str) -> str:
    """Return the session's value in a Cookie header."""
    # The standard library's reader gives up at a foreign cookie that it does not like, and takes minutes over quotes.
    pairs = (part.partition("=") for part in header.split(";"))
    return next((value.strip() for name, _, value in pairs if name.strip() == COOKIE), "")


def _query(request: Request) -> str:
    return urllib.parse.urlencode(request.query, doseq=True)


def _redirect(place: str) -> Answer:
    return Answer(303, {"Location": place, "Cache-Control": "no-store"})


async def _run(app: ASGIApp, request: Request, about: Mapping[str, object]) -> Answer:
    """Ask an ASGI application that answers small things, and return its answer whole."""
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if request.method == "HEAD" else request.method,  # whoever replies leaves the body out
        "scheme": "http",
        "path": urllib.parse.unquote(request.path, errors="replace"),
        "raw_path": request.path.encode("latin-1"),
        "query_string": _query(request).encode(),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers.items()],
        **about,
    }
    answer, parts = Answer(500), []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {
                name.decode("latin-1").title(): text.decode("latin-1") for name, text in message["headers"]
            }
        else:
            parts.append(message.get("body", b""))

    await app(scope, request.receive, send)
    answer.body = b"".join(parts)
    return answer
