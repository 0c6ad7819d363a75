"""Robots: users that are programs, with a secret made by chance, grants of their own, and an end.

One line each, canonical JSON; the file holds the secret's SHA-256 (a random secret needs no slow hash, so a robot's
request costs nothing). A robot logs in as `robot@NAME`. What is revoked or over is as if it had never been.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from registry.errors import SiteError, UsageError
from registry.oci import strictjson
from registry.server.users import GRANT_FORM, ROBOT, Grant

SECRET = "dpr_"  # noqa: S105 - a prefix, so that scanners of logs and sources know such a secret when they see one
MOST_DAYS = 3660
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,50}")
_HEX = re.compile(r"[0-9a-f]{64}")
_BLANK = "0" * 64


@dataclass(frozen=True, slots=True)
class Robot:
    """One robot as its line has it."""

    name: str
    """With `robot@`."""
    hash: str = field(repr=False)
    grants: tuple[Grant, ...]
    created: datetime
    expires: datetime

    @property
    def mark(self) -> str:
        """What changes with the secret: tokens given out before die with it."""
        return hashlib.sha256(f"{self.name}\0{self.hash}".encode()).hexdigest()[:32]

    def has_password(self, secret: str) -> bool:
        """Say whether this is the robot's secret; takes no while."""
        return hmac.compare_digest(hashlib.sha256(secret.encode()).hexdigest(), self.hash)

    def is_over(self, now: float) -> bool:
        """Say whether its time is up."""
        return now >= self.expires.timestamp()

    def as_line(self) -> bytes:
        """Return its line, with the line's end."""
        return strictjson.canonical(
            {
                "name": self.name,
                "hash": self.hash,
                "grants": [str(grant) for grant in self.grants],
                "created": self.created.isoformat(),
                "expires": self.expires.isoformat(),
            }
        )


NOROBOT = Robot("", _BLANK, (), datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(0, UTC))
"""Checked in place of an unknown robot."""


class Robots:
    """The robots of one file."""

    def __init__(self, robots: Sequence[Robot] = ()) -> None:
        self._robots = {robot.name: robot for robot in robots}

    @classmethod
    def load(cls, path: Path) -> Robots:
        """Read the file; none is none. Raises SiteError."""
        try:
            return cls([_robot(line) for line in path.read_bytes().splitlines()])
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError) as error:
            raise SiteError(
                "robots-unreadable",
                "the robots cannot be read",
                where=str(path),
                seen=str(error),
                hint="put a copy of the file back, or remove it and create the robots again",
            ) from error

    def find(self, name: str) -> Robot | None:
        """Return the robot of this name (with `robot@`)."""
        return self._robots.get(name)

    def all(self) -> Sequence[Robot]:
        """Return the robots by name."""
        return [self._robots[name] for name in sorted(self._robots)]

    def with_robot(self, robot: Robot) -> Robots:
        """Return these and one more, or a new one in place of the one of its name."""
        return Robots([*(self._robots | {robot.name: robot}).values()])

    def without(self, name: str) -> Robots:
        """Return these without one."""
        return Robots([robot for robot in self._robots.values() if robot.name != name])

    def as_file(self) -> bytes:
        """Return the file."""
        return b"".join(robot.as_line() for robot in self.all())


def new_robot(name: str, grants: Sequence[str], days: int, now: datetime) -> tuple[Robot, str]:
    """Return a robot and its secret, which nobody can read again. Raises UsageError."""
    short = name.removeprefix(ROBOT)
    if not _NAME.fullmatch(short):
        raise UsageError(
            "robot-name-invalid",
            "a robot's name is 1 to 51 letters, digits or . _ -",
            seen=name[:100],
            hint="a letter or digit comes first, for example: ci-builder",
        )
    if not 0 < days <= MOST_DAYS:
        raise UsageError(
            "robot-days-invalid",
            f"a robot lives 1 to {MOST_DAYS} days",
            seen=str(days),
            hint="give fewer: --days 365; a new robot takes its place in time",
        )
    try:
        parsed = tuple(map(Grant.parse, grants))
    except ValueError as error:
        raise UsageError("grant-invalid", str(error), where=name, hint=GRANT_FORM) from error
    if any("admin" in grant.actions for grant in parsed):
        raise UsageError(
            "robot-may-not", "a robot administers nothing", where=name, hint="grant pull, create, push, delete, metrics"
        )
    secret = SECRET + secrets.token_urlsafe(32)
    begun = now.astimezone(UTC).replace(microsecond=0)
    robot = Robot(ROBOT + short, _BLANK, parsed, begun, begun + timedelta(days=days))
    return replace(robot, hash=hashlib.sha256(secret.encode()).hexdigest()), secret


def _robot(line: bytes) -> Robot:
    match strictjson.loads(line, limit=64 << 10):
        case {
            "name": str(name),
            "hash": str(hashed),
            "grants": list(grants),
            "created": str(created),
            "expires": str(expires),
        } if name.startswith(ROBOT) and _HEX.fullmatch(hashed):
            times = (datetime.fromisoformat(created), datetime.fromisoformat(expires))
            if any(time.tzinfo is None for time in times):
                raise ValueError("a time without its zone")
            return Robot(name, hashed, tuple(Grant.parse(str(grant)) for grant in grants), *times)
    raise ValueError("not a robot's line")
