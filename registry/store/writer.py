"""One request's turn at an upload: takes bytes, hashes them on the way, makes them durable, or turns them into a blob.

Whoever opened a `Writer` ends it with exactly one of `save`, `commit`, `discard`; `close` without these leaves the
session where it durably was.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from registry.oci.digest import Digest, Hasher
from registry.store import durable
from registry.store.faults import DigestMismatchError, PolicyError

if TYPE_CHECKING:
    from registry.store.uploads import Session, Uploads

SYNC_BYTES = 128 << 20
"""A long upload is made durable in pieces, so that its end is no giant stall."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Before:
    """What another process wrote and hashed of a session's file."""

    digest: Digest
    size: int
    handle: int


class Running:
    """The digest so far, and of how many bytes."""

    def __init__(self, algorithm: str, before: Before | None = None) -> None:
        self.algorithm = algorithm
        self.size = before.size if before else 0
        self._before = before
        self._hasher: Hasher = hashlib.new(algorithm)

    @classmethod
    def of_file(cls, algorithm: str, handle: int, size: int | None = None) -> Running:
        """Hash a whole file, or its first `size` bytes."""
        running = cls(algorithm)
        most = _BLOCK if size is None else min(_BLOCK, size)
        while most and (block := os.pread(handle, most, running.size)):
            running.add(block)
            most = _BLOCK if size is None else min(_BLOCK, size - running.size)
        return running

    def add(self, data: bytes) -> None:
        """Take in more bytes."""
        if self._before and data:
            self._hasher = self.of_file(self.algorithm, self._before.handle, self._before.size)._hasher  # noqa: SLF001
            self._before = None
        self._hasher.update(data)
        self.size += len(data)

    @property
    def is_told(self) -> bool:
        """Whether the digest is another process's; this object then lives no longer than its file's handle."""
        return self._before is not None

    @property
    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return self._before.digest if self._before else Digest(self.algorithm, self._hasher.hexdigest())


class Writer:
    """Writes at the end of one session, which it holds locked."""

    def __init__(self, uploads: Uploads, session: Session, handle: int, running: Running) -> None:
        self._uploads = uploads
        self._session = session
        self._handle = handle
        self._running = running
        self._synced = self.start = running.size
        """Where this turn began: the session's durable end."""
        self._reserved = running.size
        """How far it may write without asking again; more than its bytes is the session's until it is given back."""
        os.lseek(handle, self.start, os.SEEK_SET)

    @property
    def size(self) -> int:
        """Bytes so far, durable or not."""
        return self._running.size

    def write(self, blocks: Sequence[bytes]) -> None:
        """Add bytes. Raises OSError: the session must be discarded then; PolicyError: it stays as it was."""
        wanted = self.size + sum(map(len, blocks))
        if wanted > self._reserved:
            try:
                self._reserved = self._uploads.reserve(self._session, wanted)
            except PolicyError:
                self.rewind()
                raise
        for block in blocks:
            durable.write_all(self._handle, block)
            self._running.add(block)
        if self.size - self._synced > SYNC_BYTES:
            self._sync()

    def save(self) -> int:
        """Make what was written durable and return the session's size."""
        self._sync()
        if self.start == 0:
            durable.sync_folder(self._uploads.files.incoming)  # its file may be new
        self._uploads.save(self._session.id, self._running, self.size)
        self._reserved = 0
        self.close()
        return self.size

    def rewind(self) -> None:
        """Forget what this turn wrote."""
        os.ftruncate(self._handle, self.start)
        self.close()

    def commit(self, digest: Digest) -> int:
        """Make the bytes a blob of the repository and return its size. Raises DigestMismatchError: it is over then.

        Raises PolicyError: it stays as it was.
        """
        running = self._running
        if running.algorithm != digest.algorithm:  # not announced when the upload began
            running = Running.of_file(digest.algorithm, self._handle)
        if running.digest != digest:
            self.discard()
            raise DigestMismatchError(digest, running.digest)
        self._uploads.check(self._session, digest, running.size)  # refused before the file moves
        with self._uploads.files.publishing(self._handle, self._uploads.path(self._session.id), digest):
            self._uploads.finish(self._session.id, self._session.repository, digest, running.size)
        self._reserved = 0
        self.close()
        return running.size

    def discard(self) -> None:
        """End the session and free its space at once."""
        try:
            durable.remove(self._uploads.path(self._session.id))
            self._uploads.end(self._session.id)
            self._reserved = 0
        finally:
            self.close()

    def close(self) -> None:
        """Let others write, and give back what was reserved in vain; a no-op after save, commit or discard."""
        if self._handle < 0:
            return
        try:
            if self._reserved > self.start:
                with suppress(OSError):  # whoever needs it finds that nobody writes here
                    self._uploads.give_back(self._session.id)
        finally:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sync(self) -> None:
        os.fdatasync(self._handle)
        self._synced = self.size
