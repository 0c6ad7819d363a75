"""Who asks: by Basic credentials, a token of ours, or a client certificate; checked off the event loop, and remembered.

* Wrong name and wrong password take the same time and get the same answer.
* What is remembered is an HMAC of the header under a key of this process; it dies after minutes, and whenever the
  users, the robots or the voided names change.
* Many first requests with one credential are hashed once.
* A token narrows what its subject may now; it never adds to it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from registry.oci.reference import repository_name
from registry.server.accounts import Account, Accounts
from registry.server.limits import Buckets, Rate, too_many
from registry.server.robots import Robot
from registry.server.settings import Settings
from registry.server.table import Table
from registry.server.threads import Threads
from registry.server.tokens import CATALOG, SKEW_SECONDS, ExpiredError, Issuer, Kind, Scope
from registry.server.users import Grant, User
from registry.server.wire import Refusal

REMEMBER_SECONDS = 300.0
_KEPT = 4096
MOST_CHECKS = 256
"""How many passwords may wait to be checked; who comes then is asked to come again."""
_CHECK_SECONDS = 5.0
CHALLENGE = {"WWW-Authenticate": 'Basic realm="dryport", charset="UTF-8"'}
EVERYTHING = ("pull", "create", "push", "delete")
_MEANT = {"pull": ("pull",), "push": ("create", "push"), "delete": ("delete",), "*": EVERYTHING}
"""What the words in a scope of the token flow stand for."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and what is granted; `name` is empty for nobody in particular."""

    name: str
    grants: tuple[Grant, ...]
    narrowed: Mapping[str, frozenset[str]] | None = None
    """What a token is for, by repository; None without a token."""

    def may(self, action: str, repository: str = "") -> bool:
        """Say whether a grant allows it, and the token too."""
        if self.narrowed is not None and action not in self.narrowed.get(repository, ()):
            return False
        return self.may_with_another_token(action, repository)

    def may_with_another_token(self, action: str, repository: str = "") -> bool:
        """Say whether a grant allows it."""
        return any(grant.allows(action, repository) for grant in self.grants)

    def sees(self, repository: str) -> bool:
        """Say whether a list of repositories shows this one."""
        name = CATALOG if self.narrowed and CATALOG in self.narrowed else repository
        is_in_token = self.narrowed is None or "pull" in self.narrowed.get(name, ())
        return is_in_token and self.may_with_another_token("pull", repository)

    @property
    def shown(self) -> Sequence[str]:
        """Globs that match whatever `sees` lets through, so that an index need not be read whole."""
        if self.narrowed is not None and CATALOG not in self.narrowed:
            return sorted(self.narrowed)
        globs = {grant.glob for grant in self.grants if "pull" in grant.actions}
        return ("*",) if "*" in globs else sorted(globs)


