"""The Docker token flow over the wire: who is given what, and what a token opens."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
import urllib3

from registry.oci.digest import Digest
from registry.server.accounts import KEY, ROBOTS, VOID
from registry.server.robots import Robots, new_robot
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store import durable
from registry.store.store import Store
from tests.contracts.conftest import ITERATIONS, USERS, Wire, body, code, write_users

REPOSITORY = "shared/app"
BLOB = b"what a token opens"


@dataclass
class Site:
    """A registry that tells clients to use tokens."""

    wire: Wire
    users: Path
    access: Path

    @property
    def url(self) -> str:
        return self.wire.url

    def token(self, user: str | None, *scopes: str, password: str | None = None, **query: str) -> dict[str, object]:
        answer = self.ask_token(user, *scopes, password=password, **query)
        assert answer.status == 200, answer.data
        assert answer.headers["Cache-Control"] == "no-store"
        value = json.loads(answer.data)
        assert value["token"] == value["access_token"]
        return dict(value)

    def ask_token(
        self, user: str | None, *scopes: str, password: str | None = None, **query: str
    ) -> urllib3.BaseHTTPResponse:
        asked = urlencode([*query.items(), *(("scope", scope) for scope in scopes)])
        headers = urllib3.make_headers(basic_auth=f"{user}:{password or f'pw-{user}'}") if user else {}
        return self.wire.pool.request("GET", f"{self.url}/token?{asked}", headers=headers)

    def post(self, **form: str) -> urllib3.BaseHTTPResponse:
        return self.wire.pool.request("POST", f"{self.url}/token", fields=form, encode_multipart=False)

    def with_token(self, token: object, method: str, path: str, data: bytes | None = None) -> urllib3.BaseHTTPResponse:
        return self.wire.as_user(None).ask(method, path, data, Authorization=f"Bearer {token}")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    users = write_users(tmp_path / "users")
    access = tmp_path / "access"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = Settings(port=port, users=users, access=access, external_url=f"http://127.0.0.1:{port}")
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        wire = Wire(running.url)
        wire.push_blob(REPOSITORY, BLOB)
        yield Site(wire, users, access)


def path_of(data: bytes = BLOB, repository: str = REPOSITORY) -> str:
    return f"/v2/{repository}/blobs/{Digest.of(data)}"


def access_in(value: Mapping[str, object]) -> dict[str, list[str]]:
    """Return what a token is for, by repository."""
    payload = str(value["token"]).split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {f"{one['type']}:{one['name']}": one["actions"] for one in claims["access"]}


def test_the_front_door_names_the_realm_and_a_route_names_its_scope(site: Site) -> None:
    stranger = site.wire.as_user(None)
    front = stranger.ask("GET", "/v2/", Host="evil.example.org").headers["WWW-Authenticate"]
    assert front == f'Bearer realm="{site.url}/token",service="{site.url.removeprefix("http://")}"'
    assert stranger.ask("GET", path_of()).headers["WWW-Authenticate"].endswith(f',scope="repository:{REPOSITORY}:pull"')
    push = stranger.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/").headers["WWW-Authenticate"]
    assert push.endswith(f',scope="repository:{REPOSITORY}:pull,push"')
    assert stranger.ask("GET", "/v2/_catalog").headers["WWW-Authenticate"].endswith(',scope="registry:catalog:*"')


def test_a_token_opens_what_it_is_for_and_nothing_else(site: Site) -> None:
    token = site.token("admin", f"repository:{REPOSITORY}:pull")["token"]
    assert site.with_token(token, "GET", path_of()).data == BLOB
    refused = site.with_token(token, "POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    assert code(refused) == (401, "UNAUTHORIZED")
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert code(site.with_token(token, "GET", path_of(repository="other/app"))) == (401, "UNAUTHORIZED")
    assert code(site.with_token(token, "GET", f"/v2/{REPOSITORY}/../other/blobs/{Digest.of(BLOB)}"))[0] in (
        400,
        401,
        404,
    )


def test_a_mirrors_client_is_told_the_scope_of_the_upstream_name_too(site: Site) -> None:
    wire = site.wire
    wire.push_blob("docker.io/library/web", BLOB)
    path = f"{path_of(repository='library/web')}?ns=docker.io"
    asked = wire.as_user(None).ask("GET", path).headers["WWW-Authenticate"]
    scope = "repository:library/web:pull repository:docker.io/library/web:pull"
    assert asked.endswith(f',scope="{scope}"')
    answer = site.with_token(site.token("admin", scope)["token"], "GET", path)
    assert (answer.data, answer.headers["OCI-Namespace"]) == (BLOB, "docker.io")
    narrow = site.with_token(site.token("admin", "repository:library/web:pull")["token"], "GET", path)
    assert code(narrow) == (401, "UNAUTHORIZED")
    assert 'scope="repository:docker.io/library/web:pull"' in narrow.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in narrow.headers["WWW-Authenticate"]
    assert code(site.with_token(site.token("nothing", scope)["token"], "GET", path))[0] in (401, 403)


def test_asking_for_too_much_gives_what_is_granted_without_an_error(site: Site) -> None:
    value = site.token("reader", f"repository:{REPOSITORY}:pull,push,delete", "repository:other/app:pull")
    assert access_in(value) == {f"repository:{REPOSITORY}": ["pull"]}
    assert value["scope"] == f"repository:{REPOSITORY}:pull"
    assert code(site.with_token(value["token"], "POST", f"/v2/{REPOSITORY}/blobs/uploads/")) == (403, "DENIED")


@pytest.mark.parametrize(
    "scopes",
    [
        ("repository:shared/a:pull,push", "repository:shared/b:pull"),
        ("repository:shared/a:pull,push repository:shared/b:pull",),
        ("repository:shared/a:pull", "repository:shared/b:pull repository:shared/a:push"),
    ],
)
def test_scopes_come_repeated_or_in_one(site: Site, scopes: tuple[str, ...]) -> None:
    expected = {"repository:shared/a": ["create", "pull", "push"], "repository:shared/b": ["pull"]}
    assert access_in(site.token("admin", *scopes)) == expected


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("repository:shared/app:*", ["create", "delete", "pull", "push"]),
        ("repository:shared/app:push", ["create", "push"]),
        ("repository:shared/app:", None),
        ("repository:shared/app", None),
        ("repository(plugin):shared/app:pull", None),
        ("repository:*:pull", None),
        ("repository:../x:pull", None),
        ("registry:other:*", None),
        ("artifact-repository:x:pull", None),
        (":::", None),
    ],
)
def test_a_scope_means_exactly_what_it_says(site: Site, scope: str, expected: list[str] | None) -> None:
    found = access_in(site.token("reader" if expected is None else "admin", scope))
    assert found == ({} if expected is None else {"repository:shared/app": expected})


def test_push_alone_does_not_pull(site: Site) -> None:
    token = site.token("admin", f"repository:{REPOSITORY}:push")["token"]
    assert site.with_token(token, "POST", f"/v2/{REPOSITORY}/blobs/uploads/").status == 202
    assert site.with_token(token, "GET", path_of()).status == 401


def test_logging_in_asks_for_no_scope_and_gets_past_the_front_door(site: Site) -> None:
    value = site.token("nothing", account="nothing", client_id="docker", offline_token="true", service="registry")
    assert access_in(value) == {}
    assert site.with_token(value["token"], "GET", "/v2/").status == 200
    assert value["refresh_token"]


def test_sixty_four_scopes_are_taken_and_more_are_refused(site: Site) -> None:
    scopes = [f"repository:shared/r{number}:pull" for number in range(64)]
    assert len(access_in(site.token("admin", *scopes))) == 64
    assert site.ask_token("admin", *scopes, "repository:shared/one-more:pull").status == 400


def test_the_catalogue_needs_its_scope_and_shows_only_what_the_user_may_pull(site: Site) -> None:
    site.wire.push_blob("hidden/app", b"h")
    for user, expected in (("reader", [REPOSITORY]), ("admin", ["hidden/app", REPOSITORY])):
        token = site.token(user, "registry:catalog:*")["token"]
        assert body(site.with_token(token, "GET", "/v2/_catalog"))["repositories"] == expected
        assert site.with_token(token, "GET", path_of()).status == 401
    narrow = site.token("admin", f"repository:{REPOSITORY}:pull")["token"]
    assert body(site.with_token(narrow, "GET", "/v2/_catalog"))["repositories"] == [REPOSITORY]


@pytest.mark.parametrize("user", ["admin", "stranger"])
def test_wrong_credentials_get_no_token_at_all(site: Site, user: str) -> None:
    refused = site.ask_token(user, f"repository:{REPOSITORY}:pull", password="wrong")
    assert code(refused) == (401, "UNAUTHORIZED")
    assert code(site.post(grant_type="password", username=user, password="wrong")) == (401, "UNAUTHORIZED")
    assert code(site.ask_token(None, f"repository:{REPOSITORY}:pull")) == (401, "UNAUTHORIZED")


def test_the_form_gives_tokens_for_a_password_and_for_a_refresh_token(site: Site) -> None:
    scope = f"repository:{REPOSITORY}:pull"
    common = {"service": "registry", "client_id": "containerd", "scope": scope}
    first = site.post(grant_type="password", username="admin", password="pw-admin", access_type="offline", **common)
    value = body(first)
    assert site.with_token(value["access_token"], "GET", path_of()).data == BLOB
    again = body(site.post(grant_type="refresh_token", refresh_token=value["refresh_token"], **common))
    assert site.with_token(again["access_token"], "GET", path_of()).data == BLOB
    assert again["refresh_token"] == value["refresh_token"]


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"grant_type": "authorization_code"}, 400),
        ({"username": "admin"}, 400),
        ({"grant_type": "password"}, 401),
        ({"grant_type": "refresh_token"}, 401),
        ({"grant_type": "refresh_token", "refresh_token": "x.y.z"}, 401),
    ],
)
def test_a_form_that_proves_nothing_gets_nothing(site: Site, form: dict[str, str], status: int) -> None:
    assert site.post(**form).status == status


def test_what_is_no_form_is_refused(site: Site) -> None:
    plain = site.wire.as_user(None)
    assert plain.ask("POST", "/token", b"{}", Content_Type="application/json").status == 415
    kind = "application/x-www-form-urlencoded"
    assert plain.ask("POST", "/token", b"x=" + b"y" * (70 << 10), Content_Type=kind).status == 413
    assert plain.ask("POST", "/token", b"grant_type=\xff", Content_Type=kind).status == 400
    assert plain.ask("POST", "/token", b"grant_type=password&grant_type=password", Content_Type=kind).status == 400


def test_the_two_kinds_of_token_do_not_stand_for_each_other(site: Site) -> None:
    value = site.token("admin", f"repository:{REPOSITORY}:pull", offline_token="true")
    assert site.with_token(value["refresh_token"], "GET", path_of()).status == 401
    assert site.post(grant_type="refresh_token", refresh_token=str(value["token"])).status == 401


def test_a_token_is_no_password_for_the_next_token(site: Site) -> None:
    token = site.token("admin", f"repository:{REPOSITORY}:pull")["token"]
    assert site.with_token(token, "GET", f"/token?scope=repository:{REPOSITORY}:delete").status == 401


@pytest.mark.parametrize("change", ["removed", "another password", "fewer grants", "voided", "key replaced"])
def test_a_token_dies_with_what_it_stands_on(site: Site, change: str) -> None:
    value = site.token("admin", f"repository:{REPOSITORY}:pull", offline_token="true")
    assert site.with_token(value["token"], "GET", path_of()).status == 200
    lines = [line for line in site.users.read_text().splitlines() if not line.startswith("admin:")]
    if change == "another password":
        lines.append(user_line("admin", "changed", USERS["admin"], iterations=ITERATIONS))
    elif change == "fewer grants":
        old = next(line for line in site.users.read_text().splitlines() if line.startswith("admin:"))
        lines.append(f"{old.rpartition(':')[0].rpartition(':')[0]}:pull:elsewhere/*")
    if change == "voided":
        (site.access / VOID).write_text(json.dumps({"admin": int(time.time()) + 1}))
    elif change == "key replaced":
        (site.access / KEY).unlink()
        Running(Settings(access=site.access), None).stop()
    else:
        site.users.write_text("\n".join(lines) + "\n")
    expected = 403 if change == "fewer grants" else 401
    assert site.with_token(value["token"], "GET", path_of()).status == expected
    refreshed = site.post(grant_type="refresh_token", refresh_token=str(value["refresh_token"]))
    assert refreshed.status == (200 if change == "fewer grants" else 401)


def test_what_may_not_be_seen_looks_like_what_is_not_there_with_a_token_too(site: Site) -> None:
    site.wire.push_blob("hidden/there", BLOB)
    token = site.token("reader", "repository:hidden/there:pull", "repository:hidden/missing:pull")["token"]
    there, missing = (
        site.with_token(token, "GET", path_of(repository=f"hidden/{one}")) for one in ("there", "missing")
    )
    assert (there.status, there.data) == (missing.status, missing.data)
    tokens = [site.token("reader", f"repository:hidden/{one}:pull") for one in ("there", "missing")]
    assert access_in(tokens[0]) == access_in(tokens[1]) == {}


def test_a_mount_needs_the_source_in_the_token(site: Site) -> None:
    site.wire.push_blob("hidden/source", b"source")
    place = f"/v2/shared/target/blobs/uploads/?mount={Digest.of(b'source')}&from=hidden/source"
    narrow = site.token("admin", "repository:shared/target:pull,push")["token"]
    assert site.with_token(narrow, "POST", place).status == 202
    both = site.token("admin", "repository:shared/target:pull,push", "repository:hidden/source:pull")["token"]
    assert site.with_token(both, "POST", place).status == 201


def test_an_upload_goes_on_with_the_next_token_of_the_same_user(site: Site) -> None:
    scope = f"repository:{REPOSITORY}:pull,push"
    begun = site.with_token(site.token("admin", scope)["token"], "POST", f"/v2/{REPOSITORY}/blobs/uploads/")
    place = f"{begun.headers['Location']}?digest={Digest.of(b'later')}"
    assert site.with_token(site.token("other", scope)["token"], "PUT", place, b"later").status == 404
    assert site.with_token(site.token("admin", scope)["token"], "PUT", place, b"later").status == 201


def test_the_public_key_is_there_for_others_to_check_tokens(site: Site) -> None:
    (key,) = body(site.wire.as_user(None).ask("GET", "/token/keys"))["keys"]
    assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")
    assert "d" not in key
    assert (site.access / KEY).stat().st_mode & 0o777 == 0o600


def test_a_robot_logs_in_and_gets_tokens_until_its_end(site: Site) -> None:
    now = datetime.now(UTC)
    robot, secret = new_robot("ci", ["pull,push:shared/*"], 1, now)
    over, old_secret = new_robot("old", ["pull:*"], 1, now - timedelta(days=1, seconds=1))
    durable.replace(site.access / ROBOTS, Robots([robot, over]).as_file())
    login = urllib3.make_headers(basic_auth=f"robot@ci:{secret}")
    assert site.wire.pool.request("GET", site.url + path_of(), headers=login).data == BLOB
    token = site.token("robot@ci", f"repository:{REPOSITORY}:pull", password=secret)["token"]
    assert site.with_token(token, "GET", path_of()).data == BLOB
    assert site.ask_token("robot@old", password=old_secret).status == 401
    assert site.ask_token("robot@ci", password=old_secret).status == 401
    assert site.ask_token("robot@none", password=secret).status == 401
    durable.replace(site.access / ROBOTS, Robots().as_file())
    assert site.with_token(token, "GET", path_of()).status == 401
    assert site.wire.pool.request("GET", site.url + path_of(), headers=login).status == 401


def test_without_an_access_folder_there_are_no_tokens(tmp_path: Path) -> None:
    with Running(Settings(users=write_users(tmp_path / "users")), None) as running:
        wire = Wire(running.url)
        assert wire.ask("GET", "/token").status == 404
        assert wire.as_user(None).ask("GET", "/v2/").headers["WWW-Authenticate"].startswith("Basic ")


def test_where_all_may_pull_a_token_of_nobody_pulls(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    users = write_users(tmp_path / "users")
    users.write_text(users.read_text() + "anonymous:-:pull:public/*\n")
    settings = Settings(port=port, users=users, access=tmp_path / "a", external_url=f"http://127.0.0.1:{port}")
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        site = Site(Wire(running.url), users, tmp_path / "a")
        site.wire.push_blob("public/app", BLOB)
        site.wire.push_blob("private/app", BLOB)
        value = site.token(None, "repository:public/app:pull,push", "repository:private/app:pull", offline_token="true")
        assert access_in(value) == {"repository:public/app": ["pull"]}
        assert "refresh_token" not in value
        assert site.with_token(value["token"], "GET", path_of(repository="public/app")).data == BLOB
        assert site.with_token(value["token"], "GET", path_of(repository="private/app")).status == 401
        assert site.with_token(value["token"], "POST", "/v2/public/app/blobs/uploads/").status == 401
        anybody = site.wire.as_user(None)
        assert anybody.ask("GET", path_of(repository="public/app")).data == BLOB
        assert anybody.ask("GET", path_of(repository="private/app")).status == 401
        assert body(anybody.ask("GET", "/v2/_catalog"))["repositories"] == ["public/app"]
