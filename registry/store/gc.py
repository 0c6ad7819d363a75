"""Online garbage collection: nothing that somebody may still rely on is taken, and nothing needs to stand still.

1. *Mark.* Per repository, in one transaction: what no tag reaches (by way of indexes, and of manifests that refer to
   something reached) and nobody looked at within its lease is dead. It is not shown any more, but its files stay.
2. *Purge.* What was dead for the whole grace is forgotten. Until then a push that names it brings it back.
3. *Sweep.* Files that no repository speaks of, and nobody looked at within a lease, are removed, each under the lock
   that everybody takes who gives a file its name.

A client that was told "this blob is here" and skipped its upload therefore has the lease and the grace to push its
manifest; after that it gets an honest error. Each step may be killed at any moment, and works on a full disk.

>>> collect(store, dry_run=True).freed
73400320
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection, select, update

from registry.errors import SiteError
from registry.store import durable
from registry.store.changes import batches
from registry.store.faults import ReadOnlyError
from registry.store.garbage import Garbage, find, suspects, was_used_since
from registry.store.runs import COLLECTION, record
from registry.store.schema import holdings, manifests, repositories
from registry.store.store import RESERVE, Store
from registry.store.sweep import Swept, forget_empty, purge, sweep, sweep_strays

LEASE_SECONDS = 3600.0
GRACE_SECONDS = 3600.0
LOCK = "index.collecting"


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did, or would do."""

    dry_run: bool
    marked_manifests: int
    marked_blobs: int
    marked_bytes: int
    """Dead from now on; freed after the grace."""
    purged: int
    """Rows whose grace was over."""
    removed: int
    """Files of content that no repository spoke of any more."""
    strays: int
    """Files that the index never knew, or forgot before a crash."""
    uploads_bytes: int
    """Freed from uploads that nobody went on with."""
    freed: int
    """Bytes of all files removed."""

    def as_json(self) -> dict[str, object]:
        """Return the report as documented for `--json`."""
        return asdict(self)


def collect(
    store: Store, *, lease: float = LEASE_SECONDS, grace: float = GRACE_SECONDS, dry_run: bool = False
) -> Collected:
    """Collect once. Raises SiteError if another collection runs, ReadOnlyError if nothing may change."""
    with alone(store.folder / LOCK):
        return collect_alone(store, lease=lease, grace=grace, dry_run=dry_run)


def collect_alone(
    store: Store,
    *,
    lease: float = LEASE_SECONDS,
    grace: float = GRACE_SECONDS,
    dry_run: bool = False,
    between: Callable[[], None] = lambda: None,
) -> Collected:
    """Collect once; the caller holds the store's lock. Raises ReadOnlyError, and what `between` raises.

    It is called between two steps, and may end all: what is done is done, and the next collection goes on.
    """
    if store.policy.read_only and not dry_run:
        raise ReadOnlyError
    if not dry_run:
        durable.remove(store.folder / RESERVE)  # room for the index on a full disk
    try:
        uploads = 0
        if not dry_run:
            uploads = store.uploads.sweep()
            store.files.sweep()
        with store.database.reading() as connection:
            names = suspects(connection)
        marked = []
        for name in names:
            between()
            marked.append(mark(store, name, lease, dry_run=dry_run))
        purged = purge(store, grace, dry_run=dry_run)
        swept = sweep(store, lease, grace=grace, dry_run=dry_run, between=between)
        swept += sweep_strays(store, lease, dry_run=dry_run, between=between)
        done = _report(marked, purged, swept, uploads, dry_run=dry_run)
        if not dry_run:
            forget_empty(store)
            store.ledger.shorten(store.database)
            record(store, COLLECTION, {"freed": done.freed, "marked": done.marked_bytes})
    finally:
        store.set_aside()
    return done


def mark(store: Store, repository: str, lease: float = LEASE_SECONDS, *, dry_run: bool = False) -> Garbage:
    """Declare a repository's garbage dead and return it.

    It is looked for without holding up anybody. If the repository changed meanwhile, or somebody looked at some of it,
    it is looked for again with the door shut.
    """
    rules = store.policy.for_repository(repository)
    with store.database.reading() as connection, _snapshot(connection):
        state = _state(connection, repository)
        found = find(connection, store.files, state[0], rules, lease) if state else Garbage()
    if not state or found.is_empty or dry_run:
        return found
    with store.database.writing() as connection:
        now = _state(connection, repository)
        if now is None:
            return Garbage()
        if now != state or was_used_since(store.files, found, lease):
            found = find(connection, store.files, now[0], rules, lease)
        for table, digests in ((manifests, found.manifests), (holdings, found.blobs)):
            for batch in batches(sorted(digests)):
                here = (table.c.repository == now[0]) & table.c.digest.in_(batch)
                connection.execute(update(table).where(here).values(dead=store.clock()))
    return found


def _state(connection: Connection, repository: str) -> tuple[int, int] | None:
    wanted = select(repositories.c.id, repositories.c.generation).where(repositories.c.name == repository)
    row = connection.execute(wanted).first()
    return (row.id, row.generation) if row else None


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """Let several questions see one state."""
    connection.exec_driver_sql("BEGIN")
    try:
        yield
    finally:
        connection.exec_driver_sql("ROLLBACK")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep out other collections and backups. Raises SiteError if one runs."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle, path)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SiteError(
            "store-busy",
            "a collection or backup of this store is running",
            where=str(path.parent),
            hint="wait until it has ended; it ends with its process",
        ) from error


def _report(marked: list[Garbage], purged: int, swept: Swept, uploads: int, *, dry_run: bool) -> Collected:
    return Collected(
        dry_run=dry_run,
        marked_manifests=sum(len(found.manifests) for found in marked),
        marked_blobs=sum(len(found.blobs) for found in marked),
        marked_bytes=sum(found.size for found in marked),
        purged=purged,
        removed=swept.removed,
        strays=swept.strays,
        uploads_bytes=uploads,
        freed=swept.freed + uploads,
    )
