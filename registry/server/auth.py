"""Who asks: Basic credentials checked off the event loop, and remembered for a few minutes.

* Wrong name and wrong password take the same time and get the same answer.
* A remembered credential is an HMAC under a key of this process, and dies when the users file changes.
* Many first requests with one credential are hashed once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.server.threads import Threads
from registry.server.users import NOBODY, Grant, User, Users
from registry.server.wire import Refusal

REMEMBER_SECONDS = 300.0
_KEPT = 1024
CHALLENGE = {"WWW-Authenticate": 'Basic realm="dryport", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, and what is granted; `name` is empty for nobody in particular."""

    name: str
    grants: tuple[Grant, ...]

    def may(self, action: str, repository: str) -> bool:
        """Say whether a grant allows it."""
        return any(grant.allows(action, repository) for grant in self.grants)


class Access:
    """Turns a request's headers into an identity."""

    def __init__(self, users: Path | None, threads: Threads, *, anonymous_pull: bool = False) -> None:
        self._path = users
        self._stamp: tuple[int, int, int] | None = None
        self._users = Users(())
        self._threads = threads
        self._everybody = (Grant.parse("pull:*"),) if anonymous_pull else ()
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._running: dict[bytes, asyncio.Task[bool]] = {}
        if users is not None:
            Users.load(users)  # a file that cannot be read stops the start; later it lets nobody in
        self._refresh()

    @property
    def is_open(self) -> bool:
        """Whether somebody without credentials may pull."""
        return bool(self._everybody)

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Return who asks. Raises Refusal (401) for wrong credentials, and for none unless anybody may pull."""
        given = headers.get("authorization")
        if given is None:
            if self._everybody:
                return Identity("", self._everybody)
            raise refusal("credentials are required")
        name, password = _basic(given)
        self._refresh()
        user = self._users.find(name)
        if not await self._is_right(user or NOBODY, password) or user is None:
            raise refusal("wrong user or password")
        return Identity(user.name, user.grants + self._everybody)

    def known(self, name: str) -> User | None:
        """Return a user as the users file has it now; for a session that proved the password before."""
        self._refresh()
        return self._users.find(name)

    def granted(self, user: User | None = None) -> Identity:
        """Return what a user may, or what everybody may."""
        return Identity(user.name if user else "", (user.grants if user else ()) + self._everybody)

    async def _is_right(self, user: User, password: str) -> bool:
        secret = f"{user.name}\0{user.hash}\0{password}".encode()
        mark = hmac.digest(self._key, secret, hashlib.sha256)
        if self._known.get(mark, 0.0) > time.monotonic():
            return True
        if mark not in self._running:
            self._running[mark] = asyncio.create_task(self._check(mark, user, password))
        return await asyncio.shield(self._running[mark])

    async def _check(self, mark: bytes, user: User, password: str) -> bool:
        try:
            is_right = await self._threads.hash(user.has_password, password)
        finally:
            del self._running[mark]
        if is_right:
            self._known[mark] = time.monotonic() + REMEMBER_SECONDS
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return is_right

    def _refresh(self) -> None:
        """Read the users file again if it changed; a credential of a changed line is forgotten with its hash."""
        if self._path is None:
            return
        try:
            seen = self._path.stat()
        except OSError:
            self._users, self._stamp = Users(()), None  # nobody gets in while the file is away
            return
        stamp = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
        if stamp != self._stamp:
            self._users, self._stamp = Users.load(self._path), stamp


def refusal(message: str) -> Refusal:
    """Return the 401 that asks for credentials."""
    return Refusal("UNAUTHORIZED", message, headers=CHALLENGE)


def _basic(given: str) -> tuple[str, str]:
    scheme, _, encoded = given.partition(" ")
    if scheme.lower() != "basic":
        raise refusal("Basic credentials are expected")
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except ValueError as error:
        raise refusal("credentials are not in Basic form") from error
    return name, password
