"""How a registry is told who asks: Basic, or the Docker token flow. Credentials stay home.

* A password goes to the registry it was given for, and to a token realm of the same scheme, host and port only.
  Peers sent it wherever the challenge pointed (distribution commit f215e513d, CVE-2026-12566 in BBOT).
* Tokens are kept for each scope apart, asked for narrowly, and renewed when they are about to expire.

Grammar of challenges: RFC 9110, 11.6.1; the token flow is Docker's "Token Authentication Specification".
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from registry.errors import RemoteError
from registry.oci import strictjson

HEADER_BYTES = 16 << 10
TOKEN_BYTES = 64 << 10
WHO_ANSWERS = "see what answers at this address (a proxy, or no registry at all?), else tell whoever runs it"
"""What to do about an answer that no registry should give."""
DEFAULT_SECONDS = 60.0  # the specification's, where `expires_in` is missing
_SCHEME = re.compile(r"[\s,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+(?!=)|\s*$|\s*,)")
_PARAMETER = re.compile(r"[\s,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")

Ask = Callable[[str, Mapping[str, str]], bytes]
"""Gets a path of the registry's own host with headers; never follows a redirect."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate that a server offers."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> Sequence[Challenge]:
    """Return the challenges in `WWW-Authenticate`; what cannot be read ends the list."""
    found: list[Challenge] = []
    place = 0
    header = header[:HEADER_BYTES]
    while place < len(header):
        parameter = _PARAMETER.match(header, place) if found else None
        if parameter:
            name, quoted, plain = parameter.groups()
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            found[-1] = Challenge(found[-1].scheme, {**found[-1].parameters, name.lower(): value})
            place = parameter.end()
        elif scheme := _SCHEME.match(header, place):
            found.append(Challenge(scheme[1].lower(), {}))
            place = scheme.end()
        else:
            break
    return found


class Credentials:
    """What one registry was told, and the tokens it gave. Safe for several threads."""

    def __init__(self, origin: str, user: str | None, password: str | None) -> None:
        self._origin = origin
        self._basic: str | None = None
        if user is not None:
            pair = base64.b64encode(f"{user}:{password or ''}".encode()).decode()
            self._basic = f"Basic {pair}"
        self._send_basic = False
        self._tokens: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scope: str) -> str | None:
        """Return the `Authorization` for `scope` as known so far; the first request goes without one."""
        with self._lock:
            token, until = self._tokens.get(scope, ("", 0.0))
            if token and time.monotonic() < until:
                return f"Bearer {token}"
            return self._basic if self._send_basic else None

    def answer(self, header: str, scope: str, ask: Ask) -> bool:
        """Act on a 401; say whether another attempt makes sense. Raises RemoteError for a realm elsewhere."""
        offered = {challenge.scheme: challenge for challenge in challenges(header)}
        if bearer := offered.get("bearer"):
            token, seconds = self._token(bearer, scope, ask)
            with self._lock:
                self._tokens[scope] = (token, time.monotonic() + seconds * 0.8)
            return True
        with self._lock:
            is_new = "basic" in offered and self._basic is not None and not self._send_basic
            self._send_basic |= is_new
            return is_new

    def _token(self, bearer: Challenge, scope: str, ask: Ask) -> tuple[str, float]:
        realm = bearer.parameters.get("realm", "")
        target = self._pinned(realm)
        service = bearer.parameters.get("service")
        query = urlencode({"service": service, "scope": scope} if service else {"scope": scope})
        body = ask(
            f"{target}{'&' if '?' in target else '?'}{query}", {"Authorization": self._basic} if self._basic else {}
        )
        try:
            return _token_in(strictjson.loads(body, limit=TOKEN_BYTES))
        except ValueError as error:
            raise RemoteError("token-answer-invalid", str(error), where=realm, hint=WHO_ANSWERS) from error

    def _pinned(self, realm: str) -> str:
        """Return the realm's path and query if it lies on the registry itself."""
        try:
            parts = urlsplit(realm)
            seen = origin(parts.scheme, parts.hostname, parts.port)
        except ValueError:
            parts, seen = urlsplit(""), "nothing that is an address"
        if seen != self._origin or parts.username is not None:
            raise RemoteError(
                "token-realm-elsewhere",
                "the registry asks to send credentials to another server",
                where=self._origin,
                expected=f"a realm on {self._origin}",
                seen=realm[:200],
                hint="ask the registry's administrator; dryport never follows such a realm",
            )
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _token_in(value: object) -> tuple[str, float]:
    if not isinstance(value, dict):
        raise ValueError("a JSON object was expected")
    token, seconds = value.get("token") or value.get("access_token"), value.get("expires_in")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise ValueError("no token in the answer")
    return token, float(seconds) if type(seconds) is int else DEFAULT_SECONDS


def origin(scheme: str, host: str | None, port: int | None) -> str:
    """Return scheme, host and port in the one form in which two origins are compared."""
    name = (host or "").lower()
    return f"{scheme.lower()}://{f'[{name}]' if ':' in name else name}:{port or 443}"
