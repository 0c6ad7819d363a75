"""A running registry over a store, and a client that speaks HTTP to it, nothing more."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.oci_samples import Image

ITERATIONS = 100_000
USERS = {
    "admin": ["pull,push,delete:*"],
    "reader": ["pull:shared/*"],
    "writer": ["push:shared/*"],
    "other": ["pull,push,delete:*"],
    "nothing": [],
}
_numbers = itertools.count(1)


@dataclass
class Wire:
    """One user's requests to one server."""

    url: str
    user: str | None = "admin"
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=30))

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> urllib3.BaseHTTPResponse:
        """Send a request; header names are given with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.user:
            sent |= urllib3.make_headers(basic_auth=f"{self.user}:pw-{self.user}")
        target = path if path.startswith("http") else self.url + path
        return self.pool.request(method, target, body=body, headers=sent)

    def as_user(self, name: str | None) -> Wire:
        return Wire(self.url, name, self.pool)

    def push_blob(self, repository: str, data: bytes) -> Digest:
        digest = Digest.of(data)
        begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert begun.status == 202
        done = self.ask("PUT", f"{begun.headers['Location']}?digest={digest}", data)
        assert done.status == 201, done.data
        return digest

    def push_manifest(
        self, repository: str, data: bytes, reference: str, media_type: str = OCI_MANIFEST
    ) -> urllib3.BaseHTTPResponse:
        return self.ask("PUT", f"/v2/{repository}/manifests/{reference}", data, Content_Type=media_type)

    def push_image(self, repository: str, sample: Image, tag: str) -> Digest:
        for data in sample.blobs.values():
            self.push_blob(repository, data)
        assert self.push_manifest(repository, sample.manifest, tag).status == 201
        return Digest.of(sample.manifest)


def code(answer: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    """Return the status and the error's code; the body must be as the specification says."""
    assert answer.headers["Content-Type"] == "application/json"
    (error,) = json.loads(answer.data)["errors"]
    assert error["message"]
    return answer.status, error["code"]


def body(answer: urllib3.BaseHTTPResponse) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON body of a good answer."""
    assert answer.status == 200, answer.data
    return json.loads(answer.data)


def write_users(path: Path) -> Path:
    """Write a users file in which each password is `pw-` and the name."""
    lines = (user_line(name, f"pw-{name}", grants, iterations=ITERATIONS) for name, grants in USERS.items())
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("registry") / "store") as opened:
        yield opened


@pytest.fixture(scope="session")
def wire(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Wire]:
    users = write_users(tmp_path_factory.mktemp("users") / "users")
    with Running(Settings(users=users), store) as running:
        yield Wire(running.url)


@pytest.fixture
def name() -> str:
    """A repository that no other test uses."""
    return f"t{next(_numbers)}/app"
