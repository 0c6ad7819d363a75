"""What a manifest needs before it may be placed in a repository, by the repository's rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from registry.content import ContentSource
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS, Manifest
from registry.store.changes import held_sizes, known_manifests
from registry.store.faults import BlobMissingError, ManifestInvalidError
from registry.store.policy import Rules


def parse(data: bytes, media_type: str) -> Manifest:
    """Return the manifest in `data`. Raises ManifestInvalidError."""
    if media_type not in MANIFESTS | INDEXES:
        raise ManifestInvalidError(f"manifests of type {media_type[:100]!r} are not stored")
    try:
        return Manifest.parse(data, media_type)
    except ValueError as error:
        raise ManifestInvalidError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What other content of the same server has of a manifest's parts."""

    sizes: Mapping[Digest, int]
    children: frozenset[Digest]

    @classmethod
    def look(cls, source: ContentSource | None, repository: str, manifest: Manifest) -> Elsewhere:
        """Ask the other content."""
        if source is None:
            return cls({}, frozenset())
        found = {}
        for digest in {blob.digest for blob in manifest.blobs}:
            if content := source.blob(repository, digest):
                found[digest] = content.size
                content.close()
        children = {child.digest for child in manifest.children}
        return cls(found, frozenset(digest for digest in children if source.manifest(repository, digest)))


def check(
    connection: Connection,
    repository: str,
    manifest: Manifest,
    elsewhere: Elsewhere,
    rules: Rules,
    *,
    is_whole: Callable[[Digest, int], bool] = lambda *_: True,
) -> None:
    """Raise BlobMissingError, or ManifestInvalidError for a wrong size, if a part is not as it has to be.

    `is_whole` looks at the files of those that have rows.
    """
    wanted = [blob for blob in manifest.blobs if not blob.is_foreign]
    sizes = held_sizes(connection, repository, {blob.digest for blob in wanted})
    for blob in wanted:
        size = elsewhere.sizes.get(blob.digest)
        if size is None:
            held = sizes.get(str(blob.digest))
            size = held if held is not None and is_whole(blob.digest, held) else None
        if size is None and not rules.may_lack_blobs():
            raise BlobMissingError(repository, blob.digest)
        if size not in (None, blob.size):
            raise ManifestInvalidError(f"{blob.digest} has {size} bytes, the manifest says {blob.size}")
    needed = {child.digest for child in manifest.children if not rules.may_lack_child(child.platform)}
    known = known_manifests(connection, repository, needed - elsewhere.children)
    for digest in sorted(needed - elsewhere.children):
        if str(digest) not in known:
            raise BlobMissingError(repository, digest)
