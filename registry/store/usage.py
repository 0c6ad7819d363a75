"""How much a store holds, for people: sums over the index, asked in one consistent state.

>>> usage(store.database).shown
73400320
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Connection, exists, func, select

from registry.store.database import Database
from registry.store.schema import contents, holdings, manifests, repositories, uploads


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts, and sizes in bytes."""

    repositories: int
    contents: int
    size: int
    """All files of content together."""
    shown: int
    """What the repositories show together; more than `size` where they share."""
    garbage: int
    """Files that no repository shows, waiting for collection."""
    garbage_size: int
    uploads: int
    uploads_size: int
    largest: Sequence[tuple[str, int]]
    """The repositories that show the most, and how much."""


_LIVE_BLOB = exists().where(holdings.c.digest == contents.c.digest, holdings.c.dead.is_(None))
_LIVE_MANIFEST = exists().where(manifests.c.digest == contents.c.digest, manifests.c.dead.is_(None))


def usage(database: Database, most: int = 50) -> Usage:
    """Return what a store holds, with the `most` largest repositories."""
    largest = select(repositories.c.name, repositories.c.used).order_by(repositories.c.used.desc(), repositories.c.name)
    with database.reading() as connection:
        files, size = _sums(connection, contents.c.size)
        count, shown = _sums(connection, repositories.c.used)
        garbage, garbage_size = _sums(connection, contents.c.size, ~_LIVE_BLOB, ~_LIVE_MANIFEST)
        running, running_size = _sums(connection, uploads.c.size)
        named = [(str(name), int(used)) for name, used in connection.execute(largest.limit(most))]
    return Usage(count, files, size, shown, garbage, garbage_size, running, running_size, named)


def _sums(connection: Connection, column: Column[int], *conditions: ColumnElement[bool]) -> tuple[int, int]:
    """Return how many rows there are, and their sum."""
    wanted = select(func.count(), func.coalesce(func.sum(column), 0)).select_from(column.table)
    count, total = connection.execute(wanted.where(*conditions)).one()
    return int(count), int(total)
