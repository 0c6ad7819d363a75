"""What a preflight is asked, and what it answers.

A check is a function of what hosts told: it returns what was seen and how to mend it. A fact that is missing gives
`unknown`, and unknown is not success. Ids never change: manuals and tickets point at them.

>>> judged("cpu.count", question, good=None, seen="").result
<Result.UNKNOWN: 'unknown'>
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from installer.hosts.facts import Facts
from installer.targets.base import Host


class Result(StrEnum):
    """Best first."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"

    @property
    def is_good(self) -> bool:
        """Whether one may go on."""
        return self in (Result.PASS, Result.WARN)


@dataclass(frozen=True, slots=True)
class Question:
    """What a check looks at: one host, and what is to become of it."""

    host: Host
    facts: Facts
    platforms: tuple[str, ...]
    registry_port: int | None
    """None on a host that runs no registry."""
    forward_port: int
    bundle_bytes: int | None
    clock_skew_seconds: int
    registries: Mapping[str, str] = field(default_factory=dict)
    """Where the site's registries answer, or will: `ADDRESS/PORT` by host."""

    @property
    def needed_bytes(self) -> int:
        """What must be free below /var/lib: the content, and room beside it for packages, logs and the database."""
        content = self.bundle_bytes if self.bundle_bytes is not None else BARE_BYTES
        return content + RESERVE_BYTES if self.registry_port else RESERVE_BYTES


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found on one host, or on the site as a whole."""

    id: str
    host: str
    result: Result
    seen: str
    mend: str = ""


BARE_BYTES = 4 << 30
"""Wanted free space while no bundle is named."""
RESERVE_BYTES = 1 << 30


def peer(host: Host, port: int) -> str:
    """Spell a port on a host as the look at other hosts does."""
    return f"{host.address}/{port}"


def judged(
    identity: str,
    question: Question,
    good: bool | None,
    seen: str,
    mend: str = "",
    *,
    otherwise: Result = Result.FAIL,
) -> Finding:
    """Return the finding for an answer: yes, no (which is `otherwise`), or None where the host did not tell."""
    if good is None:
        return Finding(identity, question.host.name, Result.UNKNOWN, "the host did not tell", mend)
    result = Result.PASS if good else otherwise
    return Finding(identity, question.host.name, result, seen, "" if good else mend)


def mib(count: int | None) -> str:
    """Spell a number of bytes for a person."""
    return "unknown" if count is None else f"{count / (1 << 20):.0f} MiB"
