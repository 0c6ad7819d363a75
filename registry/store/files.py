"""The content store's files: `blobs/<algorithm>/<hex>`, verified and durable before they get that name.

A file with a final name therefore always had its digest; storing it again replaces it by verified bytes, which mends
a damaged one. Partial files carry a lock while their writer lives, so that a sweep can tell orphans from work.

A file's time of change is its lease: every look at it from outside renews it, and collection leaves alone what was
looked at lately. Whoever gives a file its name holds that digest's lock until its row is committed; whoever takes a
file away holds it too, so that no row ever speaks of a file that is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.content import Content, Extent
from registry.oci.digest import Digest
from registry.store import durable, intake

RENEW_SECONDS = 300.0
"""A lease younger than this is not renewed: that keeps looks cheap, and is far below any lease's length."""
_SHARD_DIGITS = 3
_SEQUENTIAL = 1 << 20
log = logging.getLogger("dryport.store")


def _untold(_: int) -> None:
    pass


def place_of(folder: Path, digest: Digest) -> Path:
    """Return where a store in this folder has content of this digest; a parsed digest holds nothing but hex."""
    return folder / "blobs" / digest.algorithm / digest.hex


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

    @property
    def extent(self) -> Extent:
        """Where its bytes lie (implements registry.content.Located)."""
        return Extent(self._handle, 0, self._size)

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

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] = time.time,
        is_known: Callable[[Digest], bool] = lambda _: True,
    ) -> None:
        self.folder = folder
        self.is_known = is_known
        """Says whether a row speaks of content: what has none, and was just stored for one, goes again."""
        self.incoming = folder / "incoming"
        self.blobs = folder / "blobs"
        self.clock = clock
        self._locks = folder / "index.locks"
        for place in (self.incoming, self.blobs / "sha256", self.blobs / "sha512"):
            durable.make_folder(place)
            durable.sync_folder(place.parent)  # another process may have made it and not got that far
        self.sweep()

    def path(self, digest: Digest) -> Path:
        """Return where content of this digest lies."""
        return place_of(self.folder, digest)

    @contextmanager
    def held(self, digest: Digest) -> Iterator[None]:
        """Keep everybody else, in any process, from naming or removing this file (and some others)."""
        handle = os.open(self._locks, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # A lock of the open file, not of the process: threads of one process wait for each other too.
            place = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, int(digest.hex[:_SHARD_DIGITS], 16), 1, 0)
            fcntl.fcntl(handle, fcntl.F_OFD_SETLKW, place)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def storing(self, digest: Digest, chunks: Iterable[bytes]) -> Iterator[int]:
        """Store content durably and give its size; inside, the caller commits its row.

        Raises DigestMismatchError and then leaves nothing behind.
        """
        with durable.temporary(self.incoming) as (handle, part):
            size = intake.write(handle, digest, chunks)
            with self.publishing(handle, part, digest):
                yield size

    def adopt(self, blocks: Iterable[bytes]) -> tuple[Digest, int]:
        """Store content durably under whatever sha256 digest it has; return that, and the size."""
        hasher, size = hashlib.sha256(), 0
        with durable.temporary(self.incoming) as (handle, part):
            for block in blocks:
                hasher.update(block)
                durable.write_all(handle, block)
                size += len(block)
            digest = Digest("sha256", hasher.hexdigest())
            with self.publishing(handle, part, digest):
                return digest, size

    @contextmanager
    def taking(self, digest: Digest, content: Content, tell: intake.Tell = _untold) -> Iterator[intake.Taken]:
        """Store what lies elsewhere, sharing its disk where that can be; otherwise as `storing`.

        Raises DigestMismatchError, and what the content raises; then leaves nothing behind.
        """
        with durable.temporary(self.incoming) as (handle, part):
            taken = intake.take(handle, digest, content, tell)
            with self.publishing(handle, part, digest):
                yield taken

    def can_share(self, extent: Extent) -> bool:
        """Say whether this store can share the disk of a stretch of a file: its first block is tried."""
        with durable.temporary(self.incoming) as (handle, _):
            return durable.share(extent.handle, extent.offset, min(extent.size, durable.SHARED_BLOCK), handle) > 0

    def copy_from(self, path: Path, digest: Digest) -> None:
        """Take over a file from elsewhere on this machine. Raises DigestMismatchError, FileNotFoundError."""
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        content = StoredContent(handle, os.fstat(handle).st_size)
        try:
            with self.taking(digest, content):
                pass
        finally:
            content.close()

    def is_whole(self, digest: Digest, size: int) -> bool:
        """Say whether the file is there in its full size; its lease is not renewed."""
        try:
            return self.path(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    @contextmanager
    def publishing(self, handle: int, part: Path, digest: Digest) -> Iterator[None]:
        """Give a verified file its final name, durably, with a fresh lease; inside, the caller commits its row.

        If that fails, the file goes again, and its space is free at once.
        """
        os.fdatasync(handle)  # the long part, before the lock
        with self.held(digest):
            try:
                self._renew(handle)
                durable.publish(handle, part, self.path(digest))
                yield
            except BaseException:
                with suppress(OSError):  # collection finds it, too
                    if not self.is_known(digest):
                        self.path(digest).unlink(missing_ok=True)
                raise

    def open(self, digest: Digest, size: int) -> StoredContent | None:
        """Open content of known size; None (and a line in the log) if the file is lost or cut."""
        try:
            handle = os.open(self.path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            log.error("content %s has a row but no file", digest)  # noqa: TRY400 - the trace says nothing more
            return None
        seen = os.fstat(handle)
        if seen.st_size != size:
            os.close(handle)
            log.error("content %s has %d bytes on disk, %d expected", digest, seen.st_size, size)
            return None
        self._touch(handle, seen)
        if size > _SEQUENTIAL:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return StoredContent(handle, size)

    def holds(self, digest: Digest, size: int) -> bool:
        """Say whether the file is there in its full size; whoever is told so may rely on it for a lease."""
        path = self.path(digest)
        try:
            seen = path.stat()
        except FileNotFoundError:
            return False
        self._touch(path, seen)
        return seen.st_size == size

    def touch(self, digest: Digest) -> None:
        """Renew a lease; for whoever answers from memory, at least as often as RENEW_SECONDS."""
        with suppress(FileNotFoundError):
            self._touch(self.path(digest), self.path(digest).stat())

    def is_leased(self, path: Path, seconds: float) -> bool:
        """Say whether a file is there and was stored or looked at within the last `seconds`."""
        try:
            age = self.clock() - path.stat().st_mtime
        except FileNotFoundError:
            return False
        if age < 0:  # a clock that was set back would keep it for ever: its lease begins again
            self._renew(path)
        return age < seconds

    def _touch(self, target: int | Path, seen: os.stat_result) -> None:
        if abs(self.clock() - seen.st_mtime) > RENEW_SECONDS:
            self._renew(target)

    def _renew(self, target: int | Path) -> None:
        with suppress(OSError):  # a disk that takes nothing has no collection either
            os.utime(target, (self.clock(), self.clock()))

    def sweep(self) -> None:
        """Remove partial files whose writer died."""
        for folder in (self.incoming, self.folder):
            durable.sweep(folder)
