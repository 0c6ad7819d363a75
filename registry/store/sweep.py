"""The end of garbage: rows whose grace is over, and files that nothing speaks of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, Float, Table, and_, bindparam, delete, exists, func, or_, select, text, update

from registry.oci.digest import Digest
from registry.store.changes import BATCH, batches
from registry.store.schema import contents, holdings, manifests, repositories, uploads
from registry.store.store import Store

_IS_UNUSED = ~exists(select(holdings.c.digest).where(holdings.c.digest == contents.c.digest)) & ~exists(
    select(manifests.c.digest).where(manifests.c.digest == contents.c.digest)
)
_LAST = bindparam("last", type_=Float)
_WILL_BE_UNUSED = and_(
    *(
        ~exists().where(table.c.digest == contents.c.digest, or_(table.c.dead.is_(None), table.c.dead > _LAST))
        for table in (holdings, manifests)
    )
)
"""The same once the rows are purged that are dead since `last`, which only looking does not do."""

_MANIFEST_GONE = delete(manifests).where(
    manifests.c.repository == bindparam("number"), manifests.c.digest == bindparam("gone")
)
_HOLDINGS_GONE = text(
    "DELETE FROM holdings WHERE rowid IN (SELECT rowid FROM holdings WHERE dead <= :last LIMIT :most)"
)


@dataclass(frozen=True, slots=True)
class Swept:
    """How many files went, and their bytes."""

    removed: int = 0
    strays: int = 0
    freed: int = 0

    def __add__(self, other: Swept) -> Swept:
        return Swept(self.removed + other.removed, self.strays + other.strays, self.freed + other.freed)


def purge(store: Store, grace: float, *, dry_run: bool = False) -> int:
    """Forget the rows that were dead for the whole grace; return how many."""
    now = store.clock()
    if dry_run:
        with store.database.reading() as connection:
            return sum(_count(connection, table, now - grace) for table in (manifests, holdings))
    with store.database.writing() as connection:
        for table in (manifests, holdings):
            # A clock that was set back would keep them for ever: their grace begins again.
            connection.execute(update(table).where(table.c.dead > now).values(dead=now))
    return _all_of(_purge_manifests, store, now - grace) + _all_of(_purge_holdings, store, now - grace)


def _all_of(purge: Callable[[Store, float], int], store: Store, last: float) -> int:
    """Purge portion by portion, so that pushes get their turn."""
    gone = 0
    while some := purge(store, last):
        gone += some
    return gone


def _purge_manifests(store: Store, last: float) -> int:
    over = select(repositories.c.name, manifests.c.repository, manifests.c.digest).join_from(manifests, repositories)
    with store.database.writing() as connection:
        rows = connection.execute(over.where(manifests.c.dead <= last).limit(BATCH)).all()
        if rows:
            connection.execute(_MANIFEST_GONE, [{"number": row.repository, "gone": row.digest} for row in rows])
            store.ledger.drop(connection, [(row.name, row.digest) for row in rows])
    return len(rows)


def _purge_holdings(store: Store, last: float) -> int:
    with store.database.writing() as connection:
        return connection.execute(_HOLDINGS_GONE, {"last": last, "most": BATCH}).rowcount


def _count(connection: Connection, table: Table, last: float) -> int:
    wanted = select(func.count()).select_from(table).where(table.c.dead <= last)
    number: int = connection.execute(wanted).scalar_one()
    return number


def sweep(
    store: Store,
    lease: float,
    *,
    grace: float = 0.0,
    dry_run: bool = False,
    between: Callable[[], None] = lambda: None,
) -> Swept:
    """Remove the content that no repository speaks of, dead or alive; `between` is called before each.

    Only looking counts as gone what purging after the `grace` would take away.
    """
    wanted = select(contents.c.digest).where(_WILL_BE_UNUSED if dry_run else _IS_UNUSED)
    with store.database.reading() as connection:
        found = connection.scalars(wanted, {"last": store.clock() - grace} if dry_run else {})
        unused = [Digest.parse(text) for text in found]
    swept = Swept()
    for digest in unused:
        between()
        path = store.files.path(digest)
        if dry_run:
            swept += _one(path) if not store.files.is_leased(path, lease) else Swept()
            continue
        with store.files.held(digest):
            with store.database.writing() as connection:
                if store.files.is_leased(path, lease) or not _forget(connection, digest):
                    continue
            # The row is gone for good; a crash here leaves a stray.
            swept += _one(path)
            path.unlink(missing_ok=True)
    return swept


def _forget(connection: Connection, digest: Digest) -> bool:
    return bool(connection.execute(delete(contents).where(contents.c.digest == str(digest), _IS_UNUSED)).rowcount)


def _one(path: Path) -> Swept:
    try:
        return Swept(removed=1, freed=path.stat().st_size)
    except FileNotFoundError:
        return Swept()


def sweep_strays(
    store: Store, lease: float, *, dry_run: bool = False, between: Callable[[], None] = lambda: None
) -> Swept:
    """Remove the files that the index does not know; whoever is storing one holds its lock until it does."""
    swept = Swept()
    for found in _portions(store):
        between()
        for digest in _unknown(store, found):
            path = store.files.path(digest)
            with store.files.held(digest):
                if store.files.is_leased(path, lease) or not _unknown(store, [digest]):
                    continue
                with suppress(FileNotFoundError):
                    swept += Swept(strays=1, freed=path.stat().st_size)
                    if not dry_run:
                        path.unlink()
    return swept


def _portions(store: Store) -> Iterator[list[Digest]]:
    for algorithm in ("sha256", "sha512"):
        with os.scandir(store.files.blobs / algorithm) as entries:
            while names := list(islice(entries, BATCH)):
                digests = []
                for entry in names:
                    with suppress(ValueError):  # not ours: left alone
                        digests.append(Digest(algorithm, entry.name))
                yield digests


def _unknown(store: Store, digests: Sequence[Digest]) -> list[Digest]:
    names = [str(digest) for digest in digests]
    known: set[str] = set()
    with store.database.reading() as connection:
        for batch in batches(names):
            known.update(connection.scalars(select(contents.c.digest).where(contents.c.digest.in_(batch))))
    return [digest for digest in digests if str(digest) not in known]


def forget_empty(store: Store) -> int:
    """Forget the repositories in which nothing is left, dead or alive; return how many."""
    is_empty = (
        ~exists(select(holdings.c.digest).where(holdings.c.repository == repositories.c.id))
        & ~exists(select(manifests.c.digest).where(manifests.c.repository == repositories.c.id))
        & ~exists(select(uploads.c.id).where(uploads.c.repository == repositories.c.name))
    )
    with store.database.reading() as connection:
        found = connection.scalars(select(repositories.c.id).where(is_empty)).all()
    gone = 0
    for start in range(0, len(found), BATCH):
        some = repositories.c.id.in_(found[start : start + BATCH])
        with store.database.writing() as connection:
            gone += connection.execute(delete(repositories).where(some, is_empty)).rowcount
    return gone
