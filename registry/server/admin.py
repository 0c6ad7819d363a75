"""The administration API: what the pages show, as JSON below /api/v1/, described by /api/v1/openapi.json.

It looks and never changes: what changes a registry is the data plane's or the command line's. Each row of `VIEWS` names
what a caller needs; a path without a row does not exist, and a caller without an identity gets nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from registry.server.callers import Admin, Anybody, Books, Number, Size, Words, admin_viewer, viewer
from registry.server.catalogue import bundles, inside, manifests, packs, repositories, trail
from registry.server.catalogue.viewer import PAGE_ROWS, Name, NotVisibleError, Page, Shown
from registry.server.context import Registry
from registry.server.pages.routes import add, refused
from registry.server.people import API, NOTE
from registry.server.sessions import Sessions
from registry.server.wire import Refusal


class Fault(BaseModel):
    """One error in the data plane's form."""

    code: str
    message: str


class Faults(BaseModel):
    """What is answered instead of what was asked."""

    errors: list[Fault]


class Caller(Shown):
    """Who asks."""

    name: str
    is_admin: bool
    grants: list[str]


def _caller(viewer: Anybody) -> Caller:
    """Who asks, and what is granted."""
    grants = [str(grant) for grant in viewer.identity.grants]
    return Caller(name=viewer.identity.name, is_admin=viewer.is_admin, grants=grants)


def _repositories(
    viewer: Anybody, q: Words = "", page: Number = 1, size: Size = PAGE_ROWS
) -> Page[repositories.RepositoryRow]:
    """Repositories that the caller may pull from."""
    return repositories.repositories(viewer, q, page, size)


def _repository(
    viewer: Anybody, name: str, q: Words = "", page: Number = 1, size: Size = PAGE_ROWS
) -> repositories.RepositoryView:
    """One repository with its tags, the newest version first."""
    return repositories.repository(viewer, name, q, page, size)


def _manifest(viewer: Anybody, name: str) -> manifests.ManifestView:
    """One manifest, named `repository:tag` or `repository@digest`."""
    return manifests.manifest(viewer, Name.parse(name))


def _packs(
    viewer: Anybody, shelf: Books, q: Words = "", page: Number = 1, size: Size = PAGE_ROWS
) -> Page[packs.PackRow]:
    """Packs, each in its newest version."""
    return packs.packs(viewer, shelf, q, page, size)


def _pack(viewer: Anybody, shelf: Books, name: str) -> packs.PackView:
    """One pack, named `repository` (its newest version) or `repository:version`."""
    return packs.pack(viewer, shelf, Name.parse(name))


def _bundles(viewer: Anybody) -> list[bundles.BundleView]:
    """Mounted bundles with their release statements."""
    return bundles.bundles(viewer)


def _storage(viewer: Admin) -> inside.StorageView:
    """What the store holds, per repository against its quota, and what garbage collection would free."""
    return inside.storage(viewer)


def _users(viewer: Admin) -> list[inside.UserRow]:
    """Users and robots with their grants; never a secret or its hash."""
    return inside.users(viewer.registry.access)


def _audit(viewer: Admin, q: Words = "", most: Size = trail.MOST_LINES) -> trail.TrailView:
    """The latest lines of the audit log that hold every word."""
    return trail.trail(viewer, q, most)


@dataclass(frozen=True, slots=True)
class View:
    """One row: a path below /api/v1/, and whether only administrators may ask."""

    path: str
    endpoint: Callable[..., Any]
    is_inside: bool = False


VIEWS: tuple[View, ...] = (
    View("caller", _caller),
    View("repositories", _repositories),
    View("repositories/{name:path}", _repository),
    View("manifests/{name:path}", _manifest),
    View("packs", _packs),
    View("packs/{name:path}", _pack),
    View("bundles", _bundles),
    View("storage", _storage, is_inside=True),
    View("audit", _audit, is_inside=True),
    View("users", _users, is_inside=True),
)


def administration(registry: Registry, sessions: Sessions) -> FastAPI:
    """Return the application that `People` asks: the API and the pages."""
    app = FastAPI(title="dryport registry", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.redirect_slashes = False  # such a redirect leads to whatever host the client named
    app.state.registry, app.state.sessions = registry, sessions
    app.state.shelf = packs.Shelf()
    faults: dict[int | str, dict[str, Any]] = {"4XX": {"model": Faults, "description": "Refused."}}
    for view in VIEWS:
        guard = [Depends(admin_viewer if view.is_inside else viewer)]  # whatever the endpoint itself asks for
        name = view.endpoint.__name__.removeprefix("_")
        app.add_api_route(
            API + view.path, view.endpoint, dependencies=guard, responses=faults, name=name, operation_id=name
        )

    @app.get(f"{API}openapi.json", dependencies=[Depends(viewer)], include_in_schema=False)
    def described() -> dict[str, Any]:
        return app.openapi()

    add(app)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(NotVisibleError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """Return the answer to what is not done: a page for a person at the pages, else JSON in the data plane's form."""
    answer = _refusal(error)
    if NOTE in request.scope:
        request.scope[NOTE](answer)
    if not request.url.path.startswith(API):
        return refused(request, answer)
    return JSONResponse(_json(answer), answer.status, answer.headers)


def _json(answer: Refusal) -> dict[str, Any]:
    return {"errors": [{"code": answer.code, "message": answer.message}]}


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, NotVisibleError):
        return Refusal("NAME_UNKNOWN", "there is no such thing here that you may see")
    if isinstance(error, RequestValidationError):
        wrong = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
        return Refusal("UNSUPPORTED", wrong[:500], status=400)
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    words = {404: "there is no such path", 405: "the method is not allowed"}
    return Refusal("UNSUPPORTED", words.get(status, "this is refused"), status=status, headers=headers)
