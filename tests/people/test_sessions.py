"""Logging in at the pages: the cookie, what ends it, and what it does not open."""

from __future__ import annotations

import json
import ssl
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3

from registry.server.accounts import ROBOTS
from registry.server.limits import Limits, Rate
from registry.server.robots import Robots, new_robot
from registry.server.serve import Running
from registry.server.sessions import COOKIE, SECONDS, Sessions, session_key
from registry.server.settings import Settings
from registry.server.users import certificate_line
from registry.store import durable
from tests.authority import Authority
from tests.people.conftest import USERS, Place, Visitor, write_users


@dataclass(frozen=True)
class Somebody:
    name: str = "ann"
    mark: str = "1"
    grants: tuple[()] = ()

    def has_password(self, password: str) -> bool:
        return password == "pw"


def test_a_login_sets_a_cookie_for_the_pages_alone(visitor: Visitor) -> None:
    answer = visitor.login("reader", next="/ui/packs?q=a")
    assert answer.status == 303
    assert answer.headers["Location"] == "/ui/packs?q=a"
    value = answer.headers["Set-Cookie"]
    assert value.startswith(f"{COOKIE}=")
    for mark in ("HttpOnly", "SameSite=strict", "Path=/ui/", f"Max-Age={SECONDS}"):
        assert mark in value
    inside = visitor.logged_in("reader")
    assert "Log out" in inside.text("/ui/packs")
    assert inside.ask("/api/v1/caller").status == 401
    assert inside.ask("/v2/").status == 401
    assert inside.ask("/v2/team/api/manifests/1.0").status == 401


def test_behind_tls_the_cookie_goes_over_tls_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    identity = authority.issue()
    write_users(tmp_path / "users")
    settings = Settings(certificate=identity.certificate, key=identity.key, users=tmp_path / "users")
    with Running(settings, None) as running:
        pool = urllib3.PoolManager(ca_certs=str(authority.ca), retries=False)
        answer = Visitor(running.url, pool=pool).login("reader")
        assert answer.status == 303
        assert "; Secure" in answer.headers["Set-Cookie"]


def test_a_certificate_opens_the_pages_without_a_form(tmp_path: Path, place: Place) -> None:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    server, ann = servers.issue(), clients.issue("ann.example.org")
    users = tmp_path / "users"
    users.write_text(certificate_line("ann", "cn:ann.example.org", ["pull:team/*"]) + "\n")
    settings = Settings(certificate=server.certificate, key=server.key, users=users, client_ca=clients.ca)
    with Running(settings, place.store) as running:
        shown = ssl.create_default_context(cafile=str(servers.ca))
        shown.load_cert_chain(ann.certificate, ann.key)
        inside = Visitor(running.url, pool=urllib3.PoolManager(retries=False, ssl_context=shown))
        assert "team/private/ledger" in inside.text("/ui/repositories")
        assert json.loads(inside.ask("/api/v1/caller").data)["name"] == "ann"
        nobody = Visitor(running.url, pool=urllib3.PoolManager(retries=False, ca_certs=str(servers.ca)))
        assert nobody.ask("/ui/repositories").status == 303
        assert nobody.ask("/api/v1/caller").status == 401


def test_a_robot_asks_the_api_until_its_time_is_up(tmp_path: Path, place: Place) -> None:
    write_users(tmp_path / "users")
    access = tmp_path / "access"
    with Running(Settings(users=tmp_path / "users", access=access), place.store) as running:
        robot, secret = new_robot("ci", ["pull:team/*"], 1, datetime.now(UTC))
        durable.replace(access / ROBOTS, Robots([robot]).as_file())  # as the command does
        visitor = Visitor(running.url)
        basic = urllib3.make_headers(basic_auth=f"robot@ci:{secret}")["authorization"]
        found = json.loads(visitor.ask("/api/v1/repositories", Authorization=basic).data)
        assert {row["name"].partition("/")[0] for row in found["rows"]} == {"team"}
        assert "robot@ci" in visitor.by("admin").text("/ui/users")
        assert secret not in visitor.by("admin").text("/api/v1/users")
        durable.replace(
            access / ROBOTS, Robots([replace(robot, expires=datetime.now(UTC) - timedelta(days=2))]).as_file()
        )
        assert visitor.ask("/api/v1/repositories", Authorization=basic).status == 401


@pytest.mark.parametrize(("name", "password"), [("reader", "wrong"), ("nobody", "x"), ("", ""), ("reader", "pw-admin")])
def test_wrong_credentials_show_the_form_again_and_the_same_words(visitor: Visitor, name: str, password: str) -> None:
    answer = visitor.ask("/ui/login", "POST", {"name": name, "password": password})
    assert answer.status == 401
    assert "Set-Cookie" not in answer.headers
    assert b"The name or the password is wrong." in answer.data


