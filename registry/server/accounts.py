"""The files that say who exists, read again whenever they change: users, robots, and whose tokens are void.

Users are one file that people keep. Robots, the tokens' key and the voided names lie in the access folder, which the
registry and its command keep; the audit log lies there too. All of them are replaced whole, never edited.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from registry.errors import SiteError
from registry.oci import strictjson
from registry.server.robots import NOROBOT, Robot, Robots
from registry.server.tokens import Issuer, new_key
from registry.server.users import ROBOT, Grant, User, Users
from registry.store import durable

YOUNG_NS = 100_000_000
"""How long after its change a file's time does not tell a second change: clocks of filesystems are coarse."""
ROBOTS, VOID, KEY = "robots", "void", "token.key"
Stamp = tuple[int, int, int] | None
_VOID_LOST = "restore it from a backup of the store; or remove it and token.key with it, and all log in once more"


class Account(Protocol):
    """Whoever may log in."""

    @property
    def name(self) -> str:
        """What this one is called, in logs too."""
        ...

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What this one may."""
        ...

    @property
    def mark(self) -> str:
        """What changes with the credentials."""
        ...

    def has_password(self, password: str) -> bool:
        """Say whether this is the password."""
        ...


class Accounts:
    """Everybody who is known, as the files have them now."""

    def __init__(self, users: Path | None, folder: Path | None, service: str) -> None:
        self._users_file, self._folder, self._service = users, folder, service
        self._watched = tuple(str(path) for path in (users, folder) if path)  # what is replaced in a folder changes it
        self.users, self._robots = Users(()), Robots()
        self._void: Mapping[str, int] = {}
        self._stamps: tuple[Stamp, ...] | None = None
        self._content: tuple[bytes | None, ...] = ()
        self._issuer: tuple[Stamp, Issuer] | None = None
        self.generation = 0
        """Grows when anything changed: what was concluded from the files before is to be forgotten."""
        if users is not None:
            Users.load(users)  # a file that cannot be read stops the start; later it lets nobody in
        if folder is not None:
            prepare(folder)
        self.refresh()

    def look_again(self) -> None:
        """Let the next refresh read everything, whatever the files' times say."""
        self._issuer = None
        if self._stamps is not None:  # a file that was damaged is read again by every refresh
            self._stamps = ()

    def refresh(self) -> None:
        """Read again what changed. Raises SiteError for a file that is damaged."""
        stamps = tuple(map(_stamp, self._watched))
        if stamps == self._stamps:
            return
        # A second change in the same tick of the filesystem's clock looks like the first: what is young is read again.
        is_young = any(stamp and time.time_ns() - stamp[0] < YOUNG_NS for stamp in stamps)
        content = self._read()
        if content == self._content and self._stamps is not None:
            self._stamps = () if is_young else stamps
            return
        self.generation += 1
        self.users, self._robots, self._void, self._stamps = Users(()), Robots(), {}, None
        # Nobody gets in while the users file is away.
        found = Users.load(self._users_file) if self._users_file and stamps[0] else Users(())
        if self._folder:
            self._robots, self._void = Robots.load(self._folder / ROBOTS), read_void(self._folder / VOID)
        self.users, self._content, self._stamps = found, content, () if is_young else stamps

    def _read(self) -> tuple[bytes | None, ...]:
        folder = self._folder
        files = (self._users_file, *(folder / name if folder else None for name in (ROBOTS, VOID, KEY)))
        return tuple(_content(file) if file else None for file in files)

    def find(self, name: str, now: float) -> Account | None:
        """Return who may log in by this name and a password or secret."""
        if not name.startswith(ROBOT):
            return self.users.find(name)
        robot = self._robots.find(name)
        return robot if robot and not robot.is_over(now) else None

    def named(self, name: str, now: float) -> Account | None:
        """Return who has this name, however known."""
        return self.find(name, now) or self.users.named(name)

    def everyone(self) -> tuple[Sequence[User], Sequence[Robot]]:
        """Return all users and all robots."""
        return self.users.all(), self._robots.all()

    def nobody(self, name: str) -> Account:
        """Return whom to check in place of somebody unknown."""
        return NOROBOT if name.startswith(ROBOT) else self.users.nobody(name)

    def is_robot(self, account: Account) -> bool:
        """Say whether checking this account's secret is quick."""
        return isinstance(account, Robot)

    def seconds_left(self, account: Account, now: float) -> float:
        """Return how long this account lasts."""
        return account.expires.timestamp() - now if isinstance(account, Robot) else math.inf

    def void_before(self, name: str) -> int:
        """Return the second before which this one's tokens were given out in vain."""
        return self._void.get(name, 0)

    def issuer(self) -> Issuer | None:
        """Return who writes and reads tokens; none without an access folder. Raises SiteError."""
        if self._folder is None:
            return None
        path = self._folder / KEY
        stamp = _stamp(path)
        if self._issuer is None or self._issuer[0] != stamp:
            self._issuer = (stamp, read_issuer(path, self._service))
        return self._issuer[1]


def prepare(folder: Path) -> None:
    """Make the access folder and the tokens' key, if they are not there. Raises SiteError."""
    try:
        durable.make_folder(folder, 0o700)
        durable.sweep(folder)
        with suppress(FileExistsError):  # it was there, or another worker was quicker
            durable.create(folder / KEY, new_key())
    except OSError as error:
        raise SiteError(
            "access-folder-unusable",
            "the folder of tokens and audit cannot be used",
            where=str(folder),
            seen=str(error),
            hint="give a folder that this user may write: access: DIR",
        ) from error


def read_issuer(path: Path, service: str) -> Issuer:
    """Return the issuer whose key lies in a file. Raises SiteError."""
    try:
        return Issuer.from_pem(path.read_bytes(), service)
    except (OSError, ValueError, TypeError) as error:
        raise SiteError(
            "token-key-unusable",
            "the tokens' key cannot be used",
            where=str(path),
            seen=str(error)[:200],
            hint="remove it and start the registry again; who is logged in logs in once more",
        ) from error


def read_void(path: Path) -> dict[str, int]:
    """Return whose tokens are void, and since when. Raises SiteError."""
    try:
        value = strictjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SiteError(
            "void-unreadable", "the voided names cannot be read", where=str(path), seen=str(error), hint=_VOID_LOST
        ) from error
    if not isinstance(value, dict) or not all(type(second) is int for second in value.values()):
        raise SiteError("void-unreadable", "the voided names are names with seconds", where=str(path), hint=_VOID_LOST)
    return {str(name): int(second) for name, second in value.items()}


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _stamp(path: str | Path) -> Stamp:
    try:
        seen = os.stat(path)  # noqa: PTH116 - once for every request
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_ino, seen.st_size)
