"""Challenges as registries write them, and tokens: asked for narrowly, kept, renewed."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from registry.client.credentials import Challenge, Credentials, challenges, origin
from registry.errors import RemoteError

HOME = origin("https", "registry.example.org", None)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("Basic realm=x", [("basic", {"realm": "x"})]),
        ('BEARER Realm="a,b",service = s', [("bearer", {"realm": "a,b", "service": "s"})]),
        ('Basic realm="x", Bearer realm="y"', [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Digest a="1", b="2", Basic', [("digest", {"a": "1", "b": "2"}), ("basic", {})]),
        (r'Basic realm="say \"hi\""', [("basic", {"realm": 'say "hi"'})]),
        ("", []),
        ('="x"', []),
        ('Basic realm="never closed', [("basic", {})]),
        (", " * 8000, []),
    ],
)
def test_challenges_are_read_as_registries_write_them(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in challenges(header)][: len(expected)] == expected


class Issuer:
    """A token service on the registry's own host."""

    def __init__(self, **answer: object) -> None:
        self.answer = {"token": "t1"} | answer
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(self, target: str, headers: object) -> bytes:
        self.asked.append((target, dict(headers)))  # type: ignore[call-overload]
        return json.dumps(self.answer).encode()


BEARER = 'Bearer realm="https://registry.example.org/token?x=1",service="s"'


def test_a_token_is_asked_for_with_one_scope_and_kept_for_that_scope_alone() -> None:
    issuer, credentials = Issuer(expires_in=300), Credentials(HOME, "pull", "secret")
    assert credentials.header("repository:a:pull") is None
    assert credentials.answer(BEARER, "repository:a:pull", issuer)
    ((target, headers),) = issuer.asked
    assert urlsplit(target).path == "/token"
    assert parse_qs(urlsplit(target).query) == {"x": ["1"], "service": ["s"], "scope": ["repository:a:pull"]}
    assert headers["Authorization"].startswith("Basic ")
    assert credentials.header("repository:a:pull") == "Bearer t1"
    assert credentials.header("repository:b:pull") is None


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_token_that_is_over_is_not_sent(seconds: int) -> None:
    credentials = Credentials(HOME, "pull", "secret")
    credentials.answer(BEARER, "s", Issuer(expires_in=seconds))
    assert credentials.header("s") is None


def test_an_access_token_without_a_term_is_taken_for_a_minute() -> None:
    credentials = Credentials(HOME, None, None)
    issuer = Issuer(token=None, access_token="t2", expires_in="soon")
    credentials.answer(BEARER, "s", issuer)
    assert credentials.header("s") == "Bearer t2"
    assert issuer.asked[0][1] == {}


def test_nobody_has_no_answer_to_a_basic_challenge() -> None:
    assert not Credentials(HOME, None, None).answer("Basic realm=x", "s", Issuer())


def test_the_default_port_is_the_same_origin_however_it_is_written() -> None:
    credentials = Credentials(HOME, "pull", "secret")
    assert credentials.answer('Bearer realm="https://REGISTRY.example.org:443/t"', "s", Issuer())


@pytest.mark.parametrize(
    "realm",
    [
        "https://registry.example.org.evil/t",
        "https://registry.example.org:444/t",
        "https://registry.example.org@evil/t",
    ],
)
def test_a_realm_of_another_origin_is_refused(realm: str) -> None:
    issuer = Issuer()
    with pytest.raises(RemoteError):
        Credentials(HOME, "pull", "secret").answer(f'Bearer realm="{realm}"', "s", issuer)
    assert issuer.asked == []


def test_a_password_shows_nowhere() -> None:
    credentials = Credentials(HOME, "pull", "very secret")
    assert "secret" not in repr(credentials)
    assert Challenge("basic", {}) == challenges("Basic")[0]
