"""A disk that refuses: the n-th thing asked of it fails, and so does all that follows if it stays so.

Counted are the calls that need the disk to take something: a new file or folder, bytes, a name, a sync. What SQLite
asks is counted too, by its own seam for tests (`xSetSystemCall`), where Python's SQLite is a library that can be found.
Removing works on: what is full can be emptied.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

LASTING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""With these a disk refuses until somebody does something; EIO comes and goes."""
_CALLS = ("write", "pwrite", "ftruncate", "posix_fallocate", "fsync", "fdatasync", "rename", "replace", "link", "mkdir")


@dataclass
class Disk:
    """Counts steps, and refuses from the `last` one on."""

    error: int
    last: int
    asked: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def takes(self, what: str) -> bool:
        """Count a step; say whether the disk does it."""
        self.asked.append(what)
        number = len(self.asked)
        refuses = number >= self.last if self.error in LASTING else number == self.last
        if refuses:
            self.refused.append(what)
        return not refuses


@contextmanager
def refusing(error: int, last: int) -> Iterator[Disk]:
    """Let the disk refuse at the `last` step."""
    disk = Disk(error, last)
    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            patch.setattr(os, name, _refused(disk, name, getattr(os, name), lambda *_: True))
        patch.setattr(os, "open", _refused(disk, "open", os.open, _makes_a_file))
        with _sqlite_refusing(disk):
            yield disk


def _refused(disk: Disk, name: str, call: Callable[..., Any], counts: Callable[..., bool]) -> Callable[..., Any]:
    def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the call takes and returns
        if counts(*arguments) and not disk.takes(name):
            raise OSError(disk.error, os.strerror(disk.error), None if isinstance(arguments[0], int) else arguments[0])
        return call(*arguments, **options)

    return run


def _makes_a_file(path: Any, flags: int, *_: object) -> bool:  # noqa: ANN401 - a path, or what becomes one
    return bool(flags & os.O_CREAT) and not os.path.lexists(path)


class _Vfs(ctypes.Structure):
    """sqlite3_vfs of version 3, as far as its last member that is used here."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p),
        ("zName", ctypes.c_char_p),
        ("pAppData", ctypes.c_void_p),
        ("methods", ctypes.c_void_p * 13),
        ("xSetSystemCall", ctypes.c_void_p),
        ("xGetSystemCall", ctypes.c_void_p),
    )


_PWRITE = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True
)


@contextmanager
def _sqlite_refusing(disk: Disk) -> Iterator[None]:
    library = _library()
    if library is None:
        yield
        return
    vfs = ctypes.cast(library.sqlite3_vfs_find(None), ctypes.POINTER(_Vfs))
    place = ctypes.POINTER(_Vfs)
    getter = ctypes.CFUNCTYPE(ctypes.c_void_p, place, ctypes.c_char_p)(vfs.contents.xGetSystemCall)
    setter = ctypes.CFUNCTYPE(ctypes.c_int, place, ctypes.c_char_p, ctypes.c_void_p)(vfs.contents.xSetSystemCall)
    name = next(name for name in (b"pwrite64", b"pwrite") if getter(vfs, name))
    real = _PWRITE(getter(vfs, name))

    @_PWRITE
    def pwrite(handle: int, data: int, count: int, offset: int) -> int:
        if disk.takes("SQLite's write"):
            return int(real(handle, data, count, offset))
        ctypes.set_errno(disk.error)
        return -1

    setter(vfs, name, ctypes.cast(pwrite, ctypes.c_void_p))
    try:
        yield
    finally:
        setter(vfs, name, None)


def _library() -> ctypes.CDLL | None:
    """Return the library that Python's SQLite is; None where it is built in, and nobody can reach it."""
    import _sqlite3  # noqa: PLC0415 - only to be asked where it is

    for name in ("libsqlite3.so.0", getattr(_sqlite3, "__file__", None)):
        try:
            library = ctypes.CDLL(name, mode=os.RTLD_NOLOAD) if name else None
        except OSError:
            continue
        if library is not None and hasattr(library, "sqlite3_vfs_find"):
            library.sqlite3_vfs_find.restype = ctypes.c_void_p
            return library
    return None
