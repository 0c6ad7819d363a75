"""What a registry can do, found before anything is sent, and remembered: a probe costs some dozens of requests.

What was found stands below the user's state folder for a month. Where nothing may be pushed to the scratch repository,
nothing is known, and copies go the careful way.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.client.capabilities import Capabilities
    from registry.client.transport import Transport

KEPT = timedelta(days=30)
SCRATCH = "dryport-probe"


def state_folder() -> Path:
    """Return where journals and findings lie: below the user's state folder (XDG)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "dryport/mirror"


def scratch(base: str) -> str:
    """Return the repository in which a probe tries things."""
    return f"{base}/{SCRATCH}" if base else f"{SCRATCH}/scratch"


def found(transport: Transport, base: str) -> Capabilities | None:
    """Return what is known of a registry below a base path, by a probe now if need be; None if it let nothing in."""
    from registry.client.probe import probe  # noqa: PLC0415 - `--help` need not wait for it
    from registry.errors import RemoteError  # noqa: PLC0415
    from registry.store import durable  # noqa: PLC0415

    now = datetime.now(UTC)
    name = hashlib.sha256(f"{transport.origin}/{base}".encode()).hexdigest()[:16]
    path = state_folder() / f"{name}.probe.json"
    if known := _read(path, now):
        return known
    try:
        capabilities = probe(transport, scratch(base), now)
    except RemoteError as error:
        if error.reference in ("registry-unreachable", "registry-certificate", "token-realm-elsewhere"):
            raise
        return None
    if capabilities.can("writable") is not True:
        return None
    durable.make_folder(path.parent, 0o700)
    durable.replace(path, json.dumps(capabilities.as_json()).encode(), 0o600)
    return capabilities


def _read(path: Path, now: datetime) -> Capabilities | None:
    from registry.client.capabilities import Capabilities  # noqa: PLC0415 - as above

    try:
        known = Capabilities.from_json(json.loads(path.read_bytes()))
        date = datetime.fromisoformat(known.date)
    except (OSError, ValueError):
        return None
    return known if now - KEPT < date <= now else None
