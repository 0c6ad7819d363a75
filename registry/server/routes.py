"""The one table of routes: method, path, and what a caller must be granted. What is not in it does not exist.

Paths are matched undecoded and from the right, because a repository's name may hold any of the words between
slashes: `/v2/a/blobs/b/manifests/latest` is the tag `latest` of the repository `a/blobs/b`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from registry.server import blobs, files, health, listings, login, manifests, uploads
from registry.server.context import Call
from registry.server.exchange import Answer
from registry.server.tokens import CATALOG

Handler = Callable[[Call], Awaitable[Answer]]
NAME = "{name}"
"""Stands for one or more segments."""


class Permission(Enum):
    """What a route demands."""

    NONE = "none"
    """Anybody: health, and where tokens are given out, which asks for itself."""
    LOGIN = "login"
    """Anybody who may pull at all; the handler shows only what the caller may pull."""
    PULL = "pull"
    PUSH = "create"
    """To add content; who may move a tag that is there is asked when there is one."""
    DELETE = "delete"
    METRICS = "metrics"
    """To read the server's counters."""


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table."""

    method: str
    path: str
    permission: Permission
    handler: Handler
    event: str = ""
    """What a success is called in the audit log; empty for what changes nothing."""
    is_shared: bool = False
    """Whether a good answer is the same for everybody who may ask."""

    def scope(self, repository: str) -> str:
        """Return what a client has to ask a token for, to be let through here; nothing where any token will do."""
        if self.handler is listings.catalog:
            return f"{CATALOG}:*"
        words = {Permission.PULL: "pull", Permission.PUSH: "pull,push", Permission.DELETE: "delete"}
        if self.permission not in words or '"' in repository or "\\" in repository:
            return ""
        return f"repository:{repository}:{words[self.permission]}"

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


ROUTES: tuple[Route, ...] = (
    Route("GET", "/livez", Permission.NONE, health.alive),
    Route("GET", "/readyz", Permission.NONE, health.ready),
    Route("GET", "/metrics", Permission.METRICS, health.metrics),
    Route("GET", "/token", Permission.NONE, login.get),
    Route("POST", "/token", Permission.NONE, login.post),
    Route("GET", "/token/keys", Permission.NONE, login.keys),
    Route("GET", "/v2/", Permission.LOGIN, health.version),  # end-1
    Route("GET", "/v2/_catalog", Permission.LOGIN, listings.catalog),
    Route("GET", "/v2/{name}/blobs/{digest}", Permission.PULL, blobs.get),  # end-2
    Route("DELETE", "/v2/{name}/blobs/{digest}", Permission.DELETE, blobs.delete, "blob.delete"),  # end-10
    Route("GET", "/v2/{name}/manifests/{reference}", Permission.PULL, manifests.get, is_shared=True),  # end-3
    Route("PUT", "/v2/{name}/manifests/{reference}", Permission.PUSH, manifests.put, "manifest.put"),  # end-7
    Route(
        "DELETE", "/v2/{name}/manifests/{reference}", Permission.DELETE, manifests.delete, "manifest.delete"
    ),  # end-9
    Route("POST", "/v2/{name}/blobs/uploads/", Permission.PUSH, uploads.begin, "blob.put"),  # end-4, end-11
    Route("PATCH", "/v2/{name}/blobs/uploads/{id}", Permission.PUSH, uploads.append),  # end-5
    Route("PUT", "/v2/{name}/blobs/uploads/{id}", Permission.PUSH, uploads.close, "blob.put"),  # end-6
    Route("GET", "/v2/{name}/blobs/uploads/{id}", Permission.PUSH, uploads.status),  # end-13
    Route("DELETE", "/v2/{name}/blobs/uploads/{id}", Permission.PUSH, uploads.cancel),  # end-14
    Route("GET", "/v2/{name}/tags/list", Permission.PULL, listings.tags, is_shared=True),  # end-8
    Route("GET", "/v2/{name}/referrers/{digest}", Permission.PULL, listings.referrers, is_shared=True),  # end-12
    Route("GET", "/files/{path}", Permission.LOGIN, files.get),
)


@dataclass(frozen=True, slots=True)
class Match:
    """A path that the table has: its routes by method, the repository, and what the last part says."""

    routes: dict[str, Route]
    repository: str = ""
    argument: str = ""


def match(path: str) -> Match | None:
    """Return what the table has for a path, as it came over the wire."""
    for pattern, routes in _BY_PATH.items():
        found = _fit(pattern, path)
        if found is not None:
            return Match(routes, *found)
    return None


def _fit(pattern: str, path: str) -> tuple[str, str] | None:
    if pattern == "/files/{path}":
        rest = path.removeprefix("/files/")
        return ("", rest) if rest != path else None
    head, name, tail = pattern.partition(NAME)
    if not name:
        return ("", "") if path == pattern else None
    if not path.startswith(head):
        return None
    ends = tail.split("/")[1:]
    parts = path[len(head) :].split("/")
    name_parts, end_parts = parts[: -len(ends)], parts[-len(ends) :]
    if not name_parts or len(end_parts) < len(ends):
        return None
    argument = ""
    for wanted, seen in zip(ends, end_parts, strict=True):
        if wanted.startswith("{") and seen:
            argument = seen
        elif wanted != seen:
            return None
    return "/".join(name_parts), argument


def _by_path() -> dict[str, dict[str, Route]]:
    found: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        methods = found.setdefault(route.path, {})
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            methods[method] = route
    return found


_BY_PATH = _by_path()
