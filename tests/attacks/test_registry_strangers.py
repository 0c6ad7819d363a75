"""What strangers can learn of who exists, write into the logs, or have more of than is theirs."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import bcrypt
import pytest
import urllib3

from registry.oci import strictjson
from registry.server import auth, passwords
from registry.server.accounts import ROBOTS, VOID
from registry.server.audit import LINE_BYTES, entries, verify
from registry.server.auth import Access
from registry.server.limits import Limits, Rate, address_of
from registry.server.robots import Robots, new_robot
from registry.server.routes import ROUTES, Route
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.sources import Sources
from registry.server.threads import Threads
from registry.server.tokens import ACCESS_SECONDS, SKEW_SECONDS, Issuer, Kind
from registry.server.users import Users, user_line
from registry.server.wire import Refusal
from registry.store import durable, uploads
from registry.store.store import Store
from tests.contracts.conftest import ITERATIONS, Wire, code, write_users
from tests.oci_samples import image

BURST = 3


@dataclass
class Site:
    wire: Wire
    folder: Path

    def lines(self) -> list[dict[str, object]]:
        return list(entries(self.folder / "access/audit"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    limits = Limits(failures=Rate(per_second=0.001, burst=BURST), limits_loopback=True)
    settings = Settings(
        users=write_users(tmp_path / "users"),
        access=tmp_path / "access",
        external_url="http://127.0.0.1:5000",
        limits=limits,
    )
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        yield Site(Wire(running.url), tmp_path)


def refresh(site: Site) -> urllib3.BaseHTTPResponse:
    form = urlencode({"grant_type": "refresh_token", "refresh_token": "a.b.c"}).encode()
    return site.wire.as_user(None).ask("POST", "/token", form, Content_Type="application/x-www-form-urlencoded")


def with_header(value: str, path: str = "/v2/") -> Callable[[Site], urllib3.BaseHTTPResponse]:
    return lambda site: site.wire.as_user(None).ask("GET", path, Authorization=value)


@pytest.mark.parametrize(
    "knock",
    [
        refresh,
        with_header("Bearer a.b.c"),
        with_header("Basic ???"),
        with_header("Digest x"),
        with_header("Bearer a.b.c", "/api/v1/caller"),
        with_header("Basic ???", "/ui/"),
        with_header("Bearer a.b.c", "/token"),
        lambda site: site.wire.as_user(None).ask("POST", "/ui/login", b"", Sec_Fetch_Site="cross-site"),
    ],
    ids=["refresh token", "token", "no base64", "scheme", "token at the API", "pages", "token for a token", "form"],
)
def test_who_proves_nothing_fills_no_log(site: Site, knock: Callable[[Site], urllib3.BaseHTTPResponse]) -> None:
    seen = Counter(knock(site).status for _ in range(40))
    time.sleep(0.3)
    assert len(site.lines()) <= BURST
    assert set(seen) <= {401, 403, 429}
    assert site.wire.as_user(None).ask("GET", "/livez").status == 200


def test_who_has_a_token_goes_on_beside_one_who_forges_them(site: Site) -> None:
    path = "/token?scope=repository:shared/app:pull"
    token = json.loads(site.wire.as_user("reader").ask("GET", path).data)["token"]
    for _ in range(BURST + 2):
        with_header("Bearer a.b.c")(site)
    answer = site.wire.as_user(None).ask("GET", "/v2/", Authorization=f"Bearer {token}")
    assert answer.status == 200


def test_a_token_whose_time_is_up_is_asked_anew_and_is_no_attack(site: Site) -> None:
    issuer = Issuer.from_pem((site.folder / "access/token.key").read_bytes(), "127.0.0.1:5000")
    user = Users.load(site.folder / "users").find("reader")
    assert user is not None
    old = issuer.issue(Kind.ACCESS, "reader", user.mark, (), time.time() - ACCESS_SECONDS - SKEW_SECONDS - 1)
    for _ in range(BURST + 2):
        answer = site.wire.as_user(None).ask("GET", "/v2/shared/app/tags/list", Authorization=f"Bearer {old}")
        assert code(answer) == (401, "UNAUTHORIZED")
        assert 'scope="repository:shared/app:pull"' in answer.headers["WWW-Authenticate"]
    time.sleep(0.2)
    assert site.lines() == []


def test_behind_a_proxy_that_nobody_named_all_clients_count_as_one() -> None:
    assert address_of("127.0.0.1", None, Limits()) == ""
    assert address_of("127.0.0.1", "198.51.100.7", Limits()) == "127.0.0.1"
    assert address_of("::1", "198.51.100.7", Limits()) == "::/64"
    assert address_of("127.0.0.1", "198.51.100.7", Limits(proxies=frozenset({"127.0.0.1"}))) == "198.51.100.7"


@pytest.mark.parametrize("name", ["registry:catalog", "shared/../app", "SHARED/app", "shared/app/", "*", "a b", "/"])
def test_no_token_is_for_what_is_no_repository(site: Site, name: str) -> None:
    asked = urlencode({"scope": f"repository:{name}:pull"})
    token = str(json.loads(site.wire.ask("GET", f"/token?{asked}").data)["token"])
    payload = token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["access"] == []


def test_a_token_for_a_repository_of_an_odd_name_opens_no_catalogue(site: Site) -> None:
    site.wire.push_blob("shared/app", b"{}")
    asked = "/token?scope=repository:registry:catalog:pull"
    token = json.loads(site.wire.ask("GET", asked).data)["token"]
    answer = site.wire.as_user(None).ask("GET", "/v2/_catalog", Authorization=f"Bearer {token}")
    assert json.loads(answer.data) == {"repositories": []}


def test_the_kind_of_a_hash_tells_no_user_from_somebody_unknown(tmp_path: Path) -> None:
    file = tmp_path / "users"
    quick = bcrypt.hashpw(b"pw", bcrypt.gensalt(8)).decode()
    lines = [user_line(f"slow{number}", "pw", [], iterations=ITERATIONS) for number in range(3)]
    file.write_text("\n".join([*lines, f"quick:{quick}:pull:*"]) + "\n")
    users = Users.load(file)
    costs = Counter(cost(users.nobody(f"nobody{number}").hash) for number in range(400))
    assert set(costs) == {cost(quick), cost(lines[0].split(":")[1])}
    assert costs[cost(quick)] in range(50, 150)  # as among those who exist: a quarter
    assert users.nobody("ann").hash == Users.load(file).nobody("ann").hash  # whoever asks again learns nothing new


def cost(text: str) -> str:
    return text[:7] if text.startswith("$2") else text.split("$")[1]


@pytest.mark.parametrize("password", ["x" * 73, "nul\0"])
def test_a_password_that_bcrypt_cannot_have_takes_as_long_as_any(password: str) -> None:
    line = bcrypt.hashpw(b"pw", bcrypt.gensalt(10)).decode()
    took = []
    for given in (password, "wrong"):
        begun = time.process_time()
        assert not passwords.is_password(line, given)
        took.append(time.process_time() - begun)
    assert took[0] > took[1] / 3


def test_nobody_holds_more_uploads_open_than_a_client_needs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 5)
    begin = "/v2/shared/app/blobs/uploads/"
    begun = [site.wire.ask("POST", begin) for _ in range(5)]
    refused = site.wire.ask("POST", begin)
    assert code(refused) == (429, "TOOMANYREQUESTS")
    assert int(refused.headers["Retry-After"]) > 0
    assert site.wire.as_user("writer").ask("POST", begin).status == 202
    assert site.wire.ask("DELETE", begun[0].headers["Location"]).status == 204
    assert site.wire.push_blob("shared/app", b"there is room again")


@pytest.mark.parametrize("route", [route for route in ROUTES if "{name}" in route.path], ids=str)
def test_what_may_not_be_seen_costs_what_is_not_there_costs(
    site: Site, route: Route, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = site.wire.push_image("hidden/there", image(), "1.0")
    asked: list[str] = []
    keep = Threads.keep

    def noted(self: Threads, call: Any, *arguments: object) -> Any:  # noqa: ANN401 - as it is
        asked.append(getattr(call, "__qualname__", str(getattr(call, "func", call))))
        return keep(self, call, *arguments)

    monkeypatch.setattr(Threads, "keep", noted)
    seen = []
    for name in ("hidden/there", "hidden/none"):
        path = route.path.replace("{name}", name).replace("{reference}", "1.0").replace("{digest}", str(digest))
        answer = site.wire.as_user("reader").ask(route.method, path.replace("{id}", "0" * 32), b"{}")
        time.sleep(0.05)  # the line of audit follows
        headers = {key: value for key, value in answer.headers.items() if key.lower() != "date"}
        seen.append((answer.status, answer.data, headers, sorted(asked)))
        asked.clear()
    assert seen[0] == seen[1]
    assert seen[0][0] == 403


ODD = [
    'a\r\n{"event"="manifest.put"}\r\n',
    "\0\x1b[2J",
    "x" * 5000,
    "\u2028\ud7ff\u202e",
    '","sequence"=1,"x"',
    "é" * 300,
]


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_whatever_somebody_is_called_the_audit_log_has_one_line_of_it(site: Site, name: str) -> None:
    given = base64.b64encode(f"{name}:pw".encode()).decode()
    assert with_header(f"Basic {given}")(site).status == 401
    form = urlencode({"grant_type": "password", "username": name, "password": "pw"}).encode()
    asked = site.wire.as_user(None).ask("POST", "/token", form, Content_Type="application/x-www-form-urlencoded")
    assert asked.status == 401
    deadline = time.monotonic() + 10
    while len(site.lines()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert verify(site.folder / "access/audit").sequence == 2
    assert [(line["event"], line["tried"]) for line in site.lines()] == [("login.refused", name[:255])] * 2
    assert max(map(len, (site.folder / "access/audit/000000000001.jsonl").read_bytes().splitlines())) < LINE_BYTES


def test_no_secret_reaches_a_log(site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "urllib3")  # the client's own
    robot, secret = new_robot("ci", ["pull,push:*"], 1, datetime.now(UTC))
    durable.replace(site.folder / "access" / ROBOTS, Robots([robot]).as_file())
    basic = {"Authorization": urllib3.make_headers(basic_auth=f"robot@ci:{secret}")["authorization"]}
    nobody = site.wire.as_user(None)
    given = json.loads(nobody.ask("GET", "/token?offline_token=true&scope=repository:a/b:pull", **basic).data)
    bearer = {"Authorization": f"Bearer {given['token']}"}
    form = urlencode({"name": "reader", "password": "pw-reader"}).encode()
    cookie = nobody.ask("POST", "/ui/login", form).headers["Set-Cookie"].partition(";")[0]

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(Sources, "tags_after", broken)
    monkeypatch.setattr(Sources, "repositories_after", broken)
    for headers in (basic, bearer):
        assert nobody.ask("GET", "/v2/a/b/tags/list", **headers).status == 500
        assert nobody.ask("GET", f"/v2/a/b/manifests/{secret}?token={secret}", **headers).status == 404
    assert nobody.ask("GET", "/api/v1/repositories", **basic).status == 500
    assert nobody.ask("GET", "/ui/repositories", Cookie=cookie).status == 500
    wrong = base64.b64encode(f"robot@ci:{secret}x".encode()).decode()
    assert nobody.ask("GET", "/v2/", Authorization=f"Basic {wrong}").status == 401
    refused = urlencode({"grant_type": "refresh_token", "refresh_token": given["refresh_token"] + "x"}).encode()
    assert nobody.ask("POST", "/token", refused, Content_Type="application/x-www-form-urlencoded").status == 401
    time.sleep(0.3)
    assert "a bug of ours" in caplog.text
    audit = b"".join(path.read_bytes() for path in (site.folder / "access/audit").iterdir()).decode()
    assert "login.refused" in audit
    for hidden in (secret, given["token"], given["refresh_token"], cookie, "pw-reader", basic["Authorization"][6:]):
        assert hidden not in caplog.text
        assert hidden not in audit


def test_guesses_do_not_queue_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MOST_CHECKS", 5)
    write_users(tmp_path / "users")

    async def guess(access: Access, number: int) -> int:
        try:
            await access.login("admin", f"guess {number}", f"192.0.2.{number}")  # from many addresses
        except Refusal as refused:
            return refused.status
        return 200

    async def many() -> Counter[int]:
        access = Access(tmp_path / "users", Threads())
        found = Counter(await asyncio.gather(*(guess(access, number) for number in range(20))))
        assert await access.login("admin", "pw-admin", "192.0.2.1")  # when they are through
        return found

    assert asyncio.run(many()) == {401: 5, 429: 15}


def test_voided_tokens_end_sessions_at_the_pages_too(site: Site) -> None:
    nobody = site.wire.as_user(None)
    form = urlencode({"name": "reader", "password": "pw-reader"}).encode()
    cookie = nobody.ask("POST", "/ui/login", form).headers["Set-Cookie"].partition(";")[0]
    assert nobody.ask("GET", "/ui/", Cookie=cookie).status == 200
    void = {"somebody": int(time.time()) + 1}
    durable.replace(site.folder / "access" / VOID, strictjson.canonical(void))
    assert nobody.ask("GET", "/ui/", Cookie=cookie).status == 200
    durable.replace(site.folder / "access" / VOID, strictjson.canonical(void | {"reader": int(time.time()) + 1}))
    assert nobody.ask("GET", "/ui/", Cookie=cookie).status == 303
