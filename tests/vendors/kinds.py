"""Registries that behave as vendors' do where they differ from the specification (each quirk's source at its class)."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from tests.attacks.scripted_server import Request
from tests.vendors.memory import MemoryRegistry, fault

MIB = 1 << 20


class TokenRegistry(MemoryRegistry):
    """Wants a token for a user's password; grants what the realm was asked for."""

    user, password = "robot", "secret"
    realm = "/service/token"
    post_status = 200
    """What the realm answers to POST."""
    lives = 1 << 30
    """How many requests a token is good for."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[str, tuple[set[str], list[int]]] = {}

    def scope(self, name: str) -> str:
        """Return what the registry calls a repository in its scopes."""
        return name

    def admits(self, request: Request, path: str) -> bool:
        if path == self.realm:
            self.grant(request)
            return False
        _, _, token = request.headers.get("Authorization", "").partition("Bearer ")
        granted, left = self.tokens.get(token, (set(), [0]))
        found = re.fullmatch(r".*?/v2/(.+)/(?:blobs|manifests|tags|referrers)/.*", path)
        name = self.scope(found[1]) if found else ""
        action = "pull" if request.command in {"GET", "HEAD"} else "push"
        with self.lock:
            if left[0] and (not found or f"{name}:{action}" in granted):
                left[0] -= 1
                return True
        request.body()
        wanted = f',scope="repository:{name}:pull,push"' if found else ""
        error = ',error="insufficient_scope"' if token in self.tokens else ""
        challenge = f'Bearer realm="{request.server.url}{self.realm}",service="registry"{wanted}{error}'
        fault(request, 401, "UNAUTHORIZED", WWW_Authenticate=challenge)
        return False

    def grant(self, request: Request) -> None:
        form = request.body().decode()
        if request.command == "POST" and self.post_status != 200:
            request.reply(self.post_status)
            return
        asked = parse_qs(form if request.command == "POST" else urlsplit(request.path).query)
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        by_basic = request.headers.get("Authorization") == f"Basic {pair}"
        by_form = (asked.get("username"), asked.get("password")) == ([self.user], [self.password])
        if not (by_basic or by_form):
            fault(request, 401, "UNAUTHORIZED", "wrong user or password")
            return
        granted = set()
        for scope in " ".join(asked.get("scope", [])).split():
            _, name, actions = scope.split(":")
            granted |= {f"{name}:{action}" for action in actions.split(",")}
        token = f"t{len(self.tokens) + 1}"
        self.tokens[token] = (granted, [self.lives])
        request.reply(200, json.dumps({"token": token, "expires_in": 1800}).encode())


class Crowded(MemoryRegistry):
    """Bears so many writes at once and turns the others away."""

    bears = 1
    turns_away = 503

    def __init__(self) -> None:
        super().__init__()
        self.inside = 0
        self.most = 0
        self.turned_away = 0
        self._count = threading.Lock()

    def __call__(self, request: Request) -> None:
        with self._entered() as is_in:
            if is_in or request.command in {"GET", "HEAD"}:
                super().__call__(request)
            else:
                request.body()
                fault(request, self.turns_away, "UNKNOWN", "pq: canceling statement due to lock timeout")

    @contextmanager
    def _entered(self) -> Iterator[bool]:
        with self._count:
            self.inside += 1
            self.most = max(self.most, self.inside)
            is_in = self.inside <= self.bears
            self.turned_away += not is_in
        try:
            time.sleep(0.02)
            yield is_in
        finally:
            with self._count:
                self.inside -= 1


class Harbor(TokenRegistry):
    """Harbor 2: projects exist first; its realm answers POST with 405 (#23799); its proxy refuses large bodies."""

    post_status = 405
    projects = ("library",)
    largest_body = 1 << 40

    def post_uploads(self, request: Request, name: str, rest: str, query: dict[str, str]) -> None:
        project = name.partition("/")[0]
        if project not in self.projects:
            request.body()
            fault(request, 404, "NOT_FOUND", f"project {project} not found")
            return
        super().post_uploads(request, name, rest, query)

    def put_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
        if request.left > self.largest_body:
            request.body()
            request.reply(413, b"<html>413 Request Entity Too Large</html>")
            return
        super().put_uploads(request, name, identity, query)


class Artifactory(TokenRegistry):
    """Artifactory: repository keys and an API prefix of its own in locations, realms and scopes.

    A blob in one PUT gives 404 (buildx #196); Accept at a push gives 406 (kwctl #59); an image without history is
    MANIFEST_INVALID (jib #534).
    """

    key = "docker-local"
    prefix = f"/artifactory/api/docker/{key}"
    realm = f"{prefix}/v2/token"

    def scope(self, name: str) -> str:
        return name.removeprefix(f"{self.key}/")

    def __call__(self, request: Request) -> None:
        if request.path.startswith(f"{self.prefix}/v2/") and not request.path.startswith(self.realm):
            request.path = request.path.replace(f"{self.prefix}/v2/", f"/v2/{self.key}/")
        super().__call__(request)

    def place(self, name: str, identity: str) -> dict[str, str]:
        inner = name.removeprefix(f"{self.key}/")
        return super().place(name, identity) | {"Location": f"{self.prefix}/v2/{inner}/blobs/uploads/{identity}"}

    def put_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
        if request.left:
            request.body()
            fault(request, 404, "BLOB_UPLOAD_UNKNOWN")
            return
        super().put_uploads(request, name, identity, query)

    def put_manifests(self, request: Request, name: str, reference: str, query: dict[str, str]) -> None:
        if "Accept" in request.headers:
            request.body()
            fault(request, 406, "UNSUPPORTED", "Not Acceptable")
            return
        super().put_manifests(request, name, reference, query)

    def missing(self, name: str, value: dict) -> str:
        config = self.blobs.get((name, value.get("config", {}).get("digest", "")), b"")
        if b'"rootfs"' in config and b'"history"' not in config:
            return "manifest invalid: history is missing in the image's configuration"
        return super().missing(name, value)


class Quay(TokenRegistry):
    """Quay: no anonymous mount, a layer at most once (oc-mirror #1478), names of two levels."""

    anonymous_mounts = False

    def post_uploads(self, request: Request, name: str, rest: str, query: dict[str, str]) -> None:
        if name.count("/") > 1:
            request.body()
            fault(request, 404, "NAME_UNKNOWN", "repository name not known to registry")
            return
        if "mount" in query and "from" not in query:
            request.body()
            fault(request, 400, "INVALID_REQUEST", "from is missing")
            return
        super().post_uploads(request, name, rest, query)

    def missing(self, name: str, value: dict) -> str:
        layers = [layer["digest"] for layer in value.get("layers", [])]
        if len(layers) != len(set(layers)):
            return "manifest invalid: repeated layer"
        return super().missing(name, value)


class Ecr(MemoryRegistry):
    """ECR: repositories exist first; Basic with a token that ends; chunks of 5 MiB; ranges a chunk behind (#2831)."""

    repositories = ("team/app",)
    least_chunk = 5 * MIB
    mounts = False
    referrers_api = True

    def __init__(self) -> None:
        super().__init__()
        self.secret = "first"
        self.last: dict[str, int] = {}

    def admits(self, request: Request, _path: str) -> bool:
        pair = base64.b64encode(f"AWS:{self.secret}".encode()).decode()
        if request.headers.get("Authorization") == f"Basic {pair}":
            return True
        request.body()
        fault(request, 401, "DENIED", "Not Authorized", WWW_Authenticate='Basic realm="https://ecr",service="ecr"')
        return False

    def post_uploads(self, request: Request, name: str, rest: str, query: dict[str, str]) -> None:
        if name not in self.repositories:
            request.body()
            fault(request, 404, "NAME_UNKNOWN", f"The repository with name '{name}' does not exist in the registry")
            return
        super().post_uploads(request, name, rest, query)

    def place(self, name: str, identity: str) -> dict[str, str]:
        behind = max(0, len(self.uploads[identity]) - self.last.get(identity, 0))
        return super().place(name, identity) | {"Range": f"0-{max(0, behind - 1)}"}

    def patch_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
        if 0 < self.last.get(identity, self.least_chunk) < self.least_chunk:
            request.body()
            fault(request, 400, "BLOB_UPLOAD_INVALID", "layer part too small")
            return
        self.last[identity] = request.left
        super().patch_uploads(request, name, identity, query)


class Gar(TokenRegistry):
    """Google Artifact Registry: no chunks, and nothing is kept of a request that broke off."""

    chunks = False
    keeps_broken = False
