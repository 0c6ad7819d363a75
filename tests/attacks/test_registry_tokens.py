"""Forged tokens: every way known to make a verifier believe what its issuer did not say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.server.tokens import (
    ACCESS_SECONDS,
    MOST_SCOPES,
    SKEW_SECONDS,
    TOKEN_BYTES,
    Issuer,
    Kind,
    Scope,
    scopes_asked,
)

NOW = 1_800_000_000.0
SERVICE = "registry.example.org"
SCOPES = [Scope("repository", "team/app", frozenset({"pull"}))]
RSA = rsa.generate_private_key(65537, 2048)
KEY, THEIRS = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
CLAIMS = {
    "iss": SERVICE,
    "aud": SERVICE,
    "sub": "admin",
    "mark": "m",
    "iat": int(NOW),
    "nbf": int(NOW),
    "exp": int(NOW) + ACCESS_SECONDS,
    "jti": "0",
    "access": [{"type": "repository", "name": "team/app", "actions": ["pull"]}],
}


def spell(data: bytes | dict[str, object]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signature(text: str, key: ec.EllipticCurvePrivateKey) -> tuple[int, int]:
    return utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))


def raw(pair: tuple[int, int]) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in pair)


def token(head: dict[str, object], claims: dict[str, object], key: ec.EllipticCurvePrivateKey = KEY) -> str:
    text = f"{spell(head)}.{spell(claims)}"
    return f"{text}.{spell(raw(signature(text, key)))}"


@pytest.fixture
def issuer() -> Issuer:
    return Issuer(KEY, SERVICE)


@pytest.fixture
def head(issuer: Issuer) -> dict[str, object]:
    return {"alg": "ES256", "kid": issuer.key_id, "typ": "JWT"}


def test_what_we_issue_we_read(issuer: Issuer) -> None:
    claims = issuer.read(Kind.ACCESS, issuer.issue(Kind.ACCESS, "admin", "m", SCOPES, NOW), NOW)
    assert (claims.subject, claims.mark, list(claims.scopes)) == ("admin", "m", SCOPES)


def test_the_forger_below_makes_good_tokens_when_he_has_the_key(issuer: Issuer, head: dict[str, object]) -> None:
    assert issuer.read(Kind.ACCESS, token(head, CLAIMS), NOW).subject == "admin"


def hs256(head: dict[str, object]) -> str:
    text = f"{spell(head | {'alg': 'HS256'})}.{spell(CLAIMS)}"
    return f"{text}.{spell(hmac.digest(PUBLIC, text.encode(), hashlib.sha256))}"


def with_their_key(head: dict[str, object]) -> str:
    point = THEIRS.public_key().public_numbers()
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "x": spell(point.x.to_bytes(32, "big")),
        "y": spell(point.y.to_bytes(32, "big")),
    }
    return token(head | {"jwk": jwk}, CLAIMS, THEIRS)


def rs256(head: dict[str, object]) -> str:
    text = f"{spell(head | {'alg': 'RS256'})}.{spell(CLAIMS)}"
    return f"{text}.{spell(RSA.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def der(text: str) -> str:
    return f"{text}.{spell(KEY.sign(text.encode(), ec.ECDSA(hashes.SHA256())))}"


FORGERIES: dict[str, Callable[[dict[str, object]], str]] = {
    "alg none, nothing signed": lambda head: f"{spell(head | {'alg': 'none'})}.{spell(CLAIMS)}.",
    "alg None, nothing signed": lambda head: f"{spell(head | {'alg': 'NoNe'})}.{spell(CLAIMS)}.",
    "our head, nothing signed": lambda head: f"{spell(head)}.{spell(CLAIMS)}.",
    "our head, no third part": lambda head: f"{spell(head)}.{spell(CLAIMS)}",
    "HS256 with the public key": hs256,
    "RS256": rs256,
    "another key under our key's name": lambda head: token(head, CLAIMS, THEIRS),
    "another key, brought along as jwk": with_their_key,
    "another key, brought along as x5c": lambda head: token(head | {"x5c": [spell(PUBLIC)]}, CLAIMS, THEIRS),
    "another key, at a jku": lambda head: token(head | {"jku": "https://evil.example.org/keys"}, CLAIMS, THEIRS),
    "our key, but a jwk in the head": lambda head: token(head | {"jwk": {}}, CLAIMS),
    "a kid that is a path": lambda head: token(head | {"kid": "../../../dev/null"}, CLAIMS),
    "a kid that is empty": lambda head: token(head | {"kid": ""}, CLAIMS),
    "no kid": lambda head: token({name: head[name] for name in ("alg", "typ")}, CLAIMS),
    "crit": lambda head: token(head | {"crit": ["exp"]}, CLAIMS),
    "compressed": lambda head: token(head | {"zip": "DEF"}, CLAIMS),
    "the head in another order": lambda head: token(dict(reversed(head.items())), CLAIMS),
    "a signature of zeros": lambda head: f"{spell(head)}.{spell(CLAIMS)}.{spell(bytes(64))}",
    "a signature of r=s=order": lambda head: f"{spell(head)}.{spell(CLAIMS)}.{spell(raw((ORDER, ORDER)))}",
    "a signature in DER": lambda head: der(f"{spell(head)}.{spell(CLAIMS)}"),
    "a refresh token's head": lambda head: token(head | {"typ": "refresh+jwt"}, CLAIMS),
    "four parts": lambda head: token(head, CLAIMS) + "." + spell(b"x"),
    "a line end behind it": lambda head: token(head, CLAIMS) + "\n",
    "padding": lambda head: token(head, CLAIMS) + "==",
    "another alphabet": lambda head: token(head, CLAIMS).replace("-", "+").replace("_", "/") + "/",
    "too long": lambda head: token(head, CLAIMS | {"jti": "x" * TOKEN_BYTES}),
    "nothing": lambda _: "",
    "dots": lambda _: "..",
    "no text of ours": lambda _: "\x00\ud800.é.ü",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token_is_refused(issuer: Issuer, head: dict[str, object], forgery: str) -> None:
    with pytest.raises(ValueError, match="token"):
        issuer.read(Kind.ACCESS, FORGERIES[forgery](head), NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other.example.org"},
        {"aud": "other.example.org"},
        {"aud": [SERVICE]},
        {"sub": None},
        {"sub": 1},
        {"exp": "never"},
        {"exp": 1e300},
        {"access": {}},
        {"access": ["*"]},
        {"access": [{"type": "repository", "name": "team/app", "actions": "pull"}]},
        {"nbf": int(NOW) + SKEW_SECONDS + 1},
        {"exp": int(NOW) - SKEW_SECONDS},
    ],
    ids=str,
)
def test_claims_that_are_not_ours_are_refused_whoever_signed(
    issuer: Issuer, head: dict[str, object], change: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"token|JSON"):
        issuer.read(Kind.ACCESS, token(head, CLAIMS | change), NOW)


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "mark", "iat", "nbf", "exp", "access"])
def test_a_claim_that_is_missing_is_refused(issuer: Issuer, head: dict[str, object], claim: str) -> None:
    with pytest.raises(ValueError, match="token"):
        issuer.read(Kind.ACCESS, token(head, {name: CLAIMS[name] for name in CLAIMS if name != claim}), NOW)


def test_a_payload_with_one_claim_twice_is_refused(issuer: Issuer, head: dict[str, object]) -> None:
    payload = json.dumps(CLAIMS)[:-1] + ', "sub": "somebody"}'
    text = f"{spell(head)}.{spell(payload.encode())}"
    with pytest.raises(ValueError, match="duplicate"):
        issuer.read(Kind.ACCESS, f"{text}.{spell(raw(signature(text, KEY)))}", NOW)


@pytest.mark.parametrize(
    ("seconds", "is_good"),
    [(-61, False), (-60, True), (0, True), (ACCESS_SECONDS + 59, True), (ACCESS_SECONDS + 60, False)],
)
def test_clocks_may_be_a_minute_apart_and_no_more(issuer: Issuer, seconds: int, is_good: bool) -> None:
    text = issuer.issue(Kind.ACCESS, "admin", "m", SCOPES, NOW)
    if is_good:
        assert issuer.read(Kind.ACCESS, text, NOW + seconds)
    else:
        with pytest.raises(ValueError, match="now"):
            issuer.read(Kind.ACCESS, text, NOW + seconds)


def test_the_same_signature_negated_is_no_second_token_with_other_words(
    issuer: Issuer, head: dict[str, object]
) -> None:
    text = f"{spell(head)}.{spell(CLAIMS)}"
    r, s = signature(text, KEY)
    assert issuer.read(Kind.ACCESS, f"{text}.{spell(raw((r, ORDER - s)))}", NOW).subject == "admin"  # no other words
    with pytest.raises(ValueError, match="wrong"):
        issuer.read(Kind.ACCESS, f"{spell(head)}.{spell(CLAIMS | {'sub': 'x'})}.{spell(raw((r, ORDER - s)))}", NOW)


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_one_changed_character_is_enough(issuer: Issuer, place: int) -> None:
    text = issuer.issue(Kind.ACCESS, "admin", "m", SCOPES, NOW)
    place %= len(text)
    other = "A" if text[place] != "A" else "B"
    with pytest.raises(ValueError, match=r"token|JSON|UTF|decode"):
        issuer.read(Kind.ACCESS, text[:place] + other + text[place + 1 :], NOW)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(st.text(max_size=60), min_size=3, max_size=3).map(".".join)))
def test_whatever_comes_is_refused_and_never_breaks_the_reader(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any
        Issuer(KEY, SERVICE).read(Kind.ACCESS, text, NOW)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=80), max_size=5))
def test_scopes_are_read_or_left_out(values: list[str]) -> None:
    for scope in scopes_asked([value.replace(" ", "") for value in values]):
        assert scope.type
        assert scope.name


def test_too_many_scopes_are_refused() -> None:
    assert len(scopes_asked(["repository:a:pull "] * MOST_SCOPES)) == MOST_SCOPES
    with pytest.raises(ValueError, match="at most"):
        scopes_asked(["repository:a:pull"] * (MOST_SCOPES + 1))


@pytest.mark.parametrize("key", [RSA, ec.generate_private_key(ec.SECP384R1())])
def test_a_key_of_another_kind_is_refused(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with pytest.raises(ValueError, match="P-256"):
        Issuer.from_pem(pem, SERVICE)
