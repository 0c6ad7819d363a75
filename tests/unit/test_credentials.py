"""Challenges as registries write them, and tokens: asked for narrowly, kept, renewed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from registry.client.access import Login, fixed_login, nobody
from registry.client.address import origin
from registry.client.challenges import Challenge, challenges
from registry.client.credentials import Credentials, TokenRequest
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
    """A token service; `statuses` are what it answers first, by method."""

    def __init__(self, *, posts: int = 200, gets: int = 200, **answer: object) -> None:
        self.statuses = {"POST": posts, "GET": gets}
        self.answer = {"token": "t1"} | answer
        self.asked: list[TokenRequest] = []

    def __call__(self, request: TokenRequest) -> tuple[int, bytes]:
        self.asked.append(request)
        return self.statuses["POST" if request.form else "GET"], json.dumps(self.answer).encode()


BEARER = 'Bearer realm="https://registry.example.org/token?x=1",service="s"'
PULLER = fixed_login("pull", "secret")


def form(request: TokenRequest) -> dict[str, list[str]]:
    return parse_qs((request.form or b"").decode())


def query(request: TokenRequest) -> dict[str, list[str]]:
    return parse_qs(urlsplit(request.url).query)


def test_a_token_is_asked_for_with_one_scope_and_kept_for_that_scope_alone() -> None:
    issuer, credentials = Issuer(expires_in=300), Credentials(HOME, PULLER)
    assert credentials.header("repository:a:pull") is None
    assert credentials.answer(BEARER, "repository:a:pull", issuer)
    (request,) = issuer.asked
    assert urlsplit(request.url).path == "/token"
    assert form(request) == {
        "grant_type": ["password"],
        "username": ["pull"],
        "password": ["secret"],
        "service": ["s"],
        "client_id": ["dryport"],
        "scope": ["repository:a:pull"],
    }
    assert credentials.header("repository:a:pull") == "Bearer t1"
    assert credentials.header("repository:b:pull") is None


def test_nobody_asks_for_a_token_by_get_and_repeats_the_scope() -> None:
    issuer, credentials = Issuer(), Credentials(HOME, nobody)
    assert credentials.answer(BEARER, "repository:b:pull repository:a:pull,push", issuer)
    (request,) = issuer.asked
    assert query(request) == {
        "x": ["1"],
        "service": ["s"],
        "scope": ["repository:a:pull,push", "repository:b:pull"],
    }
    assert request.headers == {}
    assert credentials.header("repository:a:pull,push repository:b:pull") == "Bearer t1"


@pytest.mark.parametrize("status", [400, 401, 404, 405])
def test_a_realm_that_knows_no_post_is_asked_by_get_and_then_at_once(status: int) -> None:
    issuer, credentials = Issuer(posts=status), Credentials(HOME, PULLER)
    assert credentials.answer(BEARER, "repository:a:pull", issuer)
    assert credentials.answer(BEARER, "repository:b:pull", issuer)
    assert ["POST" if request.form else "GET" for request in issuer.asked] == ["POST", "GET", "GET"]
    assert issuer.asked[1].headers["Authorization"].startswith("Basic ")


def test_a_wrong_password_is_denied_with_the_realms_own_words() -> None:
    with pytest.raises(RemoteError) as caught:
        Credentials(HOME, PULLER).answer(BEARER, "s", Issuer(posts=401, gets=401, token="", details="no such user"))
    assert caught.value.reference == "registry-denied"
    assert "no such user" in caught.value.seen


def test_an_identity_token_is_exchanged_and_never_sent_as_a_password() -> None:
    issuer = Issuer(token=None, access_token="t3", refresh_token="next")
    credentials = Credentials(HOME, lambda: Login("", "first", is_identity_token=True))
    for scope in ("a", "b"):
        assert credentials.answer(BEARER, scope, issuer)
    assert [form(request)["refresh_token"] for request in issuer.asked] == [["first"], ["next"]]
    assert form(issuer.asked[0])["grant_type"] == ["refresh_token"]
    assert [request.headers for request in issuer.asked] == [{}, {}]
    assert not credentials.answer("Basic realm=x", "a", issuer)


def test_a_registry_that_wants_another_scope_gets_it_once() -> None:
    issuer, credentials = Issuer(expires_in=300), Credentials(HOME, PULLER)
    assert credentials.answer(BEARER, "repository:app:pull", issuer)
    named = f'{BEARER},scope="repository:key/app:pull",error="insufficient_scope"'
    assert credentials.answer(named, "repository:app:pull", issuer, "Bearer t1", is_fresh=True)
    assert form(issuer.asked[1])["scope"] == ["repository:app:pull repository:key/app:pull"]
    assert not credentials.answer(named, "repository:app:pull", issuer, "Bearer t1", is_fresh=True)
    assert len(issuer.asked) == 2


def test_a_token_that_the_registry_ends_early_is_asked_for_anew() -> None:
    issuer, credentials = Issuer(expires_in=300), Credentials(HOME, PULLER)
    assert credentials.answer(BEARER, "s", issuer)
    assert credentials.answer(BEARER, "s", issuer, "Bearer t1")
    assert len(issuer.asked) == 2


def test_threads_that_are_refused_together_ask_for_one_token() -> None:
    issuer, credentials = Issuer(expires_in=300), Credentials(HOME, PULLER)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: credentials.answer(BEARER, "s", issuer, None), range(32)))
    assert all(told)
    assert len(issuer.asked) == 1


def test_a_short_lived_password_is_asked_for_again_when_it_is_refused() -> None:
    passwords = iter(["old", "old", "new", "new"])
    credentials = Credentials(HOME, lambda: Login("AWS", next(passwords)))
    assert credentials.answer("Basic realm=x", "s", Issuer())
    old = credentials.header("s")
    assert not credentials.answer("Basic realm=x", "s", Issuer(), old)
    assert credentials.answer("Basic realm=x", "s", Issuer(), old)
    assert credentials.header("s") != old
    assert not credentials.answer("Basic realm=x", "s", Issuer(), credentials.header("s"))


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_token_that_is_over_is_not_sent(seconds: int) -> None:
    credentials = Credentials(HOME, PULLER)
    credentials.answer(BEARER, "s", Issuer(expires_in=seconds))
    assert credentials.header("s") is None


def test_an_access_token_without_a_term_is_taken_for_a_minute() -> None:
    credentials = Credentials(HOME, nobody)
    issuer = Issuer(token=None, access_token="t2", expires_in="soon")
    credentials.answer(BEARER, "s", issuer)
    assert credentials.header("s") == "Bearer t2"
    assert issuer.asked[0].headers == {}


def test_nobody_has_no_answer_to_a_basic_challenge() -> None:
    assert not Credentials(HOME, nobody).answer("Basic realm=x", "s", Issuer())


def test_the_default_port_is_the_same_origin_however_it_is_written() -> None:
    credentials = Credentials(HOME, PULLER)
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
        Credentials(HOME, PULLER).answer(f'Bearer realm="{realm}"', "s", issuer)
    assert issuer.asked == []


def test_a_password_shows_nowhere() -> None:
    credentials = Credentials(HOME, fixed_login("pull", "very secret"))
    assert "secret" not in repr(credentials)
    assert "secret" not in repr(Login("pull", "very secret"))
    assert "secret" not in repr(TokenRequest("https://x", {"Authorization": "secret"}, b"secret"))
    assert Challenge("basic", {}) == challenges("Basic")[0]


def test_a_realm_elsewhere_is_asked_where_it_was_allowed_by_name() -> None:
    issuer = Issuer()
    credentials = Credentials(HOME, PULLER, [origin("https", "auth.example.org", None)])
    assert credentials.answer('Bearer realm="https://auth.example.org/t"', "s", issuer)
    with pytest.raises(RemoteError):
        credentials.answer('Bearer realm="https://auth.example.org:444/t"', "t", issuer)
    assert len(issuer.asked) == 1


@pytest.mark.parametrize("allowed", ["", "nonsense", "https://[::1", "https://u:p@auth.example.org"])
@pytest.mark.parametrize("realm", ["", "nonsense", "https://[::1/t", "https://u:p@auth.example.org/t"])
def test_what_is_no_address_allows_no_realm(allowed: str, realm: str) -> None:
    issuer = Issuer()
    with pytest.raises(RemoteError):
        Credentials(HOME, PULLER, [allowed]).answer(f'Bearer realm="{realm}"', "s", issuer)
    assert issuer.asked == []
