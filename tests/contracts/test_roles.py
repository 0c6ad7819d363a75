"""Every route of the server, asked by every role: who is let through is written down once, and everything is asked.

The expectation is a table of roles and permissions, not of routes: a route that is added is asked by all, by itself.
The routes come from the application as it runs: the data plane's, the administration API's, and the pages'.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from fastapi.routing import APIRoute

from registry.server.accounts import ROBOTS
from registry.server.admin import VIEWS
from registry.server.app import Application
from registry.server.pages.routes import ROUTES as PAGES
from registry.server.people import API
from registry.server.robots import Robots, new_robot
from registry.server.routes import _BY_PATH, ROUTES, Permission, Route
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import certificate_line, user_line
from registry.store.store import Store
from tests.authority import Authority
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
PULLERS = {"puller", "everything", "robot", "token", "certificate"}
KNOWN = {*GRANTS, "robot", "token", "certificate"}
STRANGERS = {
    "anonymous",
    "wrong password",
    "robot whose time is up",
    "robot that was revoked",
    "certificate of nobody",
    "user who was removed",
    "token of who was removed",
    "session of who was removed",
}
MAY = {
    Permission.NONE: KNOWN | STRANGERS,
    Permission.LOGIN: KNOWN,
    Permission.PULL: PULLERS,
    Permission.PUSH: {"creator", "pusher", "everything"},
    Permission.DELETE: {"deleter", "everything"},
    Permission.METRICS: {"meter", "everything"},
}
ROLES = sorted(MAY[Permission.NONE])
ADMINISTRATORS = {"administrator", "everything"}
INSIDE = {"storage", "audit", "users"}
OPEN = {"/ui/login", "/ui/static/{mark}/{name}"}


@dataclass
class Doors:
    """One registry, and how each role knocks."""

    url: str
    ca: Path
    headers: dict[str, dict[str, str]]
    contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)
    _pools: dict[str, urllib3.PoolManager] = field(default_factory=dict)

    def ask(self, role: str, method: str, path: str) -> urllib3.BaseHTTPResponse:
        if role not in self._pools:
            context = self.contexts.get(role) or ssl.create_default_context(cafile=str(self.ca))
            self._pools[role] = urllib3.PoolManager(retries=False, timeout=30, ssl_context=context)
        body = None if method in ("GET", "HEAD") else b"{}"
        return self._pools[role].request(
            method, self.url + path, body=body, headers=self.headers.get(role, {}), redirect=False
        )


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder: Path = tmp_path_factory.mktemp("roles")
    users, access = folder / "users", folder / "access"
    servers, clients = Authority(folder, "servers"), Authority(folder, "clients")
    server = servers.issue()
    lines = [user_line(name, "pw", grants, iterations=100_000) for name, grants in GRANTS.items()]
    lines.append(certificate_line("certificate", "cn:builder.example.org", ["pull:shared/*"]))
    leaving = user_line("leaving", "pw", ["pull,push,delete:*", "metrics,admin:*"], iterations=100_000)
    users.write_text("".join(f"{line}\n" for line in [*lines, leaving]))
    access.mkdir()
    robot, secret = new_robot("one", ["pull:shared/*"], 1, datetime.now(UTC))
    over, over_secret = new_robot("over", ["pull,push,delete:*"], 1, datetime.now(UTC))
    over = replace(over, expires=datetime.now(UTC) - timedelta(seconds=1))
    _, revoked_secret = new_robot("revoked", ["pull,push,delete:*"], 1, datetime.now(UTC))
    (access / ROBOTS).write_bytes(Robots([robot, over]).as_file())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = Settings(
        port=port,
        users=users,
        access=access,
        certificate=server.certificate,
        key=server.key,
        client_ca=clients.ca,
        external_url=f"https://127.0.0.1:{port}",
    )
    with Store.open(folder / "store") as store, Running(settings, store) as running:
        basic = {name: f"{name}:pw" for name in (*GRANTS, "leaving")} | {
            "wrong password": "everything:wrong",
            "robot": f"robot@one:{secret}",
            "robot whose time is up": f"robot@over:{over_secret}",
            "robot that was revoked": f"robot@revoked:{revoked_secret}",
        }
        headers = {name: dict(urllib3.make_headers(basic_auth=given)) for name, given in basic.items()}
        found = Doors(running.url, servers.ca, headers)
        for role, common_name in (("certificate", "builder"), ("certificate of nobody", "stranger")):
            shown = clients.issue(f"{common_name}.example.org")
            found.contexts[role] = ssl.create_default_context(cafile=str(servers.ca))
            found.contexts[role].load_cert_chain(shown.certificate, shown.key)
        scope = "/token?scope=repository:shared/app:pull&scope=registry:catalog:*"
        for user, role in (("everything", "token"), ("leaving", "token of who was removed")):
            token = json.loads(found.ask(user, "GET", scope).data)["token"]
            headers[role] = {"Authorization": f"Bearer {token}"}  # narrower than whom it is for
        form = urllib3.PoolManager(retries=False, ca_certs=str(servers.ca)).request(
            "POST", f"{running.url}/ui/login", fields={"name": "leaving", "password": "pw"}, encode_multipart=False
        )
        headers["session of who was removed"] = {"Cookie": form.headers["Set-Cookie"].partition(";")[0]}
        headers["user who was removed"] = headers.pop("leaving")
        for role, path in (("token of who was removed", "/v2/"), ("session of who was removed", "/ui/")):
            assert found.ask(role, "GET", path).status == 200  # until now
        users.write_text("".join(f"{line}\n" for line in lines))
        yield found


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_route_lets_through_exactly_whom_its_permission_names(doors: Doors, route: Route, role: str) -> None:
    methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
    for method in methods:
        answer = doors.ask(role, method, path_of(route))
        assert answer.status < 500
        if route.path == "/token":  # gives to those who prove something, and to no token
            is_proven = role in KNOWN - {"token"}
            assert answer.status == (415 if method == "POST" else 200 if is_proven else 401)
        elif role in MAY[route.permission]:
            is_empty_place = route.path == "/files/{path}" and role not in PULLERS
            assert answer.status not in (401, 403) or is_empty_place, (role, method, answer.data)
        elif role in STRANGERS:
            assert answer.status == 401
            assert "WWW-Authenticate" in answer.headers
        else:
            assert answer.status == (401 if role == "token" else 403)


def rows_of_people() -> list[tuple[str, str]]:
    """Return method and path of every route that the application for people has, as it has them."""
    application = Application(Settings(), None, [])
    app = application._people._load()
    return [(method, route.path) for route in app.routes if isinstance(route, APIRoute) for method in route.methods]


PEOPLE = sorted(rows_of_people())


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "path"), PEOPLE, ids=lambda text: text)
def test_people_see_what_their_role_may(doors: Doors, method: str, path: str, role: str) -> None:
    asked = path.replace("{name:path}", "shared/app").replace("{mark}", "0").replace("{name}", "pages.css")
    is_api, is_inside = path.startswith(API), path.rpartition("/")[2] in INSIDE
    # A token is for the data plane alone, and nobody's session opens the API.
    is_known = role in KNOWN - {"token"}
    shows_proof = "authorization" in map(str.lower, doors.headers.get(role, {}))
    is_proof_refused = role == "token" or (role in STRANGERS and shows_proof)
    for verb in ("GET", "HEAD") if method == "GET" else (method,):
        answer = doors.ask(role, verb, asked)
        if is_known and is_inside:
            assert answer.status == (200 if role in ADMINISTRATORS else 403)
        elif is_known:
            assert answer.status in ((200, 404) if verb != "POST" else (303, 401)), answer.data
        elif is_api or is_proof_refused:
            assert answer.status == 401
            assert "WWW-Authenticate" in answer.headers
        elif path in OPEN:
            assert answer.status in (200, 401)
        else:
            assert answer.status == 303
            assert answer.headers["Location"].startswith("/ui/login?next=")


def test_the_matrix_asks_every_route_that_there_is() -> None:
    served = {(method, path) for path, routes in _BY_PATH.items() for method in routes if method != "HEAD"}
    assert served == {(route.method, route.path) for route in ROUTES}
    tables = {("GET", API + view.path) for view in VIEWS} | {(page.method, f"/ui/{page.path}") for page in PAGES}
    assert set(PEOPLE) == tables | {("GET", f"{API}openapi.json")}
    application = Application(Settings(), None, [])
    others = [route for route in application._people._load().routes if not isinstance(route, APIRoute)]
    assert others == []  # nothing mounted beside them


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
