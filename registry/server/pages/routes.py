"""The table of pages. Each names whether it shows the server's inside; each needs somebody who may see something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request, Response

from registry.server.callers import Admin, Anybody, Books, Number, Words, admin_viewer, viewer
from registry.server.catalogue import bundles, inside, manifests, packs, repositories, trail
from registry.server.catalogue.kinds import is_pack
from registry.server.catalogue.viewer import Name, NotVisibleError
from registry.server.pages import login
from registry.server.pages.rendering import HEADERS, render, static
from registry.server.people import PAGES
from registry.server.wire import Refusal

FILES = {
    "pages.css": "text/css; charset=utf-8",
    "search.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_PICTURE = {"Cache-Control": "private, max-age=86400", "Content-Security-Policy": "default-src 'none'; sandbox"}


def _front(request: Request, viewer: Anybody, shelf: Books) -> Response:
    return render(
        request,
        "front.html",
        packs=packs.packs(viewer, shelf, size=8),
        repositories=repositories.repositories(viewer, size=12),
        bundles=bundles.bundles(viewer),
    )


def _repositories(request: Request, viewer: Anybody, q: Words = "", page: Number = 1) -> Response:
    return render(request, "repositories.html", q=q, list=repositories.repositories(viewer, q, page))


def _repository(request: Request, viewer: Anybody, name: str, q: Words = "", page: Number = 1) -> Response:
    one = Name.parse(name)
    if one.tag or one.digest:
        return render(
            request, "manifest.html", one=manifests.manifest(viewer, one), name=one, is_pack=is_pack(one.repository)
        )
    found = repositories.repository(viewer, name, q, page)
    return render(request, "repository.html", q=q, one=found, is_pack=is_pack(name))


def _packs(request: Request, viewer: Anybody, shelf: Books, q: Words = "", page: Number = 1) -> Response:
    return render(request, "packs.html", q=q, list=packs.packs(viewer, shelf, q, page))


def _pack(request: Request, viewer: Anybody, shelf: Books, name: str) -> Response:
    return render(request, "pack.html", one=packs.pack(viewer, shelf, Name.parse(name)))


def _logo(viewer: Anybody, shelf: Books, name: str) -> Response:
    data, media_type = packs.logo(viewer, shelf, Name.parse(name))
    return Response(data, media_type=media_type, headers=HEADERS | _PICTURE)


def _bundles(request: Request, viewer: Anybody) -> Response:
    return render(request, "bundles.html", bundles=bundles.bundles(viewer))


def _storage(request: Request, viewer: Admin) -> Response:
    return render(request, "storage.html", one=inside.storage(viewer))


def _audit(request: Request, viewer: Admin, q: Words = "") -> Response:
    return render(request, "audit.html", q=q, trail=trail.trail(viewer, q))


def _users(request: Request, viewer: Admin) -> Response:
    return render(request, "users.html", users=inside.users(viewer.registry.access))


def _static(name: str) -> Response:
    if name not in FILES:
        raise NotVisibleError
    kept = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(static(name)[0], headers=kept | {"Content-Type": FILES[name]})


@dataclass(frozen=True, slots=True)
class PageRoute:
    """One row: a path below /ui/, and who may see it."""

    path: str
    endpoint: Callable[..., Any]
    is_inside: bool = False
    is_open: bool = False
    method: str = "GET"


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("", _front),
    PageRoute("repositories", _repositories),
    PageRoute("repositories/{name:path}", _repository),
    PageRoute("packs", _packs),
    PageRoute("packs/{name:path}", _pack),
    PageRoute("logos/{name:path}", _logo),
    PageRoute("bundles", _bundles),
    PageRoute("storage", _storage, is_inside=True),
    PageRoute("audit", _audit, is_inside=True),
    PageRoute("users", _users, is_inside=True),
    PageRoute("login", login.form, is_open=True),
    PageRoute("login", login.enter, is_open=True, method="POST"),
    PageRoute("logout", login.leave, method="POST"),
    PageRoute("static/{mark}/{name}", _static, is_open=True),
)


def add(app: FastAPI) -> None:
    """Add the pages to the application."""
    for route in ROUTES:
        guard = [] if route.is_open else [Depends(admin_viewer if route.is_inside else viewer)]
        app.add_api_route(
            PAGES + route.path,
            route.endpoint,
            methods=[route.method],
            dependencies=guard,
            include_in_schema=False,
            response_model=None,
        )


def refused(request: Request, answer: Refusal) -> Response:
    """Return the page that says what is not done."""
    page = render(request, "refused.html", answer.status, answer=answer)
    page.headers.update(answer.headers)
    return page
