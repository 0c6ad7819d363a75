"""What is where: repositories, their blobs, manifests, tags and referrers, as questions to and changes of the index.

A blob or manifest of one repository is not visible in another. Changes come after the files they speak of are durable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table, bindparam, delete, exists, select
from sqlalchemy.dialects.sqlite import insert

from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import Manifest
from registry.store.database import Database
from registry.store.schema import contents, holdings, manifests, mentions, repositories, tags


def _of(wanted: Select[Any], table: Table) -> Select[Any]:
    """Narrow a question to the rows of the repository `:repository`."""
    joined = wanted.join(repositories, repositories.c.id == table.c.repository)
    return joined.where(repositories.c.name == bindparam("repository"))


# Built once: putting a question together costs more than answering it.
_SIZE = select(contents.c.size).where(contents.c.digest == bindparam("digest"))
_HELD = _of(select(holdings.c.digest), holdings).where(holdings.c.digest == contents.c.digest)
_SIZE_IN = _SIZE.where(exists(_HELD))
_REPOSITORIES = select(repositories.c.name).order_by(repositories.c.name)
_REPOSITORY = select(repositories.c.name).where(repositories.c.name == bindparam("repository"))
_HOLDERS = _REPOSITORIES.join(holdings).where(holdings.c.digest == bindparam("digest"))
_TAGS = _of(select(tags.c.name), tags).order_by(tags.c.name)
_TAGGED = _of(select(manifests).select_from(tags.join(manifests)), tags).where(tags.c.name == bindparam("tag"))
_MANIFEST = _of(select(manifests), manifests).where(manifests.c.digest == bindparam("digest"))
_REFERRERS = _of(select(manifests), manifests).where(manifests.c.subject == bindparam("subject"))
_MENTIONS = _of(select(mentions.c.target), mentions).where(mentions.c.target == bindparam("target")).limit(1)


class Index:
    """The questions and changes; each is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def repositories(self) -> list[str]:
        """Return every repository's name, sorted."""
        return self._names(_REPOSITORIES)

    def has_repository(self, name: str) -> bool:
        """Say whether there is such a repository."""
        return bool(self._names(_REPOSITORY, repository=name))

    def tags(self, repository: str) -> list[str]:
        """Return a repository's tags, sorted by their bytes."""
        return self._names(_TAGS, repository=repository)

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """Return the manifest that a tag names."""
        return next(iter(self._manifests(_TAGGED, repository=repository, tag=tag)), None)

    def manifest(self, repository: str, digest: Digest) -> Descriptor | None:
        """Return what is known of a repository's manifest."""
        return next(iter(self._manifests(_MANIFEST, repository=repository, digest=str(digest))), None)

    def referrers(self, repository: str, subject: Digest) -> list[Descriptor]:
        """Return the manifests whose subject is `subject`, in a stable order."""
        wanted = _REFERRERS.order_by(manifests.c.digest)
        return self._manifests(wanted, repository=repository, subject=str(subject))

    def mentions(self, repository: str, target: Digest) -> bool:
        """Say whether a manifest of the repository names `target`."""
        return bool(self._names(_MENTIONS, repository=repository, target=str(target)))

    def size(self, digest: Digest, repository: str | None = None) -> int | None:
        """Return the size of a blob that the repository (or the store, without one) holds."""
        with self._database.reading() as connection:
            return blob_size(connection, digest, repository)

    def holders(self, digest: Digest) -> list[str]:
        """Return the repositories that hold a blob."""
        return self._names(_HOLDERS, digest=str(digest))

    def add_blob(self, repository: str, digest: Digest, size: int) -> None:
        """Record a durable blob and show it in a repository."""
        with self._database.writing() as connection:
            record_blob(connection, repository, digest, size)

    def remove_manifest(self, repository: str, digest: Digest) -> bool:
        """Take a manifest and the tags that name it out of a repository; say whether it was there."""
        return self._remove(manifests, manifests.c.digest == str(digest), repository)

    def remove_tag(self, repository: str, tag: str) -> bool:
        """Take a tag away, not what it names; say whether it was there."""
        return self._remove(tags, tags.c.name == tag, repository)

    def remove_blob(self, repository: str, digest: Digest) -> bool:
        """Take a blob out of a repository; say whether it was there."""
        return self._remove(holdings, holdings.c.digest == str(digest), repository)

    def _remove(self, table: Table, condition: ColumnElement[bool], repository: str) -> bool:
        number = select(repositories.c.id).where(repositories.c.name == repository).scalar_subquery()
        with self._database.writing() as connection:
            done = connection.execute(delete(table).where(table.c.repository == number, condition))
            return bool(done.rowcount)

    def _names(self, wanted: Select[Any], **values: str) -> list[str]:
        with self._database.reading() as connection:
            return list(connection.scalars(wanted, values))

    def _manifests(self, wanted: Select[Any], **values: str) -> list[Descriptor]:
        with self._database.reading() as connection:
            return [_descriptor(row) for row in connection.execute(wanted, values).mappings()]


