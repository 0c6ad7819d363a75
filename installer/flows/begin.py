"""`site init` and `site check`: make a site's home, and ask its hosts whether an apply could go well.

Init makes what is missing and keeps what is there: run twice, the second run changes nothing.
"""

from __future__ import annotations

import secrets as entropy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from installer.flows.apply import PLAN_KEY
from installer.flows.variables import Passwords
from installer.hosts.facts import Facts, gather, gather_all
from installer.hosts.ssh import Ssh
from installer.preflight.survey import Survey, survey
from installer.site import aptsign
from installer.site.config import Declared
from installer.site.home import Home
from installer.site.journal import Journal
from installer.site.pki import LOOPBACK, Authority
from installer.targets.baremetal import BareMetal
from registry.errors import HostError


@dataclass(frozen=True, slots=True)
class Begun:
    """A home that is ready."""

    home: Home
    changed: bool


def begin(declared: Declared, path: Path) -> Begun:
    """Return the site's home with everything that is made on the site: CA, secrets, apt key. Raises SiteError."""
    now = datetime.now(UTC)
    home, is_new = Home.make(path, declared)
    with home.locked():
        before = _made(home)
        authority = Authority.ensure(home.pki, declared.site, now=now)
        authority.leaf("operator", [LOOPBACK], now=now)
        aptsign.ensure_key(home.apt_key, home.apt_certificate, f"dryport site {declared.site.name}")
        home.secrets.ensure(PLAN_KEY, lambda: entropy.token_hex(32))
        Passwords.ensure(home.secrets)
        changed = is_new or _made(home) != before
        if changed:
            Journal.open(home.journal).append("site-init", site=home.identity.name, id=home.identity.id)
    return Begun(home, changed)


def observe(declared: Declared, home: Home) -> Mapping[str, Facts | HostError]:
    """Return what every host tells, or why it tells nothing."""
    site, ssh = declared.site, Ssh(home.known_hosts)
    ports = (site.registry.port, site.policy.forward_port)
    return gather_all(BareMetal(declared).hosts(), lambda host: gather(ssh, host, ports))


def check(declared: Declared, home: Home, *, platforms: tuple[str, ...], bundle_bytes: int | None) -> Survey:
    """Return the survey of all hosts as they are now."""
    facts = observe(declared, home)
    hosts = BareMetal(declared).hosts()
    return survey(declared.site, hosts, facts, platforms=platforms, bundle_bytes=bundle_bytes)


def _made(home: Home) -> frozenset[tuple[str, int]]:
    kept = (path for folder in ("pki", "secrets", ".") for path in (home.path / folder).iterdir() if path.is_file())
    return frozenset((str(path), path.stat().st_mtime_ns) for path in kept if not path.name.startswith("lock"))
