"""`dryport registry token` and `audit`: a robot's life and the log's proof, beside a running server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import urllib3

from installer.cli.main import main
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, object]:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert ended.value.code == code, captured.err
    value = json.loads(captured.out)
    return dict(value.get("error", value))


@pytest.fixture
def store(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "store"):
        return tmp_path / "store"


def ask(running: Running, login: str, method: str = "GET", path: str = "/v2/") -> int:
    with urllib3.PoolManager(retries=False, timeout=20) as pool:
        return pool.request(method, running.url + path, headers=urllib3.make_headers(basic_auth=login)).status


def test_a_robot_is_made_listed_used_and_revoked_while_the_server_runs(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--store", str(store))
    with Store.open(store) as opened, Running(Settings(access=store / "access"), opened) as running:
        secret = tmp_path / "secret"
        made = told(capsys, "registry", "token", "create", "ci", "--grant", "create:team/*", "--grant", "pull:*",
                    "--days", "7", "--out", str(secret), *place)  # fmt: skip
        assert made["name"] == "robot@ci"
        assert secret.stat().st_mode & 0o777 == 0o600
        word = secret.read_text().strip()
        assert word.startswith("dpr_")
        assert all(word.encode() not in path.read_bytes() for path in (store / "access").rglob("*") if path.is_file())
        assert ask(running, f"robot@ci:{word}") == 200
        assert ask(running, f"robot@ci:{word}", "POST", "/v2/team/app/blobs/uploads/") == 202
        (one,) = told(capsys, "registry", "token", "list", *place)["robots"]  # type: ignore[misc]
        assert (one["name"], one["grants"], one["isOver"]) == ("robot@ci", ["create:team/*", "pull:*"], False)
        told(capsys, "registry", "token", "revoke", "ci", *place)
        assert ask(running, f"robot@ci:{word}") == 401
    events = [line["event"] for line in told(capsys, "registry", "audit", "show", *place)["lines"]]  # type: ignore[attr-defined]
    assert events == ["token.create", "token.revoke", "login.refused"]


def test_the_chain_is_proven_and_a_changed_line_is_found(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("--store", str(store))
    for name in ("a", "b", "c"):
        told(capsys, "registry", "token", "void", name, *place)
    seen = told(capsys, "registry", "audit", "verify", *place)
    assert seen["lines"] == 3
    told(capsys, "registry", "token", "void", "d", *place)
    assert told(capsys, "registry", "audit", "verify", "--head", str(seen["head"]), *place)["lines"] == 4
    (file,) = (store / "access/audit").glob("*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"reference":"b"', b'"reference":"x"'))
    assert told(capsys, "registry", "audit", "verify", *place, code=4)["reference"] == "audit-broken"
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:2]))
    assert told(capsys, "registry", "audit", "verify", *place)["lines"] == 2  # the chain alone cannot tell
    gone = told(capsys, "registry", "audit", "verify", "--head", str(seen["head"]), *place, code=4)
    assert gone["reference"] == "audit-head-missing"


@pytest.mark.parametrize(
    ("arguments", "reference"),
    [
        (["token", "list"], "access-unnamed"),
        (["token", "revoke", "none", "--store", "."], "robot-unknown"),
        (["token", "create", "a/b", "--grant", "pull:*", "--out", "s", "--store", "."], "robot-name-invalid"),
        (["token", "create", "a", "--grant", "all:*", "--out", "s", "--store", "."], "grant-invalid"),
        (["token", "create", "a", "--grant", "admin:*", "--out", "s", "--store", "."], "robot-may-not"),
        (
            ["token", "create", "a", "--grant", "pull:*", "--days", "0", "--out", "s", "--store", "."],
            "robot-days-invalid",
        ),
        (["audit", "verify", "--head", "x", "--store", "."], "head-malformed"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reference: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(capsys, "registry", *arguments, code=2)["reference"] == reference


def test_a_secret_never_replaces_a_file(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text("mine")
    arguments = ("--grant", "pull:*", "--out", str(tmp_path / "secret"), "--store", str(store))
    assert told(capsys, "registry", "token", "create", "ci", *arguments, code=6)["reference"] == "secret-unwritable"
    assert (tmp_path / "secret").read_text() == "mine"
    assert told(capsys, "registry", "token", "list", "--store", str(store))["robots"] == []


def test_voided_tokens_end_and_the_password_stays_good(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users = tmp_path / "users"
    users.write_text(user_line("me", "pw", ["pull:*"], iterations=100_000) + "\n")
    with Running(Settings(users=users, access=store / "access"), None) as running:
        with urllib3.PoolManager(retries=False, timeout=20) as pool:
            answer = pool.request("GET", f"{running.url}/token", headers=urllib3.make_headers(basic_auth="me:pw"))
            bearer = {"Authorization": f"Bearer {json.loads(answer.data)['token']}"}
            assert pool.request("GET", f"{running.url}/v2/", headers=bearer).status == 200
            told(capsys, "registry", "token", "void", "me", "--store", str(store))
            assert pool.request("GET", f"{running.url}/v2/", headers=bearer).status == 401
        assert ask(running, "me:pw") == 200


def test_users_are_added_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users, password = tmp_path / "users", tmp_path / "password"
    password.write_text("pw\n")
    place = ("--users", str(users))
    told(capsys, "registry", "user", "add", "me", "--password-file", str(password), "--grant", "create:team/*", *place)
    told(capsys, "registry", "user", "add", "ci", "--certificate", "uri:spiffe://site/ci", "--grant", "pull:*", *place)
    assert told(capsys, "registry", "user", "list", *place)["users"] == [
        {"name": "ci", "by": "certificate", "grants": ["pull:*"]},
        {"name": "me", "by": "password", "grants": ["create:team/*"]},
    ]
    users.write_text(users.read_text() + "anonymous:-:pull:public/*\n")
    told(capsys, "registry", "user", "remove", "me", *place)
    rows = told(capsys, "registry", "user", "list", *place)["users"]
    assert [row["name"] for row in rows] == ["ci", "anonymous"]  # type: ignore[attr-defined]
    error = told(capsys, "registry", "user", "remove", "me", *place, code=2)
    assert error["reference"] == "user-unknown"


@pytest.mark.parametrize("known_by", [[], ["--password-file", "p", "--certificate", "cn:x"]])
def test_a_user_is_known_by_one_thing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], known_by: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("registry", "user", "add", "me", "--users", "u", "--grant", "pull:*", *known_by)
    assert told(capsys, *arguments, code=2)["reference"] == "user-needs-one"
    assert not (tmp_path / "u").exists()
