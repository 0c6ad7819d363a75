"""Every route of the one table, asked by every role: who is let through is written down once, and everything is asked.

The expectation is a table of roles and permissions, not of routes: a route that is added is asked by all, by itself.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import urllib3

from registry.server.accounts import ROBOTS
from registry.server.robots import Robots, new_robot
from registry.server.routes import ROUTES, Permission, Route
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.contracts.test_oci_access import path_of

GRANTS = {
    "puller": ["pull:shared/*"],
    "creator": ["create:shared/*"],
    "pusher": ["push:shared/*"],
    "deleter": ["delete:shared/*"],
    "elsewhere": ["pull,push,delete:other/*"],
    "meter": ["metrics:*"],
    "administrator": ["admin:*"],
    "nothing": [],
    "everything": ["pull,push,delete:*", "metrics,admin:*"],
}
MAY = {
    Permission.NONE: {*GRANTS, "anonymous", "wrong", "robot", "token"},
    Permission.LOGIN: {*GRANTS, "robot", "token"},
    Permission.PULL: {"puller", "everything", "robot", "token"},
    Permission.PUSH: {"creator", "pusher", "everything"},
    Permission.DELETE: {"deleter", "everything"},
    Permission.METRICS: {"meter", "everything"},
}
ROLES = sorted(MAY[Permission.NONE])


@dataclass
class Doors:
    """One registry, and how each role knocks."""

    url: str
    headers: dict[str, dict[str, str]]
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=30))

    def ask(self, role: str, method: str, path: str) -> urllib3.BaseHTTPResponse:
        body = None if method in ("GET", "HEAD") else b"{}"
        return self.pool.request(method, self.url + path, body=body, headers=self.headers[role])


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder: Path = tmp_path_factory.mktemp("roles")
    users, access = folder / "users", folder / "access"
    users.write_text(
        "".join(user_line(name, "pw", grants, iterations=100_000) + "\n" for name, grants in GRANTS.items())
    )
    access.mkdir()
    robot, secret = new_robot("one", ["pull:shared/*"], 1, datetime.now(UTC))
    (access / ROBOTS).write_bytes(Robots([robot]).as_file())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = Settings(port=port, users=users, access=access, external_url=f"http://127.0.0.1:{port}")
    with Store.open(folder / "store") as store, Running(settings, store) as running:
        headers = {name: dict(urllib3.make_headers(basic_auth=f"{name}:pw")) for name in GRANTS}
        headers["robot"] = dict(urllib3.make_headers(basic_auth=f"robot@one:{secret}"))
        headers |= {"anonymous": {}, "wrong": dict(urllib3.make_headers(basic_auth="everything:wrong"))}
        found = Doors(running.url, headers)
        scope = "/token?scope=repository:shared/app:pull&scope=registry:catalog:*"
        token = json.loads(found.ask("everything", "GET", scope).data)["token"]
        headers["token"] = {"Authorization": f"Bearer {token}"}  # narrower than whom it is for
        yield found


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_route_lets_through_exactly_whom_its_permission_names(doors: Doors, route: Route, role: str) -> None:
    methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
    for method in methods:
        answer = doors.ask(role, method, path_of(route))
        asks_itself = route.path == "/token"  # its own rules are tested with the token flow
        if asks_itself or role in MAY[route.permission]:
            is_empty_place = route.path == "/files/{path}" and role not in ("puller", "everything", "robot", "token")
            assert answer.status not in (401, 403, 500) or asks_itself or is_empty_place, (role, method, answer.data)
        elif role in ("anonymous", "wrong"):
            assert answer.status == 401
            assert "WWW-Authenticate" in answer.headers
        else:
            assert answer.status == (401 if role == "token" else 403)
        assert answer.status < 500


def test_every_permission_has_its_roles() -> None:
    assert set(MAY) == set(Permission)
    assert {route.permission for route in ROUTES} == set(Permission)


def test_every_path_that_changes_something_is_guarded_and_audited() -> None:
    changing = [
        route for route in ROUTES if route.method in ("PUT", "POST", "PATCH", "DELETE") and route.path != "/token"
    ]
    assert all(route.permission in (Permission.PUSH, Permission.DELETE) for route in changing)
    unseen = {"/v2/{name}/blobs/uploads/{id}"}  # a session's parts show nobody anything until it is closed
    assert [str(route) for route in changing if not route.event and route.path not in unseen] == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"])
@pytest.mark.parametrize("route", sorted({route.path for route in ROUTES}))
def test_a_method_without_a_row_is_refused_to_everybody(doors: Doors, route: str, method: str) -> None:
    rows = {row.method for row in ROUTES if row.path == route}
    if method in rows or (method == "HEAD" and "GET" in rows):
        return
    row = next(row for row in ROUTES if row.path == route)
    assert doors.ask("everything", method, path_of(row)).status == 405
