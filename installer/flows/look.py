"""Look at a site's hosts: what they tell, and whether an apply could go well. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from installer.hosts.facts import Facts, gather, gather_all
from installer.hosts.ssh import Ssh
from installer.preflight.home import look
from installer.preflight.question import peer
from installer.preflight.survey import Survey, survey
from installer.site.config import Declared
from installer.site.home import Home
from installer.targets.baremetal import BareMetal
from registry.errors import HostError, SiteError


def observe(declared: Declared, home: Home) -> Mapping[str, Facts | HostError]:
    """Return what every host tells, or why it tells nothing. Raises SiteError if we have no key for one."""
    site, ssh, hosts = declared.site, Ssh(home.known_hosts), BareMetal(declared).hosts()
    if lost := [host for host in hosts if not host.key.is_file()]:
        raise SiteError(
            "ssh-key-missing",
            f"there is no SSH private key for: {', '.join(host.name for host in lost)}",
            where=", ".join(dict.fromkeys(str(host.key) for host in lost)),
            hint="name the right file as `key` in site.yaml",
        )
    ports = (site.registry.port, site.policy.forward_port)
    peers = [peer(host, site.registry.port) for host in hosts if host.name in site.registry_hosts]
    return gather_all(hosts, lambda host: gather(ssh, host, ports, peers))


def check(declared: Declared, home: Home, *, platforms: tuple[str, ...], bundle_bytes: int | None) -> Survey:
    """Return the survey of all hosts as they are now."""
    facts = observe(declared, home)
    return judge(declared, home, facts, platforms=platforms, bundle_bytes=bundle_bytes)


def judge(
    declared: Declared,
    home: Home,
    facts: Mapping[str, Facts | HostError],
    *,
    platforms: tuple[str, ...],
    bundle_bytes: int | None,
) -> Survey:
    """Return the survey of what the hosts told, and of what the home holds."""
    hosts = BareMetal(declared).hosts()
    own = look(home, declared.site, now=datetime.now(UTC))
    return survey(declared.site, hosts, facts, platforms=platforms, bundle_bytes=bundle_bytes, own=own)
