"""Who stands behind a request to the API or the pages, as FastAPI's dependencies; without one nothing is answered."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from registry.server.auth import refusal
from registry.server.catalogue.packs import Shelf
from registry.server.catalogue.viewer import MOST_ROWS, Viewer
from registry.server.people import IDENTITY
from registry.server.wire import Refusal

_MOST_PAGES = 1_000_000


def viewer(request: Request) -> Viewer:
    """Return the caller's view. Raises Refusal (401) without an identity."""
    identity = request.scope.get(IDENTITY)
    if identity is None:
        raise refusal("credentials are required")
    return Viewer(request.app.state.registry, identity)


def admin_viewer(request: Request) -> Viewer:
    """Return the view of a caller who may look at the server's inside. Raises Refusal (403)."""
    found = viewer(request)
    if not found.is_admin:
        raise Refusal("DENIED", "this is for those with the grant admin:*")
    return found


def _shelf(request: Request) -> Shelf:
    shelf: Shelf = request.app.state.shelf
    return shelf


Anybody = Annotated[Viewer, Depends(viewer)]
Admin = Annotated[Viewer, Depends(admin_viewer)]
Books = Annotated[Shelf, Depends(_shelf)]
Words = Annotated[str, Query(max_length=200, description="Words that a name must hold.")]
Number = Annotated[int, Query(ge=1, le=_MOST_PAGES)]
Size = Annotated[int, Query(ge=1, le=MOST_ROWS)]
