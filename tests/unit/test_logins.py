"""Logins out of docker's and podman's files, out of programs, and certificates by host: found, bounded, never shown."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.client import logins as logins_module
from registry.client.access import Login
from registry.client.logins import Certificates, Logins
from registry.errors import SiteError, UsageError

HOST = "registry.example.org:5000"


def pair(user: str, secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


def written(folder: Path, value: object, name: str = "auth.json") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def read(folder: Path, value: object) -> Logins:
    return Logins.read([written(folder, value)])


Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, script: str) -> None:
        path = folder / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v2/", f"http://{HOST}/v1/", HOST.upper()])
def test_a_host_is_found_however_the_file_spells_it(tmp_path: Path, key: str) -> None:
    assert read(tmp_path, {"auths": {key: pair("me", "a:b")}}).find(HOST) == Login("me", "a:b")


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_dockers_hub_has_three_names(tmp_path: Path, host: str) -> None:
    logins = read(tmp_path, {"auths": {"https://index.docker.io/v1/": pair("me", "secret")}})
    assert logins.find(host) == Login("me", "secret")


def test_the_nearest_entry_wins(tmp_path: Path) -> None:
    entries = {HOST: pair("host", "1"), f"{HOST}/team": pair("team", "2"), f"{HOST}/team/app": pair("app", "3")}
    logins = read(tmp_path, {"auths": entries})
    found = {path: logins.find(HOST, path) for path in ("team/app", "team/app/web", "team/application", "other", "")}
    assert {path: login and login.user for path, login in found.items()} == {
        "team/app": "app",
        "team/app/web": "app",
        "team/application": "team",
        "other": "host",
        "": "host",
    }


@pytest.mark.parametrize("host", ["registry.example.org", "example.org:5000", "registry.example.org:50000"])
def test_another_host_or_port_gets_nothing(tmp_path: Path, host: str) -> None:
    assert read(tmp_path, {"auths": {HOST: pair("me", "secret")}}).find(host) is None


def test_earlier_files_come_first(tmp_path: Path) -> None:
    first = written(tmp_path, {"auths": {HOST: pair("first", "1")}}, "a.json")
    second = written(tmp_path, {"auths": {HOST: pair("second", "2"), "other": pair("other", "3")}}, "b.json")
    logins = Logins.read([first, second])
    assert logins.find(HOST) == Login("first", "1")
    assert logins.find("other") == Login("other", "3")


def test_an_identity_token_is_told_from_a_password(tmp_path: Path) -> None:
    logins = read(tmp_path, {"auths": {HOST: pair("me", "") | {"identitytoken": "long-lived"}}})
    assert logins.find(HOST) == Login("me", "long-lived", is_identity_token=True)


@pytest.mark.parametrize(
    "content",
    [
        "secret-not-json",
        "[]",
        '"secret"',
        '{"auths": ["secret"]}',
        '{"auths": {"h": "secret"}}',
        '{"auths": {"h": {"auth": "secret!"}}}',
        '{"auths": {"h": {"auth": "c2VjcmV0"}}}',
        '{"auths": {"h": {"auth": "/////w=="}}}',
        '{"credHelpers": {"h": "../secret"}}',
        '{"credHelpers": {"h": "-secret"}}',
        '{"credsStore": "secret program"}',
        '{"credsStore": ["secret"]}',
        '{"auths": {}, "auths": {"secret": {}}}',
        "[" * 5000,
        "",
    ],
)
def test_a_file_that_is_none_is_refused_without_quoting_it(tmp_path: Path, content: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content)
    assert "secret" not in str(caught.value.as_json()).lower()
    assert caught.value.__cause__ is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        Logins.read([tmp_path / "none.json"])


KEYS = st.sampled_from(["auths", "credHelpers", "credsStore", "auth", "h", ""])
VALUES = st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=10
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(content=st.binary(max_size=300) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_file_gives_logins_or_a_refusal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.json"
    path.write_bytes(content)
    try:
        logins = Logins.read([path])
    except UsageError:
        return
    assert logins is not None


def test_a_program_holds_the_secrets_of_one_host_or_of_all(tmp_path: Path, program: Program) -> None:
    program("one", """read server; echo '{"ServerURL":"x","Username":"'$server'","Secret":"1"}'""")
    program("all", """read server; echo '{"Username":"all","Secret":"'$server'"}'""")
    logins = read(tmp_path, {"credHelpers": {HOST: "one"}, "credsStore": "all", "auths": {"other:1": {}}})
    assert logins.find(HOST) == Login(HOST, "1")
    assert logins.find("other:1") == Login("all", "other:1")
    assert logins.find("docker.io") == Login("all", "https://index.docker.io/v1/")


def test_a_program_is_asked_every_time(tmp_path: Path, program: Program) -> None:
    count = tmp_path / "count"
    program("fresh", f"""echo x >> {count}; echo '{{"Username":"AWS","Secret":"'$(wc -l < {count})'"}}'""")
    source = read(tmp_path, {"credHelpers": {HOST: "fresh"}}).source(HOST)
    assert [source(), source()] == [Login("AWS", "1"), Login("AWS", "2")]


def test_a_program_may_give_an_identity_token(tmp_path: Path, program: Program) -> None:
    program("token", """echo '{"Username":"<token>","Secret":"long-lived"}'""")
    assert read(tmp_path, {"credsStore": "token"}).find(HOST) == Login("", "long-lived", is_identity_token=True)


def test_a_program_that_knows_nobody_is_no_error(tmp_path: Path, program: Program) -> None:
    program("empty", "echo credentials not found in native keychain; exit 1")
    assert read(tmp_path, {"credsStore": "empty"}).find(HOST) is None


@pytest.mark.parametrize(
    "script",
    [
        "echo my-secret; exit 2",
        'echo \'{"Username":"my-secret"}\'',
        "echo my-secret",
        "yes my-secret",
        'echo \'{"Username":1,"Secret":"my-secret"}\'',
        "sleep 60",
        "exec >&-; sleep 60",
    ],
)
def test_a_program_that_fails_babbles_or_hangs_is_ended_and_not_quoted(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(logins_module, "PROGRAM_SECONDS", 1)
    program("bad", f"exec 2>/dev/null\n{script}")
    began = time.monotonic()
    with pytest.raises(SiteError) as caught:
        read(tmp_path, {"credsStore": "bad"}).find(HOST)
    assert time.monotonic() - began < 10
    assert "my-secret" not in str(caught.value.as_json())


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(SiteError) as caught:
        read(tmp_path, {"credsStore": "surely-not-there"}).find(HOST)
    assert "docker-credential-surely-not-there" in caught.value.where


def test_certificates_lie_in_a_folder_by_host(tmp_path: Path) -> None:
    place = tmp_path / HOST
    place.mkdir()
    assert Certificates.of(tmp_path, HOST) == Certificates()
    (place / "ca.crt").write_text("x")
    assert Certificates.of(tmp_path, HOST) == Certificates(place / "ca.crt")
    (place / "client.cert").write_text("x")
    with pytest.raises(UsageError, match="belong together"):
        Certificates.of(tmp_path, HOST)
    (place / "client.key").write_text("x")
    assert Certificates.of(tmp_path, HOST) == Certificates(
        place / "ca.crt", place / "client.cert", place / "client.key"
    )


@pytest.mark.parametrize("host", ["..", "../x", "a/b", "", "a:b", ".", "a..b/../c", "h:1/.."])
def test_a_host_never_becomes_another_path(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError):
        Certificates.of(tmp_path, host)
