"""`status`: what the site runs, and whether each registry of it answers. Nothing is changed.

A registry that cannot be asked is said to be unknown, and unknown is not well.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from bundles.trust import memory
from installer.hosts.ask import ask
from installer.hosts.ssh import Ssh
from installer.site.config import Declared
from installer.site.home import Home
from installer.site.journal import Journal
from installer.site.state import Installed, State
from installer.targets.baremetal import BareMetal
from installer.targets.base import Host
from registry.errors import HostError

READY = 200


@dataclass(frozen=True, slots=True)
class RegistryHealth:
    """How one host's registry is."""

    host: str
    address: str
    is_ready: bool
    seen: str
    error: HostError | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What the site runs, and how it is."""

    site: str
    home: str
    release: Installed | None
    evidence: datetime | None
    """The newest signed evidence the site has seen."""
    evidence_age: timedelta | None
    registries: tuple[RegistryHealth, ...]
    unfinished: str
    """The plan whose apply was begun and did not end, if there is one."""

    @property
    def is_well(self) -> bool:
        """Whether a release is there and every registry is ready."""
        return self.release is not None and all(one.is_ready for one in self.registries)


def status(declared: Declared, home: Home, *, now: datetime) -> Status:
    """Return the site's status. Raises SiteError if the home cannot be read."""
    state = State.load(home.state)
    trust = memory.load(home.trust)
    floor = trust.floor if trust and trust.accepted else None
    names = declared.site.registry_hosts if state.release else ()
    hosts = [host for host in BareMetal(declared).hosts() if host.name in names]
    return Status(
        site=declared.site.name,
        home=str(home.path),
        release=state.release,
        evidence=floor,
        evidence_age=now - floor if floor else None,
        registries=_healths(declared, home, hosts),
        unfinished=_unfinished(home),
    )


def _healths(declared: Declared, home: Home, hosts: Sequence[Host]) -> tuple[RegistryHealth, ...]:
    ssh, port = Ssh(home.known_hosts), declared.site.registry.port

    def health(host: Host) -> RegistryHealth:
        address = f"https://{host.address}:{port}"
        try:
            reply = ask(ssh, host, port=port, path="/readyz", ca=home.pki / "ca.pem")
        except HostError as error:
            return RegistryHealth(host.name, address, is_ready=False, seen=error.message, error=error)
        seen = "ready" if reply.status == READY else f"status {reply.status}: {reply.body[:200]}"
        return RegistryHealth(host.name, address, is_ready=reply.status == READY, seen=seen)

    with ThreadPoolExecutor(max_workers=max(1, min(16, len(hosts)))) as pool:
        return tuple(pool.map(health, hosts))


def _unfinished(home: Home) -> str:
    plan = ""
    for entry in Journal.open(home.journal).entries:
        if entry.event == "apply-begin":
            plan = entry.plan
        elif entry.event == "apply-end":
            plan = ""
    return plan
