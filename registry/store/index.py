"""What is where: repositories, their blobs, manifests, tags and referrers, as questions to the index.

A blob or manifest of one repository is not visible in another, and a dead row is not visible at all.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, Table, bindparam, exists, select

from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.store import listing
from registry.store.database import Database
from registry.store.schema import contents, holdings, manifests, mentions, repositories, tags


def _of(wanted: Select[Any], table: Table) -> Select[Any]:
    """Narrow a question to the rows of the repository `:repository`."""
    joined = wanted.join(repositories, repositories.c.id == table.c.repository)
    return joined.where(repositories.c.name == bindparam("repository"))


# Built once: putting a question together costs more than answering it.
_SIZE = select(contents.c.size).where(contents.c.digest == bindparam("digest"))
_HELD = _of(select(holdings.c.digest), holdings).where(
    holdings.c.digest == contents.c.digest, holdings.c.dead.is_(None)
)
_SIZE_IN = _SIZE.where(exists(_HELD))
_REPOSITORY = select(repositories.c.name).where(repositories.c.name == bindparam("repository"))
_HOLDERS = (
    select(repositories.c.name)
    .join(holdings)
    .where(holdings.c.digest == bindparam("digest"), holdings.c.dead.is_(None))
    .limit(bindparam("most"))
)
_BLOBS = select(holdings.c.digest).where(holdings.c.dead.is_(None)).distinct().order_by(holdings.c.digest)
_TAGGED = _of(select(*listing.DESCRIBING).select_from(tags.join(manifests)), tags).where(
    tags.c.name == bindparam("tag")
)
_MANIFEST = _of(select(*listing.DESCRIBING), manifests).where(
    manifests.c.digest == bindparam("digest"), manifests.c.dead.is_(None)
)
_MENTIONS = (
    _of(select(mentions.c.target).select_from(mentions.join(manifests)), mentions)
    .where(mentions.c.target == bindparam("target"), manifests.c.dead.is_(None))
    .limit(1)
)


class Index:
    """The questions; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def repositories_after(self, last: str, globs: Sequence[str]) -> Generator[str, None, None]:
        """Give the names after `last` that one of the globs matches, sorted."""
        with self._database.reading() as connection:
            yield from listing.repositories_after(connection, last, globs)

    def has_repository(self, name: str) -> bool:
        """Say whether there is such a repository."""
        return bool(self._names(_REPOSITORY, repository=name))

    def tags_after(self, repository: str, last: str) -> Generator[str, None, None]:
        """Give a repository's tags after `last`, sorted by their bytes."""
        with self._database.reading() as connection:
            yield from listing.tags_after(connection, repository, last)

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """Return the manifest that a tag names."""
        return next(iter(self._manifests(_TAGGED, repository=repository, tag=tag)), None)

    def manifest(self, repository: str, digest: Digest) -> Descriptor | None:
        """Return what is known of a repository's manifest."""
        return next(iter(self._manifests(_MANIFEST, repository=repository, digest=str(digest))), None)

    def referrers_after(
        self, repository: str, subject: Digest, last: str, artifact_type: str | None
    ) -> Generator[Descriptor, None, None]:
        """Give what refers to `subject` and has a digest after `last`, sorted by it."""
        with self._database.reading() as connection:
            yield from listing.referrers_after(connection, repository, subject, last, artifact_type)

    def mentions(self, repository: str, target: Digest) -> bool:
        """Say whether a manifest of the repository names `target`."""
        return bool(self._names(_MENTIONS, repository=repository, target=str(target)))

    def size(self, digest: Digest, repository: str | None = None) -> int | None:
        """Return the size of a blob that the repository (or the store, without one) holds."""
        with self._database.reading() as connection:
            return blob_size(connection, digest, repository)

    def holders(self, digest: Digest, most: int) -> list[str]:
        """Return `most` of the repositories that hold a blob."""
        return self._names(_HOLDERS, digest=str(digest), most=most)

    def blobs(self) -> list[Digest]:
        """Return the digests of all blobs that any repository holds."""
        return [Digest.parse(one) for one in self._names(_BLOBS)]

    def _names(self, wanted: Select[Any], **values: str | int) -> list[str]:
        with self._database.reading() as connection:
            return list(connection.scalars(wanted, values))

    def _manifests(self, wanted: Select[Any], **values: str) -> list[Descriptor]:
        with self._database.reading() as connection:
            return [listing.described(*row) for row in connection.execute(wanted, values)]


def blob_size(connection: Connection, digest: Digest, repository: str | None = None) -> int | None:
    """Return a blob's size if the repository (or the store, without one) holds it."""
    if repository is None:
        return connection.execute(_SIZE, {"digest": str(digest)}).scalar()
    return connection.execute(_SIZE_IN, {"digest": str(digest), "repository": repository}).scalar()