def blob_size(connection: Connection, digest: Digest, repository: str | None = None) -> int | None:
    """Return a blob's size if the repository (or the store, without one) holds it."""
    if repository is None:
        return connection.execute(_SIZE, {"digest": str(digest)}).scalar()
    return connection.execute(_SIZE_IN, {"digest": str(digest), "repository": repository}).scalar()


def record_blob(connection: Connection, repository: str, digest: Digest, size: int) -> None:
    """Record a durable blob and show it in a repository, inside a transaction of the caller."""
    connection.execute(insert(contents).values(digest=str(digest), size=size).on_conflict_do_nothing())
    held = insert(holdings).values(repository=_number(connection, repository), digest=str(digest))
    connection.execute(held.on_conflict_do_nothing())


def add_manifest(
    connection: Connection, repository: str, digest: Digest, manifest: Manifest, names: Iterable[str]
) -> None:
    """Record a durable manifest, what it names, and its tags, inside a transaction of the caller."""
    number = _number(connection, repository)
    connection.execute(insert(contents).values(digest=str(digest), size=len(manifest.data)).on_conflict_do_nothing())
    row = {
        "repository": number,
        "digest": str(digest),
        "media_type": manifest.media_type,
        "size": len(manifest.data),
        "subject": str(manifest.subject.digest) if manifest.subject else None,
        "artifact_type": manifest.artifact_type,
        "annotations": json.dumps(dict(manifest.annotations)) if manifest.subject else None,
    }
    connection.execute(
        insert(manifests)
        .values(row)
        .on_conflict_do_update(
            index_elements=["repository", "digest"], set_={"media_type": manifest.media_type}
        )  # the same bytes may be pushed as another type: the last one counts, as for tags
    )
    targets = {str(item.digest) for item in (*manifest.blobs, *manifest.children)}
    if targets:
        rows = [{"repository": number, "manifest": str(digest), "target": target} for target in sorted(targets)]
        connection.execute(insert(mentions).on_conflict_do_nothing(), rows)
    for name in names:
        tag = insert(tags).values(repository=number, name=name, digest=str(digest))
        connection.execute(
            tag.on_conflict_do_update(index_elements=["repository", "name"], set_={"digest": str(digest)})
        )


def _number(connection: Connection, repository: str) -> int:
    connection.execute(insert(repositories).values(name=repository).on_conflict_do_nothing())
    number: int = connection.execute(select(repositories.c.id).where(repositories.c.name == repository)).scalar_one()
    return number


def _descriptor(row: RowMapping) -> Descriptor:
    annotations = json.loads(row["annotations"]) if row["annotations"] else {}
    return Descriptor(row["media_type"], Digest.parse(row["digest"]), row["size"], annotations, row["artifact_type"])
