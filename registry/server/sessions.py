"""Sessions of people at the pages: a cookie that says who logged in and until when, sealed with a key of this registry.

* Nothing is stored: any process that has the key knows any session, and a restart ends none.
* The seal covers what changes with the password, so that a changed or removed user is out at once.
* The pages alone take the cookie: it opens neither the registry's API nor the administration's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from contextlib import suppress

from registry.server.accounts import Account
from registry.server.settings import Settings
from registry.store import durable

COOKIE = "dryport-session"
KEY = "session.key"
"""The key's place in the access folder."""
SECONDS = 8 * 3600
_KEY_BYTES = 32
_MOST_BYTES = 512


class Sessions:
    """Makes and reads the cookie's value."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"dryport pages: session", hashlib.sha256)

    def begin(self, user: Account, now: float) -> str:
        """Return the value that lets `user` in for some hours."""
        end = int(now) + SECONDS
        return f"{_spell(user.name.encode())}.{end}.{_spell(self._seal(user, end))}"

    def user(
        self,
        value: str,
        now: float,
        find: Callable[[str], Account | None],
        void_before: Callable[[str], int] = lambda _: 0,
    ) -> Account | None:
        """Return whose session this is; None if it is over or void, or was never one."""
        name, _, rest = value.partition(".")
        end, _, seal = rest.partition(".")
        if len(value) > _MOST_BYTES or not end.isascii() or not end.isdigit() or int(end) < now:
            return None
        try:
            user = find(_read(name).decode())
            is_right = user is not None and hmac.compare_digest(_read(seal), self._seal(user, int(end)))
        except ValueError:
            return None
        if user is None or not is_right or int(end) - SECONDS < void_before(user.name):
            return None
        return user

    def _seal(self, user: Account, end: int) -> bytes:
        return hmac.digest(self._key, f"{user.name}\0{end}\0{user.mark}".encode(), hashlib.sha256)


def session_key(settings: Settings) -> bytes:
    """Return the key that all processes of one registry share: from its access folder, else from its secrets."""
    if settings.access is not None:
        path = settings.access / KEY
        with suppress(OSError):  # it is there already, or nothing can be written: then another secret is as good
            durable.create(path, secrets.token_bytes(_KEY_BYTES))
        if path.is_file() and len(key := path.read_bytes()) == _KEY_BYTES:
            return key
    for secret in (settings.key, settings.users):
        if secret is not None:
            return hashlib.sha256(secret.read_bytes()).digest()
    return secrets.token_bytes(_KEY_BYTES)  # nobody can log in


def _spell(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _read(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
