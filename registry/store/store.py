"""One folder that keeps blobs, manifests and tags through any crash, and serves them as a ContentSource.

* Content is verified and durable in its file before any row speaks of it; whoever gets an answer can rely on it.
* Manifests are kept as the exact bytes that were given, as files like blobs.
* Several processes may use one store at once: an import writes while a server serves.

>>> with Store.open(Path("store")) as store:
...     store.put_blob("team/app", Digest.of(b"hello"), [b"hello"])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError

from registry.content import Content, ContentSource
from registry.errors import SiteError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS, Manifest
from registry.oci.reference import repository_name, tag_name
from registry.store import durable
from registry.store.database import Database
from registry.store.faults import BlobMissingError, DigestMismatchError, ManifestInvalidError
from registry.store.files import Files
from registry.store.index import Index, add_manifest, blob_size
from registry.store.uploads import Uploads

_FOREIGN = ("nondistributable", ".foreign.")


class Store:
    """A registry's own content."""

    def __init__(self, folder: Path) -> None:
        durable.make_folder(folder.parent)
        durable.make_folder(folder, 0o750)  # what users may pull is not for everyone on this machine
        self.folder = folder
        self._files = Files(folder)
        self._database = Database(folder / "index.sqlite")
        durable.sync_folder(folder)
        self._index = Index(self._database)
        self.uploads = Uploads(self._database, self._files)

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open a store, or begin one in a folder that has none. Raises SiteError, also if a newer dryport wrote it."""
        try:
            return cls(folder)
        except (OSError, DatabaseError) as error:
            raise SiteError(
                "store-unusable",
                "the store cannot be opened",
                where=str(folder),
                seen=str(error.orig if isinstance(error, DatabaseError) else error),
                hint="check that this user may write there and that the disk has space",
            ) from error

    def close(self) -> None:
        """Let go of the database; running uploads stay resumable."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_ready(self) -> bool:
        """Say whether the store answers; raises what the database raises if it cannot."""
        self._index.size(Digest("sha256", "0" * 64))
        return self._files.incoming.is_dir()

    def version(self) -> int:
        """Return a number that is another one after each change of what the store holds, by whatever process."""
        return self._database.version()

    # ContentSource

    def repositories(self) -> Sequence[str]:
        """Return every repository's name, sorted."""
        return self._index.repositories()

    def has_repository(self, name: str) -> bool:
        """Say whether there is such a repository, without looking at the others."""
        return self._index.has_repository(name)

    def tags(self, repository: str) -> Sequence[str]:
        """Return a repository's tags, sorted."""
        return self._index.tags(repository)

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """Return the manifest that a tag names."""
        return self._index.resolve(repository, tag)

    def manifest(self, repository: str, digest: Digest) -> tuple[bytes, str] | None:
        """Return a manifest's exact bytes and its media type; None also if its file is damaged."""
        known = self._index.manifest(repository, digest)
        content = self._files.open(digest, known.size) if known else None
        if not known or not content:
            return None
        try:
            data = content.read(0, known.size)
        finally:
            content.close()
        return (data, known.media_type) if digest.matches(data) else None

    def blob(self, repository: str, digest: Digest) -> Content | None:
        """Open a blob that the repository holds."""
        size = self._index.size(digest, repository)
        return None if size is None else self._files.open(digest, size)

    def referrers(self, repository: str, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject is `subject`, also untagged ones."""
        return self._index.referrers(repository, subject)

    def is_absent(self, repository: str, digest: Digest) -> bool:
        """Say whether an index of the repository names content that was never stored here (a sparse index)."""
        is_held = self._index.manifest(repository, digest) or self.has_blob(repository, digest)
        return not is_held and self._index.mentions(repository, digest)

    # Writing

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Say whether the repository holds a blob, whole."""
        size = self._index.size(digest, repository)
        return size is not None and self._files.holds(digest, size)

    def put_blob(self, repository: str, digest: Digest, chunks: Iterable[bytes]) -> None:
        """Store a blob durably. Raises DigestMismatchError and shows nothing then; OSError if the disk refuses."""
        repository_name(repository)
        self._index.add_blob(repository, digest, self._files.write(digest, chunks))

    def link_blob(self, repository: str, digest: Digest, source: str | None = None) -> bool:
        """Show a blob of another repository (`source`, or any) in this one; say whether there was one."""
        repository_name(repository)
        size = self._index.size(digest, source)
        if size is None or not self._files.holds(digest, size):
            return False
        self._index.add_blob(repository, digest, size)
        return True

    def holders(self, digest: Digest) -> Sequence[str]:
        """Return the repositories that hold a blob."""
        return self._index.holders(digest)

    def put_manifest(
        self,
        repository: str,
        data: bytes,
        media_type: str,
        tags: Sequence[str],
        *,
        digest: Digest | None = None,
        elsewhere: ContentSource | None = None,
    ) -> Digest:
        """Store a manifest or index byte for byte, with its tags, and return its digest (`digest`, if given).

        Its blobs must be in the repository, here or in `elsewhere`; children of an index and subjects need not be.
        Raises ManifestInvalidError, BlobMissingError, DigestMismatchError; then nothing changed.
        """
        repository_name(repository)
        for tag in tags:
            tag_name(tag)
        manifest = _parse(data, media_type)
        name = digest or manifest.digest
        if not name.matches(data):
            raise DigestMismatchError(name, Digest.of(data, name.algorithm))
        mounted = _sizes_in(elsewhere, repository, manifest) if elsewhere else {}
        with self._database.reading() as connection:
            _check_blobs(connection, repository, manifest, mounted)
        self._files.write(name, [data])
        with self._database.writing() as connection:
            _check_blobs(connection, repository, manifest, mounted)  # again: nobody can take a blob away from here on
            add_manifest(connection, repository, name, manifest, tags)
        return name

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Take a manifest and the tags that name it away; say whether it was there."""
        return self._index.remove_manifest(repository, digest)

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Take a tag away, not its manifest; say whether it was there."""
        return self._index.remove_tag(repository, tag)

    def delete_blob(self, repository: str, digest: Digest) -> bool:
        """Take a blob out of a repository; say whether it was there."""
        return self._index.remove_blob(repository, digest)


def _parse(data: bytes, media_type: str) -> Manifest:
    if media_type not in MANIFESTS | INDEXES:
        raise ManifestInvalidError(f"manifests of type {media_type[:100]!r} are not stored")
    try:
        return Manifest.parse(data, media_type)
    except ValueError as error:
        raise ManifestInvalidError(str(error)) from error


def _check_blobs(connection: Connection, repository: str, manifest: Manifest, mounted: Mapping[Digest, int]) -> None:
    for blob in manifest.blobs:
        if any(mark in blob.media_type for mark in _FOREIGN):
            continue  # may be distributed by its maker alone, so it is not required here
        size = mounted.get(blob.digest, blob_size(connection, blob.digest, repository))
        if size is None:
            raise BlobMissingError(repository, blob.digest)
        if size != blob.size:
            raise ManifestInvalidError(f"{blob.digest} has {size} bytes, the manifest says {blob.size}")


def _sizes_in(source: ContentSource, repository: str, manifest: Manifest) -> dict[Digest, int]:
    found = {}
    for digest in {blob.digest for blob in manifest.blobs}:
        if content := source.blob(repository, digest):
            found[digest] = content.size
            content.close()
    return found
