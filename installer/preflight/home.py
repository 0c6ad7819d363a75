"""Preflights on the operator's own side: what the home holds, and this machine's clock.

>>> [one.id for one in look(home, declared.site, now=datetime.now(UTC))]
['trust.begun', 'time.floor', 'certificate.ca', 'certificate.hosts', 'home.space']
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from bundles.trust import memory
from bundles.trust.verify import TrustState
from installer.preflight.question import Finding, Result, mib
from installer.site.config import Site
from installer.site.home import Home

HERE = "here"
SOON, CA_SOON = timedelta(days=30), timedelta(days=365)
SPACE = 256 << 20
"""For journal, logs and the releases' metadata."""


def look(home: Home, site: Site, *, now: datetime) -> Sequence[Finding]:
    """Return what the home tells. Raises TrustError if its trust memory is damaged."""
    state = memory.load(home.trust)
    return (
        _trust_begun(state),
        _time_floor(state, now),
        _authority(home.pki / "ca.pem", now),
        _leaves(home.pki, site, now),
        _space(home.path),
    )


def _trust_begun(state: TrustState | None) -> Finding:
    mend = "" if state else "dryport site trust site.yaml --bundle BUNDLE --fingerprint sha256:..."
    seen = f"root {len(state.roots)} is the newest known" if state else "this site trusts no root yet"
    return Finding("trust.begun", HERE, Result.PASS if state else Result.WARN, seen, mend)


def _time_floor(state: TrustState | None, now: datetime) -> Finding:
    """No clock is believed that is behind signed evidence."""
    if state is None or now >= state.floor:
        return Finding("time.floor", HERE, Result.PASS, f"{now:%Y-%m-%d %H:%M} UTC")
    seen = f"this clock says {now:%Y-%m-%d %H:%M}, signed evidence is of {state.floor:%Y-%m-%d %H:%M} UTC"
    return Finding("time.floor", HERE, Result.FAIL, seen, "set this machine's clock; then check again")


def _authority(path: Path, now: datetime) -> Finding:
    mend = "begin a new home with a new CA before that day: what it signed ends with it"
    return _dated("certificate.ca", [path], now, CA_SOON, mend)


def _leaves(folder: Path, site: Site, now: datetime) -> Finding:
    """Apply renews a certificate below a third of its life; one that is nearly over was not applied for long."""
    files = [path for name in ("operator", *site.registry_hosts) if (path := folder / f"{name}.pem").exists()]
    if not files:
        return Finding("certificate.hosts", HERE, Result.PASS, "none signed yet")
    return _dated("certificate.hosts", files, now, SOON, "dryport plan, then apply: it renews them")


def _dated(identity: str, files: Sequence[Path], now: datetime, soon: timedelta, mend: str) -> Finding:
    try:
        ends = {path.name: x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc for path in files}
    except (OSError, ValueError) as error:
        return Finding(identity, HERE, Result.UNKNOWN, str(error), "dryport site init, or restore the home")
    first = min(ends, key=lambda name: ends[name])
    left = ends[first] - now
    result = Result.FAIL if left <= timedelta() else Result.WARN if left < soon else Result.PASS
    seen = f"{first} is valid until {ends[first]:%Y-%m-%d}, {left.days} day(s) more"
    return Finding(identity, HERE, result, seen, "" if result is Result.PASS else mend)


def _space(path: Path) -> Finding:
    about = os.statvfs(path)
    free = about.f_bavail * about.f_frsize
    good = free >= SPACE
    seen = f"{mib(free)} free for {path}, {mib(SPACE)} wanted"
    mend = "" if good else "make room there: a journal that cannot be written stops every step"
    return Finding("home.space", HERE, Result.PASS if good else Result.FAIL, seen, mend)
