"""The registry's own tokens: JWTs of one shape, signed with P-256 by the key of this registry, read by it alone.

* A token's head is compared byte for byte with the only one we write, so that nothing in a head is ever obeyed: no
  `alg`, no `kid`, no `jwk`, `x5c` or `jku` (distribution CVE-2025-24976).
* A token holds no rights: it narrows what its subject may do at the moment it is used. A user who is removed, a
  password that is changed, a robot that expires take their tokens along.
* A refresh token is of another kind; neither kind passes for the other.

The form is Docker's "Token Authentication Specification" on RFC 7519.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from registry.oci import strictjson

ACCESS_SECONDS, REFRESH_SECONDS = 300, 30 * 86400
SKEW_SECONDS = 60
"""How far two clocks may be apart: several machines may serve one registry."""
TOKEN_BYTES = 32 << 10
MOST_SCOPES = 64
CATALOG = "registry:catalog"
_NUMBER = 32
_BASE64 = re.compile(r"[A-Za-z0-9_-]+")
_SCOPE = re.compile(r"([a-z]+(?:\([a-z0-9]+\))?):([^\s]{1,512}):([a-z,*]{0,64})")


class Kind(Enum):
    """What a token is for."""

    ACCESS = "JWT"
    REFRESH = "refresh+jwt"


@dataclass(frozen=True, slots=True)
class Scope:
    """Actions on one repository (`repository`), or what `type:name` means otherwise."""

    type: str
    name: str
    actions: frozenset[str]

    def as_json(self) -> dict[str, object]:
        """Return the claim's entry."""
        return {"type": self.type, "name": self.name, "actions": sorted(self.actions)}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says, once its signature and its times are right."""

    subject: str
    mark: str
    issued: int
    expires: int
    scopes: tuple[Scope, ...]


class ExpiredError(ValueError):
    """The token is ours, and not valid now."""


class Issuer:
    """Writes and reads the tokens of one service."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, service: str) -> None:
        self._key = key
        self.service = service
        point = key.public_key().public_numbers()
        self._jwk = {"crv": "P-256", "kty": "EC", "x": _number(point.x), "y": _number(point.y)}
        thumbprint = json.dumps(self._jwk, sort_keys=True, separators=(",", ":")).encode()  # RFC 7638
        self.key_id = _encode(hashlib.sha256(thumbprint).digest())
        self._heads = {
            kind: _encode(_compact({"alg": "ES256", "kid": self.key_id, "typ": kind.value})) for kind in Kind
        }

    @classmethod
    def from_pem(cls, pem: bytes, service: str) -> Issuer:
        """Return the issuer of a private key. Raises ValueError."""
        key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("the tokens' key is no P-256 key")
        return cls(key, service)

    def keys(self) -> dict[str, object]:
        """Return the public key as a JWK set."""
        return {"keys": [self._jwk | {"alg": "ES256", "kid": self.key_id, "use": "sig"}]}

    def issue(self, kind: Kind, subject: str, mark: str, scopes: Sequence[Scope], now: float) -> str:
        """Return a signed token."""
        seconds = ACCESS_SECONDS if kind is Kind.ACCESS else REFRESH_SECONDS
        claims = {
            "iss": self.service,
            "aud": self.service,
            "sub": subject,
            "mark": mark,
            "iat": int(now),
            "nbf": int(now),
            "exp": int(now) + seconds,
            "jti": secrets.token_hex(16),
            "access": [scope.as_json() for scope in scopes],
        }
        signed = f"{self._heads[kind]}.{_encode(_compact(claims))}"
        r, s = utils.decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_encode(r.to_bytes(_NUMBER, 'big') + s.to_bytes(_NUMBER, 'big'))}"

    def read(self, kind: Kind, token: str, now: float) -> Claims:
        """Return what a token of ours says. Raises ValueError for every other one, ExpiredError for an old one."""
        if len(token) > TOKEN_BYTES:
            raise ValueError("the token is too long")
        head, _, rest = token.partition(".")
        payload, _, signature = rest.partition(".")
        if head != self._heads[kind]:
            raise ValueError("the token's head is not ours")
        number = _decode(signature)
        if len(number) != 2 * _NUMBER:
            raise ValueError("the token's signature is malformed")
        pair = (int.from_bytes(number[:_NUMBER], "big"), int.from_bytes(number[_NUMBER:], "big"))
        try:
            self._key.public_key().verify(
                utils.encode_dss_signature(*pair), f"{head}.{payload}".encode(), ec.ECDSA(hashes.SHA256())
            )
        except InvalidSignature as error:
            raise ValueError("the token's signature is wrong") from error
        return self._claims(_decode(payload), now)

    def _claims(self, payload: bytes, now: float) -> Claims:
        """Read what we signed; anything unexpected is another service's, or another version's."""
        match strictjson.loads(payload, limit=TOKEN_BYTES):
            case {
                "iss": self.service,
                "aud": self.service,
                "sub": str(subject),
                "mark": str(mark),
                "iat": int(issued),
                "nbf": int(begins),
                "exp": int(expires),
                "access": list(access),
            }:
                if now < begins - SKEW_SECONDS or now >= expires + SKEW_SECONDS:
                    raise ExpiredError("the token is not valid now")
                return Claims(subject, mark, issued, expires, tuple(map(_scope, access)))
        raise ValueError("the token is not this service's")


def new_key() -> bytes:
    """Return a new private key as PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def scopes_asked(values: Sequence[str]) -> Sequence[Scope]:
    """Return the scopes in a request's parameters: repeated, or several in one, separated by spaces.

    What cannot be read asks for nothing. Raises ValueError for more than anybody needs.
    """
    words = [word for value in values for word in value.split()]
    if len(words) > MOST_SCOPES:
        raise ValueError(f"at most {MOST_SCOPES} scopes are asked for at once")
    found = (_SCOPE.fullmatch(word) for word in words)
    return [Scope(one[1], one[2], frozenset(one[3].split(",")) - {""}) for one in found if one]


def _scope(entry: object) -> Scope:
    match entry:
        case {"type": str(kind), "name": str(name), "actions": list(actions)}:
            return Scope(kind, name, frozenset(map(str, actions)))
    raise ValueError("the token's access cannot be read")


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _number(value: int) -> str:
    return _encode(value.to_bytes(_NUMBER, "big"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Return what base64url without padding spells, in its one spelling. Raises ValueError."""
    if not _BASE64.fullmatch(text):
        raise ValueError("the token is not base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _encode(data) != text:
        raise ValueError("the token has a second spelling")
    return data
