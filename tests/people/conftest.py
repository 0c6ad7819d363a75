"""A running registry that people visit, and what a browser without any cleverness gets from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest
import urllib3

from registry.oci.digest import Digest
from registry.server.auth import Identity, access_of
from registry.server.catalogue.viewer import Viewer
from registry.server.context import Registry
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.sources import Sources
from registry.server.threads import Threads
from registry.server.users import Grant, user_line
from registry.store.store import Store
from tests import people_samples

ITERATIONS = 100_000
USERS = {
    "admin": ["pull,push,delete:*", "admin:*"],
    "reader": ["pull:team/*", "pull:spectro-packs/*"],
    "writer": ["push,delete:*"],
    "counter": ["metrics:*"],
    "nothing": [],
}


@dataclass
class Visitor:
    """Somebody's requests to one server; `cookie` is what a login left behind."""

    url: str
    user: str | None = None
    cookie: str = ""
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=60))

    def ask(
        self, path: str, method: str = "GET", body: dict[str, str] | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.user:
            sent |= urllib3.make_headers(basic_auth=f"{self.user}:pw-{self.user}")
        if self.cookie:
            sent["Cookie"] = self.cookie
        data = urlencode(body).encode() if body is not None else None
        return self.pool.request(method, self.url + path, body=data, headers=sent, redirect=False)

    def text(self, path: str) -> str:
        answer = self.ask(path)
        assert answer.status == 200, (path, answer.status, answer.data[:300])
        return answer.data.decode()

    def by(self, user: str | None) -> Visitor:
        return Visitor(self.url, user, pool=self.pool)

    def login(self, name: str, password: str = "", **more: str) -> urllib3.BaseHTTPResponse:
        return self.ask("/ui/login", "POST", {"name": name, "password": password or f"pw-{name}", **more})

    def logged_in(self, name: str, password: str = "") -> Visitor:
        answer = self.login(name, password)
        assert answer.status == 303, answer.data
        return Visitor(self.url, cookie=answer.headers["Set-Cookie"].partition(";")[0], pool=self.pool)


@dataclass(frozen=True)
class Place:
    """Where a registry keeps its things."""

    folder: Path
    store: Store

    @property
    def users(self) -> Path:
        return self.folder / "users"

    @property
    def settings(self) -> Settings:
        return Settings(users=self.users, access=self.folder / "access")


def write_users(path: Path, users: dict[str, list[str]] | None = None) -> None:
    """Write a users file in which each password is `pw-` and the name."""
    lines = (user_line(name, f"pw-{name}", grants, iterations=ITERATIONS) for name, grants in (users or USERS).items())
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("people")
    write_users(folder / "users")
    with Store.open(folder / "store") as store:
        people_samples.fill(store, folder / "packs")
        yield Place(folder, store)


@pytest.fixture(scope="session")
def visitor(place: Place) -> Iterator[Visitor]:
    with Running(place.settings, place.store, [people_samples.mount(place.folder)]) as running:
        yield Visitor(running.url)


def of(place: Place) -> Viewer:
    """Return an administrator's view of what a place keeps, without a server."""
    settings, threads = place.settings, Threads()
    access = access_of(settings, threads)
    registry = Registry(settings, place.store, Sources([place.store]), threads, access, None)  # type: ignore[arg-type]
    return Viewer(registry, Identity("admin", (Grant.parse("admin:*"), Grant.parse("pull:*"))))


def blob(data: bytes) -> tuple[Digest, list[bytes]]:
    """Return what stores some bytes."""
    return Digest.of(data), [data]
