"""How a store is: what of it is waste, which uploads are open, who nears a quota, and when it was last kept up.

>>> condition(store).garbage.freeable
73400320
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import func, or_, select

from registry.store.gc import GRACE_SECONDS, collect_alone
from registry.store.policy import Policy
from registry.store.runs import COLLECTION, SCRUB, Run, last
from registry.store.schema import contents, holdings, manifests, repositories, uploads
from registry.store.store import Store
from registry.store.uploads import IDLE_SECONDS


@dataclass(frozen=True, slots=True)
class Garbage:
    """What nothing names, in bytes: at each of its three stations."""

    markable: int
    """Found by the next collection, and not shown from then on."""
    waiting: int
    """Marked; a push that names it brings it back until its grace is over."""
    freeable: int
    """Freed by the next collection."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """Uploads that have no end yet; what expired ends with the next collection."""

    open: int
    bytes: int
    expired: int
    expired_bytes: int


@dataclass(frozen=True, slots=True)
class Use:
    """What one repository shows, in bytes, and what it may; what several show counts in each."""

    used: int
    quota: int | None


@dataclass(frozen=True, slots=True)
class Condition:
    """All of it."""

    now: float
    """By the store's clock, in seconds."""
    garbage: Garbage
    uploads: Uploads
    uses: Mapping[str, Use]
    """By repository."""
    policy: Policy
    disk: int
    disk_free: int
    collected: Run | None
    scrubbed: Run | None

    def as_json(self) -> dict[str, object]:
        """Return it as documented for `--json`, without the repositories' use."""
        return {
            "garbage": asdict(self.garbage),
            "uploads": {
                "open": self.uploads.open,
                "bytes": self.uploads.bytes,
                "expired": self.uploads.expired,
                "expiredBytes": self.uploads.expired_bytes,
            },
            "policy": self.policy.model_dump(mode="json", exclude_defaults=True),
            "disk": {"bytes": self.disk, "free": self.disk_free},
            "collected": self._run(self.collected),
            "scrubbed": self._run(self.scrubbed),
        }

    def _run(self, run: Run | None) -> dict[str, object] | None:
        if run is None:
            return None
        ended = datetime.fromtimestamp(run.ended, UTC).isoformat(timespec="seconds")
        return {"ended": ended, "ageSeconds": round(self.now - run.ended), **run.result}


def condition(store: Store) -> Condition:
    """Return how a store is. Raises SiteError if its policy is none."""
    outlook, policy, disk = collect_alone(store, dry_run=True), store.policy, shutil.disk_usage(store.folder)
    with store.database.reading() as connection:
        named = connection.execute(select(repositories.c.name, repositories.c.used)).all()
    return Condition(
        now=store.clock(),
        garbage=Garbage(outlook.marked_bytes, _waiting(store), outlook.freed),
        uploads=_uploads(store),
        uses={row.name: Use(row.used, policy.for_repository(row.name).quota_bytes) for row in named},
        policy=policy,
        disk=disk.total,
        disk_free=disk.free,
        collected=last(store, COLLECTION),
        scrubbed=last(store, SCRUB),
    )


def _waiting(store: Store) -> int:
    """Return the bytes that no repository shows any more and some could still show again."""
    wanted = select(func.coalesce(func.sum(contents.c.size), 0))
    over = store.clock() - GRACE_SECONDS
    in_grace = []
    for table in (holdings, manifests):
        here = select(table.c.digest).where(table.c.digest == contents.c.digest)
        wanted = wanted.where(~here.where(table.c.dead.is_(None)).exists())
        in_grace.append(here.where(table.c.dead > over).exists())
    with store.database.reading() as connection:
        return int(connection.execute(wanted.where(or_(*in_grace))).scalar_one())


def _uploads(store: Store) -> Uploads:
    wanted = select(func.count(), func.coalesce(func.sum(uploads.c.size), 0))
    old = wanted.where(uploads.c.touched < store.clock() - IDLE_SECONDS)
    with store.database.reading() as connection:
        (number, size), (expired, expired_size) = (connection.execute(one).one() for one in (wanted, old))
    return Uploads(number, size, expired, expired_size)
