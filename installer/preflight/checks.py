"""The preflights: one question each about one host, answered from its facts alone.

Every function returns what was seen and how to mend it. A fact that is missing gives `unknown`, and unknown is not
success. The ids never change: manuals and tickets point at them.

>>> os_supported(question).result
<Result.PASS: 'pass'>
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from installer.hosts.facts import Facts
from installer.targets.base import Host

ARCHITECTURES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
SUPPORTED = {"debian": ("12",)}
BARE_BYTES = 4 << 30
"""Wanted free space while no bundle is named."""
RESERVE_BYTES = 1 << 30
"""What must stay free beside the content: unpacked packages, logs, the database."""


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
    """What a check looks at."""

    host: Host
    facts: Facts
    platforms: tuple[str, ...]
    registry_port: int | None
    """None on a host that runs no registry."""
    forward_port: int
    bundle_bytes: int | None
    clock_skew_seconds: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found on one host."""

    id: str
    host: str
    result: Result
    seen: str
    mend: str = ""


def os_supported(question: Question) -> Finding:
    """Debian 12 is what the carried packages fit."""
    facts = question.facts
    seen = f"{facts.os_id} {facts.os_version}"
    known = facts.os_id is not None and facts.os_version is not None
    good = known and facts.os_version in SUPPORTED.get(facts.os_id or "", ())
    return _finding("os.supported", question, good if known else None, seen, "install Debian 12 on the host")


def cpu_architecture(question: Question) -> Finding:
    """The bundle's platforms must hold the host's."""
    seen = question.facts.architecture
    wanted = [ARCHITECTURES.get(platform, platform) for platform in question.platforms]
    mend = f"the bundle is for {', '.join(question.platforms)}; bring one for this host"
    return _finding("cpu.architecture", question, seen in wanted if seen else None, seen or "", mend)


def systemd_running(question: Question) -> Finding:
    """Services are systemd units."""
    seen = question.facts.init
    mend = "boot the host with systemd as its first process"
    return _finding("systemd.running", question, seen == "systemd" if seen else None, f"process 1 is {seen}", mend)


def privilege_root(question: Question) -> Finding:
    """Steps act as root: by login, or by sudo without a password."""
    seen = question.facts.privilege
    mend = f"log in as root, or let {question.host.user} use sudo without a password"
    return _finding("privilege.root", question, seen in ("root", "sudo") if seen else None, seen or "", mend)


def disk_space(question: Question) -> Finding:
    """The content must fit, and something must be left."""
    free = question.facts.free.get("/var/lib")
    content = question.bundle_bytes if question.bundle_bytes is not None else BARE_BYTES
    needed = content + RESERVE_BYTES if question.registry_port else RESERVE_BYTES
    seen = f"{_mib(free)} free below /var/lib, {_mib(needed)} wanted"
    mend = "make room below /var/lib, or mount a larger disk there"
    return _finding("disk.space", question, free >= needed if free is not None else None, seen, mend)


def time_skew(question: Question) -> Finding:
    """Certificates and signatures are dated: clocks must agree."""
    skew = question.facts.skew
    good = abs(skew) <= question.clock_skew_seconds if skew is not None else None
    seen = f"{skew:+.0f} s against this machine, at most {question.clock_skew_seconds} s" if skew is not None else ""
    return _finding("time.skew", question, good, seen, "set the host's clock, and let NTP keep it")


def port_free(question: Question) -> Finding:
    """The registry's port must be free, unless our own registry holds it; so must the forward's."""
    facts, wanted = question.facts, [question.forward_port]
    if question.registry_port is not None and facts.registry != "active":
        wanted.append(question.registry_port)
    unknown = [port for port in wanted if port not in facts.ports]
    taken = [port for port in wanted if facts.ports.get(port) is False]
    good = None if unknown else not taken
    seen = f"taken: {', '.join(map(str, taken))}" if taken else f"free: {', '.join(map(str, wanted))}"
    mend = "stop what listens there, or change registry.port or policy.forward_port in site.yaml"
    return _finding("port.free", question, good, seen, mend)


CHECKS: tuple[Callable[[Question], Finding], ...] = (
    os_supported,
    cpu_architecture,
    systemd_running,
    privilege_root,
    disk_space,
    time_skew,
    port_free,
)


def _finding(identity: str, question: Question, good: bool | None, seen: str, mend: str) -> Finding:
    if good is None:
        return Finding(identity, question.host.name, Result.UNKNOWN, "the host did not tell", mend)
    result = Result.PASS if good else Result.FAIL
    return Finding(identity, question.host.name, result, seen, "" if good else mend)


def _mib(count: int | None) -> str:
    return "unknown" if count is None else f"{count / (1 << 20):.0f} MiB"
