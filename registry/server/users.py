"""Who may do what: one line per user, `name:hash:grant grant ...`; what no grant allows is denied.

A grant is `actions:glob`: actions are `pull`, `push`, `delete` (none implies another), separated by commas; in the glob
`*` stands for any run of characters, slashes too. Hashes are PBKDF2-HMAC-SHA256, slow on purpose.

>>> line = user_line("deploy", password, ["pull:*", "push,delete:team/*"])
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import SiteError, UsageError

ACTIONS = frozenset({"pull", "push", "delete"})
ITERATIONS = 600_000
LEAST_ITERATIONS, MOST_ITERATIONS = 100_000, 10_000_000
SALT_BYTES = 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_GLOB = re.compile(r"[a-z0-9._/*-]{1,255}")
_HASH = re.compile(r"pbkdf2-sha256\$([0-9]{1,8})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)")


@dataclass(frozen=True, slots=True)
class Grant:
    """Actions on the repositories that a glob matches."""

    actions: frozenset[str]
    glob: str
    _pattern: re.Pattern[str] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Grant:
        """Return the grant that `pull,push:team/*` spells. Raises ValueError."""
        names, _, glob = text.partition(":")
        actions = frozenset(names.split(","))
        if not actions <= ACTIONS or not _GLOB.fullmatch(glob):
            raise ValueError(f"not a grant: {text[:100]!r}; write for example pull:* or pull,push:team/*")
        runs = re.sub(r"\*+", "*", glob).split("*")
        return cls(actions, glob, re.compile(".*".join(map(re.escape, runs))))

    def allows(self, action: str, repository: str) -> bool:
        """Say whether this grant allows it."""
        return action in self.actions and self._pattern.fullmatch(repository) is not None

    def __str__(self) -> str:
        return f"{','.join(sorted(self.actions))}:{self.glob}"


@dataclass(frozen=True, slots=True)
class User:
    """A name, the hash of its password, and its grants."""

    name: str
    hash: str = field(repr=False)
    grants: tuple[Grant, ...]

    def has_password(self, password: str) -> bool:
        """Say whether this is the user's password; takes a while."""
        return _is_password(self.hash, password)


NOBODY = User("", f"pbkdf2-sha256${ITERATIONS}${base64.b64encode(bytes(16)).decode()}$AA==", ())
"""Checked in place of an unknown user, so that the time taken does not tell who exists."""


class Users:
    """The users of one file."""

    def __init__(self, users: Sequence[User]) -> None:
        self._users = {user.name: user for user in users}

    @classmethod
    def parse(cls, text: str, where: str = "users") -> Users:
        """Return the users that the lines spell; empty lines and `#` comments are left out. Raises SiteError."""
        users = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                try:
                    users.append(_user(line))
                except ValueError as error:
                    raise SiteError("users-invalid", str(error), where=f"{where} line {number}") from error
        return cls(users)

    @classmethod
    def load(cls, path: Path) -> Users:
        """Read a users file. Raises SiteError."""
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SiteError(
                "users-unreadable",
                "the users file cannot be read",
                where=str(path),
                seen=str(error),
                hint=f"dryport registry user add NAME --users {path} --password-file FILE --grant 'pull:*'",
            ) from error
        return cls.parse(text, str(path))

    def find(self, name: str) -> User | None:
        """Return the user of this name."""
        return self._users.get(name)


def user_line(name: str, password: str, grants: Sequence[str], *, iterations: int = ITERATIONS) -> str:
    """Return the line (without line end) that lets `name` in. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError("user-name-invalid", "a user's name is 1 to 64 letters, digits or . _ @ -", seen=name[:100])
    if not password:
        raise UsageError("password-empty", "a user needs a password", where=name)
    try:
        spelled = " ".join(str(Grant.parse(grant)) for grant in grants)
    except ValueError as error:
        raise UsageError("grant-invalid", str(error), where=name) from error
    salt = secrets.token_bytes(SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    encoded = "$".join(base64.b64encode(part).decode() for part in (salt, key))
    return f"{name}:pbkdf2-sha256${iterations}${encoded}:{spelled}"


def _user(line: str) -> User:
    name, _, rest = line.partition(":")
    hashed, colon, grants = rest.partition(":")
    if not _NAME.fullmatch(name) or not _HASH.fullmatch(hashed) or not colon:
        raise ValueError("a line is name:pbkdf2-sha256$iterations$salt$key:grants")
    if not LEAST_ITERATIONS <= int(hashed.split("$")[1]) <= MOST_ITERATIONS:
        raise ValueError("the number of iterations is out of bounds")
    return User(name, hashed, tuple(Grant.parse(grant) for grant in grants.split()))


def _is_password(hashed: str, password: str) -> bool:
    _, iterations, salt, key = hashed.split("$")
    seen = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    return hmac.compare_digest(seen, base64.b64decode(key))
