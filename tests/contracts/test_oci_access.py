"""Who may do what on every route: anonymous, a stranger, a user without the grant, a user with it."""

from __future__ import annotations

import base64
import json
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from registry.oci.digest import Digest
from registry.server.routes import ROUTES, Permission, Route
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.store.store import Store
from tests.contracts.conftest import Wire, body, code, write_users
from tests.contracts.content_source import APP, LARGE, OTHER, REPOSITORY
from tests.contracts.test_content_source import fill

GUARDED = [route for route in ROUTES if route.permission is not Permission.NONE]
VALUES = {"{name}": "shared/app", "{digest}": f"sha256:{'0' * 64}", "{reference}": "1.0", "{id}": "0" * 32}


def path_of(route: Route) -> str:
    path = route.path.replace("{path}", "shared/app/1.0/file.txt")
    for part, value in VALUES.items():
        path = path.replace(part, value)
    return path


def identify(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", GUARDED, ids=identify)
def test_without_credentials_every_route_asks_for_them(wire: Wire, route: Route) -> None:
    answer = wire.as_user(None).ask(route.method, path_of(route), b"body")
    assert code(answer) == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')


@pytest.mark.parametrize("route", GUARDED, ids=identify)
@pytest.mark.parametrize("given", ["wrong password", "unknown user", "bearer", "no base64", "no colon"])
def test_wrong_credentials_are_refused_on_every_route(wire: Wire, route: Route, given: str) -> None:
    sent = {
        "wrong password": "Basic " + base64.b64encode(b"admin:wrong").decode(),
        "unknown user": "Basic " + base64.b64encode(b"nobody:pw").decode(),
        "bearer": "Bearer token",
        "no base64": "Basic ???",
        "no colon": "Basic " + base64.b64encode(b"admin").decode(),
    }[given]
    answer = wire.as_user(None).ask(route.method, path_of(route), b"body", Authorization=sent)
    assert code(answer) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("route", [route for route in GUARDED if "{name}" in route.path], ids=identify)
def test_what_no_grant_allows_is_denied(wire: Wire, route: Route) -> None:
    allowed = {Permission.PULL: "reader", Permission.PUSH: "writer", Permission.DELETE: "admin"}[route.permission]
    for user in {"reader", "writer", "nothing"} - {allowed}:
        assert code(wire.as_user(user).ask(route.method, path_of(route), b"body")) == (403, "DENIED")
    assert wire.as_user(allowed).ask(route.method, path_of(route), b"body").status not in (401, 403)


def test_denied_says_the_same_whether_it_exists_or_not(wire: Wire) -> None:
    wire.push_blob("hidden/there", b"{}")
    reader = wire.as_user("reader")
    digest = Digest.of(b"{}")
    there, missing = (reader.ask("GET", f"/v2/hidden/{name}/blobs/{digest}") for name in ("there", "missing"))
    assert (there.status, there.data) == (missing.status, missing.data)


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_asks_nobody(wire: Wire, path: str) -> None:
    assert wire.as_user(None).ask("GET", path).status == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/", "/v2", "/v2/a", "/v2//blobs/uploads/", "/v2/_oci/ext/discover", "/admin", "/docs", "/files", "//v2/"],
)
def test_what_is_not_in_the_table_does_not_exist(wire: Wire, path: str) -> None:
    assert wire.ask("GET", path).status in (400, 404, 405)


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "%2e%2e/b", "a%2fb", "a%00", "A", "a//b", "a/", "-a", "a" * 256, "a\\b", "%c0%ae", "a.%"]
)
def test_what_is_no_repository_name_never_reaches_content(wire: Wire, name: str) -> None:
    parts = urlsplit(wire.url)
    line = HTTPConnection(str(parts.hostname), parts.port, timeout=30)  # sends a path as it is; urllib3 would mend it
    login = urllib3.make_headers(basic_auth="admin:pw-admin")
    line.request("GET", f"/v2/{name}/manifests/latest", headers=dict(login))
    answer = line.getresponse()
    assert (answer.status, json.load(answer)["errors"][0]["code"]) == (400, "NAME_INVALID")


@pytest.mark.parametrize("name", ["a/blobs/b", "a/manifests", "a/blobs/uploads", "blobs", "tags/list", "v2"])
def test_words_of_the_api_may_be_parts_of_a_name(wire: Wire, name: str) -> None:
    digest = wire.push_blob(name, name.encode())
    assert wire.ask("GET", f"/v2/{name}/blobs/{digest}").data == name.encode()
    assert code(wire.ask("GET", f"/v2/{name}/x/blobs/{digest}")) == (404, "BLOB_UNKNOWN")


def test_a_method_that_a_path_has_not_is_named(wire: Wire) -> None:
    answer = wire.ask("POST", "/v2/")
    assert code(answer) == (405, "UNSUPPORTED")
    assert answer.headers["Allow"] == "GET, HEAD"


def test_anonymous_pull_opens_pulls_alone(tmp_path: Path) -> None:
    users = write_users(tmp_path / "users")
    with (
        Store.open(tmp_path / "store") as store,
        Running(Settings(users=users, anonymous_pull=True), fill(store)) as run,
    ):
        wire = Wire(run.url, None)
        front = wire.ask("GET", "/v2/")
        assert front.status == 200
        assert "WWW-Authenticate" in front.headers  # so that docker login works
        assert wire.ask("GET", f"/v2/{REPOSITORY}/manifests/1.0").data == APP.manifest
        assert code(wire.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/")) == (401, "UNAUTHORIZED")
        assert wire.as_user("admin").ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/").status == 202


@pytest.mark.parametrize("has_store", [True, False])
def test_a_read_only_registry_serves_a_mount_and_takes_nothing(tmp_path: Path, has_store: bool) -> None:
    settings = Settings(users=write_users(tmp_path / "users"), read_only=True)
    with (
        Store.open(tmp_path / "store") as store,
        Store.open(tmp_path / "mounted") as mounted,
        Running(settings, store if has_store else None, [fill(mounted)]) as run,
    ):
        wire = Wire(run.url)
        assert wire.ask("GET", f"/v2/{OTHER}/blobs/{Digest.of(LARGE)}").data == LARGE
        assert body(wire.ask("GET", f"/v2/{REPOSITORY}/tags/list"))["tags"] == ["1.0", "Latest", "multi"]
        for route in ROUTES:
            if route.permission in (Permission.PUSH, Permission.DELETE):
                assert code(wire.ask(route.method, path_of(route), b"x")) == (405, "UNSUPPORTED"), route


def test_a_push_over_a_mount_needs_no_second_copy_of_its_blobs(tmp_path: Path) -> None:
    settings = Settings(users=write_users(tmp_path / "users"))
    with (
        Store.open(tmp_path / "store") as store,
        Store.open(tmp_path / "mounted") as mounted,
        Running(settings, store, [fill(mounted)]) as run,
    ):
        wire = Wire(run.url)
        assert wire.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{Digest.of(APP.layer)}").status == 200
        assert wire.push_manifest(REPOSITORY, APP.manifest, "promoted").status == 201
        assert wire.ask("GET", f"/v2/{REPOSITORY}/blobs/{Digest.of(APP.layer)}").data == APP.layer
        assert body(wire.ask("GET", f"/v2/{REPOSITORY}/tags/list"))["tags"] == [
            "1.0",
            "Latest",
            "multi",
            "promoted",
        ]
