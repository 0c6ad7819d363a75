"""The playbooks of a verified bundle become files in a private folder: the one place where names become paths.

Only regular files and the folders above them are made. A name that is absolute, climbs, is too long, comes twice, or
lies below a file is refused, and so is every link, device and oversize: the pack is signed, and still is not trusted
with the disk.

>>> unpack(stream, folder)
('playbooks/step.yml', ...)
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from registry.errors import MediaError
from registry.store import durable

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,99}")
DEPTH = 12


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a pack may hold."""

    files: int = 5000
    bytes: int = 64 << 20


def unpack(stream: BinaryIO, folder: Path, limits: Limits | None = None) -> tuple[str, ...]:
    """Write the regular files of a tar.gz below `folder`; return their names. Raises MediaError."""
    names = []
    for name, data in _files(stream, limits or Limits()):
        _write(folder, name, data)
        names.append(name)
    return tuple(names)


def listed(stream: BinaryIO, limits: Limits | None = None) -> tuple[str, ...]:
    """Return the names that `unpack` would write, and write nothing. Raises MediaError."""
    return tuple(name for name, _ in _files(stream, limits or Limits()))


def _files(stream: BinaryIO, limits: Limits) -> Iterator[tuple[str, bytes]]:
    count = total = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|gz") as archive:
            for member in archive:
                if member.isdir():
                    continue  # folders come with their files
                name = safe_name(member)
                count, total = count + 1, total + member.size
                if count > limits.files or total > limits.bytes:
                    raise _refused(f"more than {limits.files} files or {limits.bytes} bytes")
                content = archive.extractfile(member)
                if content is None:
                    raise _refused(f"{name} has no content")
                yield name, content.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _refused(str(error)) from error


def safe_name(member: tarfile.TarInfo) -> str:
    """Return a member's name if it is a regular file's and stays below its folder. Raises MediaError."""
    if not member.isreg():
        raise _refused(f"{member.name[:200]!r} is no regular file")
    parts = member.name.removeprefix("./").split("/")
    if len(parts) > DEPTH or not all(_PART.fullmatch(part) for part in parts):
        raise _refused(f"the name {member.name[:200]!r}")
    return "/".join(parts)


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    try:
        durable.make_folder(path.parent, 0o700)
        durable.create(path, data, 0o600)
    except (FileExistsError, NotADirectoryError) as error:
        raise _refused(f"{name} comes twice, or lies below a file") from error


def _refused(seen: str) -> MediaError:
    return MediaError(
        "playbooks-refused",
        "the bundle's playbooks are not files as they should be",
        seen=seen,
        hint="tell whoever made the bundle",
    )
