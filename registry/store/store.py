"""One folder that keeps blobs, manifests and tags through any crash, and serves them as a ContentSource.

* Content is verified and durable in its file before any row speaks of it; whoever gets an answer can rely on it.
* Manifests are kept as the exact bytes that were given, as files like blobs.
* Several processes may use one store at once: an import writes while a server serves.

>>> with Store.open(Path("store")) as store:
...     store.put_blob("team/app", Digest.of(b"hello"), [b"hello"])
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from sqlalchemy.exc import DatabaseError

from registry.content import Content, ContentSource
from registry.errors import SiteError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.reference import repository_name, tag_name
from registry.store import changes, durable, placing, policy
from registry.store.database import Database, lost
from registry.store.faults import DeletesForbiddenError, DigestMismatchError, ImmutableTagError, ReadOnlyError
from registry.store.files import Files
from registry.store.index import Index, blob_size
from registry.store.intake import Taken, Tell
from registry.store.ledger import Ledger
from registry.store.policy import Policy, PolicyFile, Rules
from registry.store.presence import join
from registry.store.uploads import Uploads

INDEX = "index.sqlite"
RESERVE = "index.reserve"
QUARANTINE = "quarantine"
"""The folder for what is no part of the store any more, and kept: damaged content, indexes and ledgers of before."""
RESERVE_BYTES = 1 << 20
"""Disk that is set aside, so that collection can write its index when the disk is full."""
_OPENING_BYTES = 1 << 18
"""How much of it opening may use: SQLite needs some to read at all. Collection has the rest."""


class Store:
    """A registry's own content."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        durable.make_folder(folder.parent)
        durable.make_folder(folder, 0o750)  # what users may pull is not for everyone on this machine
        self.folder = folder
        self.clock = clock
        may_begin = not _has_content(folder)
        refuse_lost_index(folder)
        self._presence = join(folder)
        with ExitStack() as undo:
            undo.callback(os.close, self._presence)
            self._policy = PolicyFile(folder / policy.NAME)
            self.files = Files(folder, clock, self._knows)
            self.ledger = Ledger(folder)
            self.database = Database(folder / INDEX, may_begin=may_begin)
            undo.callback(self.database.close)
            durable.sync_folder(folder)
            self._index = Index(self.database)
            self.uploads = Uploads(self.database, self.files, self._rules)
            self.set_aside(besides=4 * RESERVE_BYTES)  # what a collection freed for itself is not taken from it
            with suppress(OSError):  # a full disk: whoever writes next does it
                self.ledger.agree(self.database, folder / QUARANTINE)
            undo.pop_all()

    @classmethod
    def open(cls, folder: Path, clock: Callable[[], float] = time.time) -> Store:
        """Open a store, or begin one in a folder that has none. Raises SiteError, also if a newer dryport wrote it."""
        try:
            try:
                return cls(folder, clock)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not (folder / RESERVE).exists():
                    raise
                _draw_on_reserve(folder / RESERVE)  # so that a server and a collection can come to a full disk
                return cls(folder, clock)
        except (OSError, DatabaseError) as error:
            raise SiteError(
                "store-unusable",
                "the store cannot be opened",
                where=str(folder),
                seen=str(error.orig if isinstance(error, DatabaseError) else error),
                hint="check that this user may write there and that the disk has space; if the index is damaged: "
                "dryport registry rebuild",
            ) from error

    @property
    def policy(self) -> Policy:
        """What the store allows now. Raises SiteError if its file is none."""
        return self._policy.policy

    def reload(self) -> None:
        """Read the policy anew, whatever its file's time says. Raises SiteError."""
        self._policy.reload()

    def set_aside(self, besides: int = 0) -> None:
        """Set disk aside for collection, if there is some and so many bytes besides."""
        path = self.folder / RESERVE
        if not path.exists() or path.stat().st_size < RESERVE_BYTES:
            with suppress(OSError):
                if durable.free(self.folder) >= RESERVE_BYTES + besides:
                    durable.allocate(path, RESERVE_BYTES)

    def close(self) -> None:
        """Let go of the database; running uploads stay resumable."""
        self.database.close()
        if self._presence >= 0:
            os.close(self._presence)
            self._presence = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_ready(self) -> bool:
        """Say whether the store answers; raises what the database raises if it cannot."""
        self._index.size(Digest("sha256", "0" * 64))
        return self.files.incoming.is_dir()

    def version(self) -> int:
        """Return a number that is another one after each change of what the store holds, by whatever process."""
        return self.database.version()

    # ContentSource

    def repositories(self) -> Sequence[str]:
        """Return every repository's name, sorted."""
        return list(self.repositories_after())

    def repositories_after(self, last: str = "", globs: Sequence[str] = ("*",)) -> Generator[str, None, None]:
        """Give the names after `last` that one of the globs matches, sorted."""
        return self._index.repositories_after(last, globs)

    def has_repository(self, name: str) -> bool:
        """Say whether there is such a repository, without looking at the others."""
        return self._index.has_repository(name)

    def tags(self, repository: str) -> Sequence[str]:
        """Return a repository's tags, sorted."""
        return list(self.tags_after(repository))

    def tags_after(self, repository: str, last: str = "") -> Generator[str, None, None]:
        """Give a repository's tags after `last`, sorted by their bytes."""
        return self._index.tags_after(repository, last)

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """Return the manifest that a tag names."""
        return self._index.resolve(repository, tag)

    def manifest(self, repository: str, digest: Digest) -> tuple[bytes, str] | None:
        """Return a manifest's exact bytes and its media type; None also if its file is damaged."""
        known = self._index.manifest(repository, digest)
        content = self.files.open(digest, known.size) if known else None
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
        return None if size is None else self.files.open(digest, size)

    def referrers(self, repository: str, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests whose subject is `subject`, also untagged ones."""
        return list(self.referrers_after(repository, subject))

    def referrers_after(
        self, repository: str, subject: Digest, last: str = "", artifact_type: str | None = None
    ) -> Generator[Descriptor, None, None]:
        """Give what refers to `subject` and has a digest after `last`, sorted by it."""
        return self._index.referrers_after(repository, subject, last, artifact_type)

    def is_absent(self, repository: str, digest: Digest) -> bool:
        """Say whether an index of the repository names content that was never stored here (a sparse index)."""
        is_held = self._index.manifest(repository, digest) or self.has_blob(repository, digest)
        return not is_held and self._index.mentions(repository, digest)

    # Writing

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Say whether the repository holds a blob, whole."""
        size = self._index.size(digest, repository)
        return size is not None and self.files.holds(digest, size)

    def put_blob(self, repository: str, digest: Digest, chunks: Iterable[bytes]) -> None:
        """Store a blob durably. Raises DigestMismatchError and shows nothing then; OSError if the disk refuses."""
        rules = self._rules(repository)
        with self.files.storing(digest, chunks) as size:
            self._show(repository, digest, size, rules)

    def take_blob(self, repository: str, digest: Digest, content: Content, tell: Tell) -> Taken:
        """Store a blob from where it lies, sharing its disk where that can be; `tell` is told of the bytes done.

        Raises as `put_blob` does, and as reading the content does.
        """
        rules = self._rules(repository)
        with self.files.taking(digest, content, tell) as taken:
            self._show(repository, digest, taken.size, rules)
        return taken

    def link_blob(self, repository: str, digest: Digest, source: str | None = None) -> bool:
        """Show a blob of another repository (`source`, or any) in this one; say whether there was one."""
        rules = self._rules(repository)
        size = self._index.size(digest, source)
        if size is None or not self.files.holds(digest, size):
            return False
        return self._show(repository, digest, size, rules, source=source, is_new=False)

    def _show(
        self,
        repository: str,
        digest: Digest,
        size: int,
        rules: Rules,
        *,
        source: str | None = None,
        is_new: bool = True,
    ) -> bool:
        with self.database.writing() as connection:
            if not is_new and blob_size(connection, digest, source) is None:
                return False  # collected since
            with changes.within_quota(connection, repository, rules, self.uploads.take_back):
                changes.record_blob(connection, repository, digest, size)
        return True

    def fullness(self, repository: str) -> float:
        """Return which part of its quota a repository uses; 0 without a quota."""
        quota = self.policy.for_repository(repository).quota_bytes
        if quota is None:
            return 0.0
        with self.database.reading() as connection:
            return changes.used(connection, repository) / max(quota, 1)

    def holders(self, digest: Digest, most: int = 1000) -> Sequence[str]:
        """Return the repositories that hold a blob, `most` of them where there are more."""
        return self._index.holders(digest, most)

    def blobs(self) -> Sequence[Digest]:
        """Return the digests of all blobs that any repository shows."""
        return self._index.blobs()

    def put_manifest(
        self,
        repository: str,
        data: bytes,
        media_type: str,
        tags: Sequence[str],
        *,
        digest: Digest | None = None,
        elsewhere: ContentSource | None = None,
        only_new_tags: bool = False,
    ) -> Digest:
        """Store a manifest or index byte for byte, with its tags, and return its digest (`digest`, if given).

        What of its parts must be in the repository, here or in `elsewhere`, its rules say; a subject need not be.
        Raises ManifestInvalidError, BlobMissingError, DigestMismatchError, PolicyError; then nothing changed.
        """
        rules = self._rules(repository)
        for tag in tags:
            tag_name(tag)
        manifest = placing.parse(data, media_type)
        name = digest or manifest.digest
        if not name.matches(data):
            raise DigestMismatchError(name, Digest.of(data, name.algorithm))
        others = placing.Elsewhere.look(elsewhere, repository, manifest)
        with self.database.reading() as connection:
            placing.check(connection, repository, manifest, others, rules, is_whole=self.files.is_whole)
            changes.check_tags(connection, repository, name, tags, rules, only_new=only_new_tags)
        with self.files.storing(name, [data]), self.database.writing() as connection:
            # Again: nobody can take a part away, or set a tag, from here on.
            placing.check(connection, repository, manifest, others, rules)
            changes.check_tags(connection, repository, name, tags, rules, only_new=only_new_tags)
            with changes.within_quota(connection, repository, rules, self.uploads.take_back):
                changes.add_manifest(connection, repository, name, manifest, tags)
            self.ledger.put(connection, repository, name, media_type, tags)
        return name

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Take a manifest and the tags that name it away; say whether it was there. Raises PolicyError."""
        rules = self._rules(repository, deleting=True)
        with self.database.writing() as connection:
            number = changes.number_of(connection, repository)
            if number is None:
                return False
            changes.check_removable(connection, repository, number, digest, rules)
            is_gone = changes.remove_manifest(connection, number, digest)
            if is_gone:
                self.ledger.drop(connection, [(repository, str(digest))])
            return is_gone

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Take a tag away, not its manifest; say whether it was there. Raises PolicyError."""
        rules = self._rules(repository, deleting=True)
        with self.database.writing() as connection:
            number = changes.number_of(connection, repository)
            is_gone = number is not None and changes.remove_tag(connection, number, tag)
            if is_gone and rules.is_immutable(tag):
                raise ImmutableTagError(repository, tag)
            if is_gone:
                self.ledger.untag(connection, repository, [tag])
            return is_gone

    def delete_blob(self, repository: str, digest: Digest) -> bool:
        """Take a blob out of a repository; say whether it was there. Raises PolicyError."""
        rules = self._rules(repository, deleting=True)
        with self.database.writing() as connection:
            number = changes.number_of(connection, repository)
            if number is None:
                return False
            changes.check_removable(connection, repository, number, digest, rules)
            return changes.remove_blob(connection, number, digest)

    def _knows(self, digest: Digest) -> bool:
        """Say whether a row speaks of content, in whatever repository, dead or alive."""
        return self._index.size(digest) is not None

    def _rules(self, repository: str, *, deleting: bool = False) -> Rules:
        """Return the rules by which a repository may be changed. Raises PolicyError if it may not."""
        repository_name(repository)
        now = self.policy
        if now.read_only:
            raise ReadOnlyError
        rules = now.for_repository(repository)
        if deleting and not rules.deletes:
            raise DeletesForbiddenError(repository)
        return rules


def refuse_lost_index(folder: Path) -> None:
    """Raise SiteError for content without an index: a new, empty one would make garbage of all of it."""
    if _has_content(folder) and not (folder / INDEX).exists():
        raise lost(folder / INDEX)


def _draw_on_reserve(path: Path) -> None:
    size = path.stat().st_size
    if size > _OPENING_BYTES:
        durable.cut(path, size - _OPENING_BYTES)
    else:
        durable.remove(path)


def _has_content(folder: Path) -> bool:
    places = (folder / "blobs" / algorithm for algorithm in ("sha256", "sha512"))
    return any(place.is_dir() and next(os.scandir(place), None) is not None for place in places)
