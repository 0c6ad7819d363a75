"""The one door to durable disk: nothing else in dryport opens a file for writing or renames one.

Order, never changed: temporary file on the same filesystem, write, fsync the file, rename, fsync the folder. When a
function here returns, what it wrote survives a power cut; when it raises, the old content is whole.
After a failed fsync the pages may be marked clean, so nothing is retried: the caller starts over.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

TEMPORARY = ".part-"
"""Prefix of files that a crash may leave; they are locked while their writer lives, and swept when it died."""
ORPHAN_SECONDS = 60
SHARED_BLOCK = 4096
"""What file systems that share disk share at least, as they are made on nearly every machine."""
_PROBE_BYTES = 1 << 16
_FICLONERANGE = 0x4020940D
"""linux/fs.h, with struct file_clone_range; the same on all architectures we know."""


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path, mode: int = 0o755) -> None:
    """Make a folder and the missing ones above it, each durable in its parent; an existing one is left as it is."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(mode, exist_ok=True)
        sync_folder(path.parent)


@contextmanager
def temporary(folder: Path, mode: int = 0o644) -> Iterator[tuple[int, Path]]:
    """Give an empty file, open for reading and writing, locked; it is removed at the end unless `publish` moved it."""
    path = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as error:  # nobody knows the temporary name; the folder is what refuses
        raise OSError(error.errno, error.strerror, str(folder)) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle, path
    finally:
        os.close(handle)
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what writers left who died before they gave it its name."""
    for part in folder.glob(f"{TEMPORARY}*"):
        if is_orphan(part):
            remove(part)


def refusal(folder: Path) -> int | None:
    """Return with which error number a folder's disk takes nothing at present; None if it takes something."""
    try:
        with temporary(folder) as (handle, _):
            os.posix_fallocate(handle, 0, _PROBE_BYTES)
            os.fsync(handle)
    except OSError as error:
        return error.errno
    return None


def is_orphan(part: Path) -> bool:
    """Say whether nobody writes this file: not locked, and not so young that its writer may be about to lock it."""
    try:
        return abs(time.time() - part.lstat().st_mtime) >= ORPHAN_SECONDS and not is_locked(part)
    except FileNotFoundError:
        return False


def is_locked(path: Path) -> bool:
    """Say whether somebody holds this file locked, or it cannot be looked at."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)


def open_partial(path: Path, mode: int = 0o644) -> int:
    """Open a file that grows over several turns, for reading and writing, and return its handle; make it if missing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def publish(handle: int, path: Path, final: Path) -> None:
    """Give a completely written temporary file its final name, durably; it replaces what had that name."""
    os.fsync(handle)
    path.rename(final)
    sync_folder(final.parent)  # should the former name come back, too, it is swept


def replace(path: Path, data: bytes | Iterable[bytes], mode: int = 0o644, *, keeps_owner: bool = False) -> None:
    """Make `data` the content of `path`, all or nothing; it can keep the owner and the mode of what it replaces."""
    with temporary(path.parent, mode) as (handle, part):
        if keeps_owner and path.exists():
            before = path.stat()
            os.fchmod(handle, stat.S_IMODE(before.st_mode))
            if os.geteuid() == 0:
                os.fchown(handle, before.st_uid, before.st_gid)
        for block in [data] if isinstance(data, bytes) else data:
            write_all(handle, block)
        publish(handle, part, path)


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Let one process at a time change a folder's files by what it read in them."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # over NFS, folders have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def create(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a new file, or none; raises FileExistsError and changes nothing if the name is taken."""
    with temporary(path.parent, mode) as (handle, part):
        write_all(handle, data)
        os.fsync(handle)
        os.link(part, path)
        try:
            sync_folder(path.parent)
        except OSError:
            path.unlink()
            raise


def scratch(path: Path, data: bytes) -> None:
    """Write a new file that nothing but this run reads; it need not survive a power cut. Raises FileExistsError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        write_all(handle, data)
    finally:
        os.close(handle)


def append(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Add `data` at the end of a file, in one write, and make it durable."""
    is_new = not path.exists()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    if is_new:
        sync_folder(path.parent)


def cut(path: Path, size: int) -> None:
    """Keep the first `size` bytes of a file alone, durably."""
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.ftruncate(handle, size)
        os.fsync(handle)
    finally:
        os.close(handle)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Replace bytes inside an existing file, durably but not atomically: for regions that can be written again."""
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        write_all(handle, data, offset)
        os.fsync(handle)
    finally:
        os.close(handle)


def allocate(path: Path, size: int, mode: int = 0o600) -> None:
    """Make a file of `size` bytes that really has its disk; raises OSError and leaves none if there is not enough."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.posix_fallocate(handle, 0, size)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