def test_a_failed_login_is_in_the_audit_log(visitor: Visitor) -> None:
    visitor.login("mallory", "guess")
    end = time.monotonic() + 10
    while True:
        rows = json.loads(visitor.by("admin").ask("/api/v1/audit?q=mallory").data)["rows"]
        if rows:
            break
        assert time.monotonic() < end
        time.sleep(0.05)
    assert rows[0]["event"] == "login.refused"
    assert "guess" not in json.dumps(rows)


@pytest.mark.parametrize(
    "next_",
    [
        "https://elsewhere.example/",
        "//elsewhere.example/ui/",
        "/ui/../v2/",
        "/ui/\\elsewhere",
        "javascript:x",
        "",
        "/ui/logout",
    ],
)
def test_a_login_leads_nowhere_else(visitor: Visitor, next_: str) -> None:
    place = visitor.login("reader", next=next_).headers["Location"]
    assert place == "/ui/" or (place.startswith("/ui/") and ".." in place)  # a browser's `..` stays on this server


@pytest.mark.parametrize("path", ["/ui/login", "/ui/logout"])
def test_a_form_that_another_site_sends_is_refused(visitor: Visitor, path: str) -> None:
    inside = visitor.logged_in("reader")
    form = {"name": "reader", "password": "pw-reader"}
    for site in ("cross-site", "same-site"):
        answer = inside.ask(path, "POST", form, Sec_Fetch_Site=site)
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers


def test_logging_out_takes_the_cookie_away(visitor: Visitor) -> None:
    answer = visitor.logged_in("reader").ask("/ui/logout", "POST")
    assert answer.status == 303
    assert "Max-Age=0" in answer.headers["Set-Cookie"]


def test_a_form_of_any_size_but_a_small_one_is_refused(visitor: Visitor) -> None:
    assert visitor.login("reader", "x" * 10_000).status == 413


def test_who_guesses_too_often_waits(place: Place) -> None:
    limits = Limits(failures=Rate(per_second=0.01, burst=2), limits_loopback=True)
    with Running(replace(place.settings, limits=limits), place.store) as running:
        stranger = Visitor(running.url)
        assert [stranger.login("reader", "wrong").status for _ in range(3)] == [401, 401, 429]
        answer = stranger.login("reader")
        assert answer.status == 429
        assert int(answer.headers["Retry-After"]) > 10
        assert b"Try again in" in answer.data


def test_a_changed_password_and_a_removed_user_end_a_session_at_once(place: Place, tmp_path: Path) -> None:
    users = tmp_path / "users"
    write_users(users)
    with Running(Settings(users=users), place.store) as running:
        inside = Visitor(running.url).logged_in("reader")
        assert inside.ask("/ui/").status == 200
        write_users(users, {name: grants for name, grants in USERS.items() if name != "reader"})
        assert inside.ask("/ui/").status == 303
        write_users(users)  # another salt: another password, as far as anybody can tell
        assert inside.ask("/ui/").status == 303


def test_a_session_survives_a_restart(place: Place) -> None:
    with Running(place.settings, place.store) as running:
        inside = Visitor(running.url).logged_in("reader")
    with Running(place.settings, place.store) as running:
        assert Visitor(running.url, cookie=inside.cookie).ask("/ui/").status == 200


def test_a_session_ends_and_cannot_be_made_longer() -> None:
    sessions, ann = Sessions(b"k" * 32), Somebody()
    value = sessions.begin(ann, 1000)
    find = {"ann": ann}.get
    assert sessions.user(value, 1000, find) == ann
    assert sessions.user(value, 1000 + SECONDS, find) == ann
    assert sessions.user(value, 1001 + SECONDS, find) is None
    name, end, seal = value.split(".")
    assert sessions.user(f"{name}.{int(end) + 1}.{seal}", 1000, find) is None
    assert sessions.user(value, 1000, {"ann": Somebody(mark="2")}.get) is None
    assert sessions.user(value, 1000, {"ann": Somebody("bob")}.get) is None
    assert Sessions(b"l" * 32).user(value, 1000, find) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "YW5u.9999999999.",
        "YW5u.9999999999.!!",
        "ÿ.1.x",
        "YW5u." + "9" * 400 + ".x",
        "é.9999999999.x",
    ],
)
def test_what_is_no_session_is_none(value: str) -> None:
    assert Sessions(b"k" * 32).user(value, 1000, {"ann": Somebody()}.get) is None


def test_all_processes_of_a_registry_share_one_key(tmp_path: Path) -> None:
    write_users(tmp_path / "users")
    with_folder = Settings(users=tmp_path / "users", access=tmp_path)
    assert session_key(with_folder) == session_key(with_folder)
    assert (tmp_path / "session.key").stat().st_mode & 0o777 == 0o600
    without = Settings(users=tmp_path / "users")
    assert session_key(without) == session_key(without) != session_key(with_folder)
    assert session_key(Settings()) != session_key(Settings())