class Access:
    """Turns a request's credentials into an identity."""

    def __init__(
        self,
        users: Path | None,
        threads: Threads,
        *,
        anonymous_pull: bool = False,
        folder: Path | None = None,
        realm: str | None = None,
        failures: Buckets | None = None,
    ) -> None:
        self.service = realm.partition("://")[2].partition("/")[0] if realm else "dryport"
        self._realm = realm if folder else None
        self._accounts = Accounts(users, folder, self.service)
        self._threads = threads
        self._everybody = (Grant.parse("pull:*"),) if anonymous_pull else ()
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        self._generation = self._accounts.generation
        self._is_fresh = False
        self._running: dict[bytes, asyncio.Task[bool]] = {}
        self._failures = failures or Buckets(Rate())

    @property
    def everybody(self) -> tuple[Grant, ...]:
        """What somebody without credentials may."""
        return self._everybody + self._accounts.users.everybody

    @property
    def is_open(self) -> bool:
        """Whether somebody without credentials may pull anything."""
        return bool(self.everybody)

    @property
    def issuer(self) -> Issuer | None:
        """Who writes and reads tokens, where there are tokens."""
        return self._accounts.issuer()

    async def identify(
        self, headers: Mapping[str, str], certificate: Sequence[str] = (), origin: str = "", *, tokens: bool = True
    ) -> Identity:
        """Return who asks. Raises Refusal: 401 for wrong credentials, and for none unless anybody may pull; 429."""
        self._refresh()
        given = headers.get("authorization")
        if given is None:
            return self._unnamed(certificate)
        mark, identity = self._recall(given.encode("latin-1", "replace"))
        if identity and (tokens or identity.narrowed is None):
            return identity
        scheme, _, value = given.partition(" ")
        if scheme.lower() == "bearer" and tokens:
            with self._counted(origin):
                identity, seconds = self._by_token(value.strip())
        else:
            generation = self._generation
            with self._counted(origin):
                name, password = _basic(scheme, value)
            account = await self.login(name, password, origin)
            left = self._accounts.seconds_left(account, time.time())
            identity, seconds = self.granted(account), min(REMEMBER_SECONDS, left)
            if generation != self._accounts.generation:
                return identity  # right until now: the next request is judged by the new files
        self._remember(mark, identity, time.monotonic() + seconds)
        return identity

    def reload(self) -> None:
        """Read users, robots and the tokens' key anew. Raises SiteError for a file that is damaged."""
        self._accounts.look_again()
        self._is_fresh = False
        self._refresh()

    def recall(self, given: bytes | None) -> Identity | None:
        """Return who asks where that needs no work: by credentials that were right lately, or by none if all may pull.

        None says nothing about who it is. Raises SiteError if the users file is damaged.
        """
        self._refresh()
        if given is None:
            return self.granted() if self.is_open else None
        return self._recall(given)[1]

    async def login(self, name: str, password: str, origin: str = "") -> Account:
        """Return whose name and password these are. Raises Refusal: 401, 429."""
        self._refresh()
        found = self._accounts.find(name, time.time())
        account = found or self._accounts.nobody(name)
        # With the name as it was given: two names of nobody must not be quicker together than two of somebody.
        mark = hmac.digest(self._key, f"{name}\0{account.mark}\0{password}".encode(), hashlib.sha256)
        is_new = mark not in self._running
        if is_new and len(self._running) >= MOST_CHECKS:
            raise too_many(_CHECK_SECONDS)
        pays = origin if is_new else ""  # many at once with one password are one try
        if pays and (wait := self._failures.take(pays, time.monotonic())):  # given back if all is well
            raise too_many(wait)
        if self._accounts.is_robot(account):
            is_right = account.has_password(password)
        else:
            is_right = await self._is_right(mark, account, password)
        if not is_right or found is None:
            raise refusal("wrong user or password", name)
        if pays:
            self._failures.give_back(pays)
        return found

    @contextmanager
    def _counted(self, origin: str) -> Iterator[None]:
        """Count what is refused without a hash: it costs little here, and leaves a line of audit each time."""
        try:
            yield
        except LoginRefusal as refused:
            if refused.tried and origin and (wait := self._failures.take(origin, time.monotonic())):
                raise too_many(wait) from refused
            raise

    def void_before(self, name: str) -> int:
        """Return the second before which this one's tokens and sessions are void."""
        return self._accounts.void_before(name)

    def known(self, name: str) -> User | None:
        """Return a user as the users file has it now; for a session that proved the password before."""
        self._refresh()
        return self._accounts.users.named(name)

    def account(self, name: str) -> Account | None:
        """Return who has this name now: a user, or a robot whose time is not up."""
        self._refresh()
        return self._accounts.named(name, time.time())

    def everyone(self) -> tuple[Sequence[User], Sequence[Robot]]:
        """Return all users and robots, for administrators to see."""
        self._refresh()
        return self._accounts.everyone()

    def granted(self, user: Account | None = None) -> Identity:
        """Return what a user may, or what everybody may."""
        return Identity(user.name if user else "", (user.grants if user else ()) + self.everybody)

    def allowed(self, identity: Identity, asked: Sequence[Scope]) -> Sequence[Scope]:
        """Return the part of what is asked for that is granted; asking for too much is no error."""
        found: dict[tuple[str, str], set[str]] = {}
        for scope in asked:
            if scope.type == "repository" and _is_name(scope.name):
                wanted = {action for word in scope.actions for action in _MEANT.get(word, ())}
                may = {action for action in wanted if identity.may_with_another_token(action, scope.name)}
            else:
                may = {"*"} if (scope.type, scope.name) == tuple(CATALOG.split(":")) and "*" in scope.actions else set()
            if may:
                found.setdefault((scope.type, scope.name), set()).update(may)
        return [Scope(*place, frozenset(actions)) for place, actions in found.items()]

    def refreshed(self, token: str, origin: str = "") -> Account:
        """Return whose refresh token this is. Raises Refusal: 401, 429."""
        with self._counted(origin):
            account, _, _ = self._subject(Kind.REFRESH, token)
            if account is None:
                raise refusal("the token is nobody's", "?")
        return account

    def challenge(self, scope: str = "", error: str = "") -> dict[str, str]:
        """Return the header that says how to log in; by tokens where they are, and clients know what to ask for."""
        if self._realm is None:
            return dict(CHALLENGE)
        parts = {"realm": self._realm, "service": self.service, "scope": scope, "error": error}
        return {"WWW-Authenticate": "Bearer " + ",".join(f'{name}="{text}"' for name, text in parts.items() if text)}

    def _recall(self, given: bytes) -> tuple[bytes, Identity | None]:
        mark = hmac.digest(self._key, given, hashlib.sha256)
        identity, until = self._known.get(mark, (None, 0.0))
        return mark, identity if until > time.monotonic() else None

    def _unnamed(self, certificate: Sequence[str]) -> Identity:
        if certificate and (user := self._accounts.users.certified(certificate)):
            return self.granted(user)
        if self.is_open:
            return self.granted()
        raise refusal("credentials are required")

    def _by_token(self, token: str) -> tuple[Identity, float]:
        account, scopes, expires = self._subject(Kind.ACCESS, token)
        narrowed: dict[str, frozenset[str]] = {}
        for scope in scopes:
            is_catalog = f"{scope.type}:{scope.name}" == CATALOG
            name = CATALOG if is_catalog else scope.name if scope.type == "repository" else ""
            if name:  # a repository's name has no colon, so the two never meet
                actions = frozenset({"pull"}) if is_catalog else scope.actions
                narrowed[name] = narrowed.get(name, frozenset()) | actions
        known = self.granted(account)
        left = self._accounts.seconds_left(account, time.time()) if account else REMEMBER_SECONDS
        return Identity(known.name, known.grants, narrowed), min(expires + SKEW_SECONDS - time.time(), left)

    def _subject(self, kind: Kind, token: str) -> tuple[Account | None, Sequence[Scope], int]:
        issuer = self.issuer
        if issuer is None:
            raise refusal("Basic credentials are expected")
        try:
            claims = issuer.read(kind, token, time.time())
        except ExpiredError as error:
            raise refusal("the token is not valid any more") from error  # it was; whoever has it asks for the next one
        except ValueError as error:
            raise refusal("the token is not valid", "?") from error
        account = self.account(claims.subject) if claims.subject else None
        is_void = claims.issued < self._accounts.void_before(claims.subject)
        if claims.mark != (account.mark if account else "") or is_void or (not account and not self.is_open):
            raise refusal("the token is not valid any more", claims.subject)
        return account, claims.scopes, claims.expires

    async def _is_right(self, mark: bytes, account: Account, password: str) -> bool:
        if mark not in self._running:
            self._running[mark] = asyncio.create_task(self._check(mark, account, password))
        return await asyncio.shield(self._running[mark])

    async def _check(self, mark: bytes, account: Account, password: str) -> bool:
        try:
            return await self._threads.hash(account.has_password, password)
        finally:
            del self._running[mark]

    def _remember(self, mark: bytes, identity: Identity, until: float) -> None:
        self._known[mark] = (identity, until)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)

    def _grow_stale(self) -> None:
        self._is_fresh = False

    def _refresh(self) -> None:
        """Look at the files, once for all that is asked in one turn of the event loop."""
        if self._is_fresh:
            return
        with suppress(RuntimeError):
            asyncio.get_running_loop().call_soon(self._grow_stale)
            self._is_fresh = True
        try:
            self._accounts.refresh()
        finally:
            if self._generation != self._accounts.generation:
                self._generation = self._accounts.generation
                self._known.clear()


def access_of(settings: Settings, threads: Threads, table: Table | None = None) -> Access:
    """Return who decides who asks. Raises SiteError for users or an access folder that cannot be used."""
    return Access(
        settings.users,
        threads,
        anonymous_pull=settings.anonymous_pull,
        folder=settings.access,
        realm=f"{settings.external_url}/token" if settings.external_url else None,
        failures=Buckets(settings.limits.failures, table, "failures"),
    )


class LoginRefusal(Refusal):
    """A 401; `tried` names who could not come in, `?` if that cannot be known, nothing if nobody tried."""

    def __init__(self, message: str, tried: str = "") -> None:
        super().__init__("UNAUTHORIZED", message, headers=CHALLENGE)
        self.tried = tried


def refusal(message: str, tried: str = "") -> LoginRefusal:
    """Return the 401 that asks for credentials."""
    return LoginRefusal(message, tried)


def _is_name(text: str) -> bool:
    try:
        repository_name(text)
    except ValueError:
        return False
    return True


def _basic(scheme: str, value: str) -> tuple[str, str]:
    if scheme.lower() != "basic":
        raise refusal("Basic credentials are expected", "?")
    try:
        name, _, password = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError as error:
        raise refusal("credentials are not in Basic form", "?") from error
    return name, password
