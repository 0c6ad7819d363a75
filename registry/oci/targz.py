"""A folder as tar.gz whose bytes depend on names, contents and the owner's executable bit alone.

* Members are sorted; times and owners are zero; modes are 0644 or 0755, folders 0755. Umask, locale, machine and day
  leave no trace. Folders appear only above a file: git carries no empty ones.
* The gzip stream is stored, not deflated: zlib and its faster kin compress the same input to different bytes, and a
  lock made on one machine must hold on the next. What is big in a pack is compressed already.
* Dotfiles and `__pycache__` are left out; links and special files are refused, because no reader would follow them.

>>> sum(map(len, folder_archive(Path("packs/web-1.0.0"), "web-1.0.0")))
20604
"""

from __future__ import annotations

import os
import stat
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from registry.errors import DefinitionError

# RFC 1952: deflate, no flags, no time, no extra flags, operating system unknown.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_STORED_BYTES = 65535  # RFC 1951, 3.2.4: what one stored block can hold
_READ_BYTES = 16 * _STORED_BYTES
_TAR_BLOCK = 512
_READABLE = "let this user read the whole folder, then run the same command again"


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A file that belongs to the archive: its name below the folder, and where it lies."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A file that belongs to the archive and is in memory."""

    name: str
    data: bytes
    is_executable: bool = False


def members(folder: Path) -> tuple[Member, ...]:
    """Return the files that an archive of `folder` holds, in its order. Raises DefinitionError with every fault."""
    found: list[Member] = []
    faults: list[DefinitionError] = []
    try:
        _walk(folder, "", found, faults)
    except OSError as error:
        raise DefinitionError(
            "folder-unreadable", error.strerror or str(error), where=str(error.filename), hint=_READABLE
        ) from error
    if faults:
        raise DefinitionError(
            "folder-not-portable",
            f"{len(faults)} name(s) cannot be carried",
            where=str(folder),
            findings=faults,
            hint="replace links by the files they mean and remove what is no file",
        )
    return tuple(sorted(found))


def folder_archive(folder: Path, prefix: str, more: Iterable[Held] = ()) -> Iterator[bytes]:
    """Yield the tar.gz of `folder` and of `more` beside it, every name below `prefix`; no name may be in both.

    Raises DefinitionError for links, special files, names that are not UTF-8, or a file that changes while it is read.
    """
    return _gzip(_tar(sorted([*members(folder), *more], key=lambda one: one.name), prefix))


def _walk(folder: Path, above: str, found: list[Member], faults: list[DefinitionError]) -> None:
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or entry.name == "__pycache__":
            continue
        name, path = above + entry.name, Path(entry.path)
        if not is_portable(entry.name):
            faults.append(DefinitionError("name-not-portable", "a name is not plain UTF-8 text", where=repr(name)))
        elif entry.is_dir(follow_symlinks=False):
            _walk(path, f"{name}/", found, faults)
        elif entry.is_file(follow_symlinks=False):
            found.append(Member(name, path))
        else:
            what = "link" if entry.is_symlink() else "special file"
            faults.append(DefinitionError("not-a-file", f"a {what} is not carried", where=name))


def is_portable(name: str) -> bool:
    """Say whether a name is text that any file system and archive carries."""
    return name.isprintable() and "\\" not in name and not any("\ud800" <= char <= "\udfff" for char in name)


def _tar(files: Iterable[Member | Held], prefix: str) -> Iterator[bytes]:
    made: set[str] = set()
    for member in files:
        name = f"{prefix}/{member.name}"
        for end in (place for place, char in enumerate(name) if char == "/"):
            if name[:end] not in made:
                made.add(name[:end])
                yield _header(name[:end], tarfile.DIRTYPE, 0o755, 0)
        yield from _file(member, name) if isinstance(member, Member) else _held(member, name)
    yield bytes(2 * _TAR_BLOCK)


def _held(held: Held, name: str) -> Iterator[bytes]:
    yield _header(name, tarfile.REGTYPE, 0o755 if held.is_executable else 0o644, len(held.data))
    yield held.data
    yield bytes(-len(held.data) % _TAR_BLOCK)


def _file(member: Member, name: str) -> Iterator[bytes]:
    # The name was judged before: O_NOFOLLOW and O_NONBLOCK keep a link or a pipe that took its place from being read.
    try:
        handle = os.open(member.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise DefinitionError(
            "folder-unreadable", error.strerror or str(error), where=str(member.path), hint=_READABLE
        ) from error
    with os.fdopen(handle, "rb") as stream:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise _changed(member)
        yield _header(name, tarfile.REGTYPE, 0o755 if state.st_mode & stat.S_IXUSR else 0o644, state.st_size)
        left = state.st_size
        while left:
            block = stream.read(min(left, _READ_BYTES))
            if not block:
                raise _changed(member)
            left -= len(block)
            yield block
        if stream.read(1):
            raise _changed(member)
        yield bytes(-state.st_size % _TAR_BLOCK)


def _changed(member: Member) -> DefinitionError:
    return DefinitionError(
        "file-changed", "a file changed while it was read", where=str(member.path), hint="run the same command again"
    )


def _header(name: str, kind: bytes, mode: int, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size = kind, mode, size
    return info.tobuf(tarfile.PAX_FORMAT)


def _gzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Frame `blocks` as stored gzip; the blocks are cut anew, so that how the input was cut does not show."""
    yield _GZIP_HEADER
    checksum = length = 0
    waiting = bytearray()
    for block in blocks:
        checksum, length = zlib.crc32(block, checksum), length + len(block)
        waiting += block
        whole = len(waiting) - len(waiting) % _STORED_BYTES
        if whole:
            yield b"".join(_stored(waiting[at : at + _STORED_BYTES]) for at in range(0, whole, _STORED_BYTES))
            del waiting[:whole]
    yield _stored(waiting, last=True) + struct.pack("<II", checksum, length & 0xFFFFFFFF)


def _stored(data: bytearray, *, last: bool = False) -> bytes:
    return struct.pack("<BHH", last, len(data), len(data) ^ 0xFFFF) + data
