"""The content store's files: `blobs/<algorithm>/<hex>`, verified and durable before they get that name.

A file with a final name therefore always had its digest; storing it again replaces it by verified bytes, which mends
a damaged one. Partial files carry a lock while their writer lives, so that a sweep can tell orphans from work.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

from registry.oci.digest import Digest
from registry.store import durable
from registry.store.faults import DigestMismatchError

ORPHAN_SECONDS = 60
_SEQUENTIAL = 1 << 20
log = logging.getLogger("dryport.store")


class StoredContent:
    """One blob's file, open for reading; a later removal of the name does not disturb it."""

    def __init__(self, handle: int, size: int) -> None:
        self._handle = handle
        self._size = size

    @property
    def handle(self) -> int:
        """The open file, for whoever lets the system send from it; it stays this content's to close."""
        return self._handle

    @property
    def size(self) -> int:
        """Exact size in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end."""
        parts = []
        while length > 0 and (part := os.pread(self._handle, length, offset)):
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class Files:
    """All content files of one store."""

    def __init__(self, folder: Path) -> None:
        self.incoming = folder / "incoming"
        self._blobs = folder / "blobs"
        for place in (self.incoming, self._blobs / "sha256", self._blobs / "sha512"):
            durable.make_folder(place)
            durable.sync_folder(place.parent)  # another process may have made it and not got that far
        self._sweep()

    def path(self, digest: Digest) -> Path:
        """Return where content of this digest lies; a parsed digest holds nothing but hex."""
        return self._blobs / digest.algorithm / digest.hex

    def write(self, digest: Digest, chunks: Iterable[bytes]) -> int:
        """Store content durably and return its size. Raises DigestMismatchError and then leaves nothing behind."""
        hasher = digest.hasher()
        size = 0
        with durable.temporary(self.incoming) as (handle, part):
            fcntl.flock(handle, fcntl.LOCK_EX)
            for chunk in chunks:
                hasher.update(chunk)
                durable.write_all(handle, chunk)
                size += len(chunk)
            seen = Digest(digest.algorithm, hasher.hexdigest())
            if seen != digest:
                raise DigestMismatchError(digest, seen)
            durable.publish(handle, part, self.path(digest))
        return size

    def open(self, digest: Digest, size: int) -> StoredContent | None:
        """Open content of known size; None (and a line in the log) if the file is lost or cut."""
        try:
            handle = os.open(self.path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            log.error("content %s has a row but no file", digest)  # noqa: TRY400 - the trace says nothing more
            return None
        seen = os.fstat(handle).st_size
        if seen != size:
            os.close(handle)
            log.error("content %s has %d bytes on disk, %d expected", digest, seen, size)
            return None
        if size > _SEQUENTIAL:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return StoredContent(handle, size)

    def holds(self, digest: Digest, size: int) -> bool:
        """Say whether the file is there in its full size."""
        try:
            return self.path(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def _sweep(self) -> None:
        """Remove partial files whose writer died."""
        for part in self.incoming.glob(f"{durable.TEMPORARY}*"):
            if is_orphan(part):
                durable.remove(part)


def is_orphan(part: Path) -> bool:
    """Say whether nobody writes this file: not locked, and not so young that its writer may be about to lock it."""
    try:
        handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if abs(time.time() - os.fstat(handle).st_mtime) < ORPHAN_SECONDS:
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(handle)
