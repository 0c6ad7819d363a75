"""`site init`: make a site's home. What is missing is made, what is there stays: run twice, nothing changes."""

from __future__ import annotations

import secrets as entropy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from installer.flows.plan import PLAN_KEY
from installer.flows.variables import Passwords
from installer.site import aptsign
from installer.site.config import Declared
from installer.site.home import Home
from installer.site.journal import Journal
from installer.site.pki import LOOPBACK, Authority


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
        aptsign.ensure_key(home.apt_key, home.apt_certificate, aptsign.owner(declared.site.name))
        home.secrets.ensure(PLAN_KEY, lambda: entropy.token_hex(32))
        Passwords.ensure(home.secrets)
        changed = is_new or _made(home) != before
        if changed:
            Journal.open(home.journal).append("site-init", site=home.identity.name, id=home.identity.id)
    return Begun(home, changed)


def _made(home: Home) -> frozenset[tuple[str, int]]:
    kept = (path for folder in ("pki", "secrets", ".") for path in (home.path / folder).iterdir() if path.is_file())
    return frozenset((str(path), path.stat().st_mtime_ns) for path in kept if not path.name.startswith("lock"))
