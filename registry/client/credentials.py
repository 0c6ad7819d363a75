"""How a registry is told who asks: Basic, or the Docker token flow. Credentials stay home.

* A password goes to the registry it was given for, and to a token realm on the same origin or on one that was allowed
  by name. Peers sent it wherever the challenge pointed (distribution commit f215e513d, CVE-2026-12566 in BBOT).
* Tokens are kept for each set of scopes apart, asked for narrowly, and renewed when they are about to expire.
* With a secret a token is asked for by POST (OAuth2); where a realm has no such thing, by GET with Basic.

The token flow is Docker's "Token Authentication Specification", and its OAuth2 form.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from registry.client.access import Login, LoginSource
from registry.client.address import origin_of
from registry.client.answer import WHO_ANSWERS
from registry.client.challenges import Challenge, challenges
from registry.errors import RemoteError
from registry.oci import strictjson

TOKEN_BYTES = 64 << 10
DEFAULT_SECONDS = 60.0  # the specification's, where `expires_in` is missing
CLIENT = "dryport"
SCOPES = 100
_POST_UNKNOWN = frozenset({400, 401, 404, 405})  # Harbor answers 405 (#23799)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_SCOPE = re.compile(r"[\x21-\x7e]{1,1000}")

Scopes = frozenset[str]


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What is asked of a realm; sent to this URL alone, never redirected."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: bytes | None = field(default=None, repr=False)


Ask = Callable[[TokenRequest], tuple[int, bytes]]
"""Sends a token request (by POST if it has a form) and returns status and body."""


def scopes(text: str) -> Scopes:
    """Return the scopes in a text that parts them by spaces."""
    return frozenset(text.split())


@dataclass
class _Kept:
    """The token for one set of scopes; the lock lets one thread alone ask for it."""

    token: str = ""
    until: float = 0.0
    asked: Scopes = frozenset()
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def header(self) -> str | None:
        return f"Bearer {self.token}" if self.token and time.monotonic() < self.until else None


class Credentials:
    """What one registry was told, and the tokens it gave. Safe for several threads."""

    def __init__(self, origin: str, source: LoginSource, realms: Iterable[str] = ()) -> None:
        self._origin = origin
        self._allowed = frozenset({origin, *map(origin_of, realms)})
        self._source = source
        self._basic: str | None = None
        self._refresh: str | None = None
        self._no_post: set[str] = set()
        self.kind = "none"
        """How the registry asked last who is there: none, basic or bearer."""
        self.by_post: bool | None = None
        """Whether its realm gave a token by POST; None if that was not tried."""
        self._kept: dict[Scopes, _Kept] = {}
        self._lock = threading.Lock()

    def header(self, scope: str) -> str | None:
        """Return the `Authorization` for `scope` as known so far; the first request goes without one."""
        return self._token_of(scopes(scope)).header or self._basic

    def answer(self, header: str, scope: str, ask: Ask, refused: str | None = None, *, is_fresh: bool = False) -> bool:
        """Act on a 401 to a request that carried `refused`; say whether another attempt makes sense.

        `is_fresh` tells that `refused` was given for this very request. Raises RemoteError for a realm elsewhere, or
        one that gives no token.
        """
        offered: dict[str, Challenge] = {}
        for challenge in challenges(header):
            offered.setdefault(challenge.scheme, challenge)
        self.kind = "bearer" if "bearer" in offered else "basic" if "basic" in offered else self.kind
        if bearer := offered.get("bearer"):
            return self._renew(bearer, scopes(scope), ask, refused, is_fresh=is_fresh)
        login = self._source() if "basic" in offered else None
        if login is None or login.is_identity_token:
            return False
        self._basic = _basic(login)
        return self._basic != refused

    def _token_of(self, wanted: Scopes) -> _Kept:
        with self._lock:
            return self._kept.setdefault(wanted, _Kept())

    def _renew(self, bearer: Challenge, wanted: Scopes, ask: Ask, refused: str | None, *, is_fresh: bool) -> bool:
        kept = self._token_of(wanted)
        with kept.lock:
            if kept.header and kept.header != refused:
                return True  # another thread was quicker
            # A registry that wants another scope than ours says so (Artifactory's names differ from its paths).
            named = scopes(bearer.parameters.get("scope", ""))
            more = {scope for scope in named if _SCOPE.fullmatch(scope)} if len(named) <= SCOPES else set()
            if is_fresh and more <= kept.asked:
                return False
            kept.asked = wanted | more if is_fresh else kept.asked or wanted
            token, seconds = self._fetch(bearer, kept.asked, ask)
            kept.token, kept.until = token, time.monotonic() + seconds * 0.8
            return True

    def _fetch(self, bearer: Challenge, wanted: Scopes, ask: Ask) -> tuple[str, float]:
        realm, service = self._pinned(bearer.parameters.get("realm", "")), bearer.parameters.get("service")
        login = self._source()
        status, body = 0, b""
        if login and (login.is_identity_token or realm not in self._no_post):
            status, body = ask(TokenRequest(realm, form=self._form(login, service, wanted)))
            if status in _POST_UNKNOWN and not login.is_identity_token:
                status, body = ask(_get(realm, login, service, wanted))
                if status == 200:  # noqa: PLR2004
                    self._no_post.add(realm)
                    self.by_post = False
            elif status == 200:  # noqa: PLR2004
                self.by_post = True
        else:
            status, body = ask(_get(realm, login, service, wanted))
        if status != 200:  # noqa: PLR2004
            raise self._refused(realm, status, body)
        try:
            answer = strictjson.loads(body, limit=TOKEN_BYTES)
            token, seconds = _token_in(answer)
        except ValueError as error:
            raise RemoteError("token-answer-invalid", str(error), where=realm, hint=WHO_ANSWERS) from error
        if login and login.is_identity_token and isinstance(answer.get("refresh_token"), str):
            self._refresh = answer["refresh_token"]
        return token, seconds

    def _form(self, login: Login, service: str | None, wanted: Scopes) -> bytes:
        if login.is_identity_token:
            proof = {"grant_type": "refresh_token", "refresh_token": self._refresh or login.secret}
        else:
            proof = {"grant_type": "password", "username": login.user, "password": login.secret}
        about = {"service": service or "", "client_id": CLIENT, "scope": " ".join(sorted(wanted))}
        return urlencode({**proof, **about}).encode()

    def _pinned(self, realm: str) -> str:
        """Return the realm if it lies on the registry itself, or where it was allowed to."""
        if not origin_of(realm) or origin_of(realm) not in self._allowed:
            raise RemoteError(
                "token-realm-elsewhere",
                "the registry asks to send credentials to another server",
                where=self._origin,
                expected=f"a realm on {' or '.join(sorted(self._allowed))}",
                seen=realm[:200],
                hint="ask the registry's administrator; if that server is his: --token-realm https://HOST:PORT",
            )
        return urlsplit(realm)._replace(fragment="").geturl()

    def _refused(self, realm: str, status: int, body: bytes) -> RemoteError:
        denied = status in {400, 401, 403}
        return RemoteError(
            "registry-denied" if denied else "registry-answer",
            "the registry denies this" if denied else "the registry gave no token",
            where=realm.partition("?")[0],
            seen=f"{status} {body.decode('utf-8', 'replace').strip()[:300]}",
            hint="check the user and the password, and what the user may do there" if denied else "",
        )


def _get(realm: str, login: Login | None, service: str | None, wanted: Scopes) -> TokenRequest:
    query = urlencode([*([("service", service)] if service else []), *(("scope", scope) for scope in sorted(wanted))])
    headers = {"Authorization": _basic(login)} if login else {}
    return TokenRequest(f"{realm}{'&' if '?' in realm else '?'}{query}" if query else realm, headers)


def _basic(login: Login) -> str:
    return f"Basic {base64.b64encode(f'{login.user}:{login.secret}'.encode()).decode()}"


def _token_in(value: object) -> tuple[str, float]:
    if not isinstance(value, dict):
        raise ValueError("a JSON object was expected")
    token, seconds = value.get("token") or value.get("access_token"), value.get("expires_in")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise ValueError("no token in the answer")
    return token, float(seconds) if type(seconds) is int else DEFAULT_SECONDS