class Preallocated:
    """A file of known size, written once, in any order and by several threads, then published whole.

    It grows sparse under `<name>.part` beside its final name. Left without `publish`, the part stays: the next one to
    open it finds what was written, and must check it, since a crash may have kept any subset. One process at a time:
    a second one gets BlockingIOError. A part of another size is emptied.
    """

    def __init__(self, final: Path, size: int, mode: int = 0o644) -> None:
        self.final, self.size, self.mode = final, size, mode
        self.part = self.part_of(final)
        self._handle = -1

    @staticmethod
    def part_of(final: Path) -> Path:
        """Return the name under which a file grows."""
        return final.with_name(final.name + ".part")

    def __enter__(self) -> Self:
        while self._handle < 0:
            handle = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, self.mode)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Between open and lock another process may have published this very file.
                if self.part.exists() and os.path.samestat(os.fstat(handle), self.part.stat()):
                    self._handle, handle = handle, -1
            finally:
                if handle >= 0:
                    os.close(handle)
        try:
            if os.fstat(self._handle).st_size != self.size:
                self.clear()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def clear(self) -> None:
        """Make the whole file one hole, of the full size."""
        os.ftruncate(self._handle, 0)
        os.ftruncate(self._handle, self.size)

    def has_data(self, offset: int, length: int) -> bool:
        """Say whether anything was ever written in a range; True where the filesystem cannot tell."""
        try:
            return os.lseek(self._handle, offset, os.SEEK_DATA) < offset + length
        except OSError as error:
            return error.errno != errno.ENXIO

    def read(self, offset: int, length: int) -> bytes:
        """Return what is in a range; holes read as zeros."""
        return os.pread(self._handle, length, offset)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes at their place; not yet durable."""
        write_all(self._handle, data, offset)

    def publish(self) -> None:
        """Make all of it durable and give it its final name; it replaces what had that name."""
        publish(self._handle, self.part, self.final)


def settle(part: Path, final: Path) -> None:
    """Make a file that another library wrote durable and give it its final name; it replaces what had that name."""
    handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        publish(handle, part, final)
    finally:
        os.close(handle)


def move(path: Path, final: Path) -> None:
    """Give a file another name on the same disk, durably."""
    path.rename(final)
    sync_folder(final.parent)
    sync_folder(path.parent)


def keep(path: Path, folder: Path) -> None:
    """Let a folder, made if it is missing, have a file too, in place of one of its name; it takes no disk."""
    make_folder(folder, 0o700)
    part = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
    os.link(path, part)
    try:
        part.rename(folder / path.name)
    finally:
        part.unlink(missing_ok=True)  # where both were the same file, a rename does nothing
    sync_folder(folder)


def share(source: int, offset: int, size: int, target: int) -> int:
    """Make a stretch of one file the content of an empty one by sharing its disk, where the file system can.

    Return how many bytes are shared; the few behind the last whole block are copied. It is 0, and the target still
    empty, where the file system cannot (EOPNOTSUPP), the files lie on two of them (EXDEV), or the stretch does not
    begin at a block (EINVAL). Whoever writes into the source from now on does not change the target; whether the source
    was right before, the caller finds out by reading the target.
    """
    is_rest = offset + size == os.fstat(source).st_size  # the last block of a file is shared though it is not full
    whole = size if is_rest else size - size % SHARED_BLOCK
    if not whole or offset % SHARED_BLOCK:
        return 0  # the system takes a length of 0 as: to the end
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("qQQQ", source, offset, whole, 0))
        write_all(target, os.pread(source, size - whole, offset + whole), whole)
    except OSError:
        os.ftruncate(target, 0)
        return 0
    return whole


def allocated(path: Path) -> int:
    """Return how many bytes of disk a file holds, 0 if there is none; a hole holds none."""
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:
        return 0


def free(folder: Path) -> int:
    """Return how many bytes a folder's disk still takes from this user."""
    seen = os.statvfs(folder)
    return seen.f_bavail * seen.f_frsize


def remove(path: Path) -> None:
    """Remove a file, durably; one that is gone already is fine."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_all(handle: int, data: bytes | memoryview, offset: int | None = None) -> None:
    """Write every byte of `data`, at `offset` or at the file's position; a short write is continued."""
    rest = memoryview(data)
    while rest:
        written = os.write(handle, rest) if offset is None else os.pwrite(handle, rest, offset)
        rest = rest[written:]
        offset = None if offset is None else offset + written
