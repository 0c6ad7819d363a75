"""A reproducible tar from files and bytes: sorted names, no times, no owners, two modes.

The same members give the same bytes on any machine, whatever its umask, time zone or user. Folders are members too, so
that unpacking as root under a narrow umask still gives a tree that other users can run.

>>> tree = Tree("dryport-kit-0.1.0")
>>> tree.add("bin/dryport", b"#!/bin/sh", executable=True)
>>> tree.add("LICENSES", b"...")
>>> durable.replace(path, tree.tar())
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

BLOCK = 1 << 20
SUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class _Member:
    source: bytes | Path
    executable: bool

    def blocks(self) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            yield self.source
            return
        with self.source.open("rb") as file:
            while block := file.read(BLOCK):
                yield block

    def size(self) -> int:
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


class Tree:
    """Files by name below one top folder. `SHA256SUMS` is added by itself and names every other file."""

    def __init__(self, top: str) -> None:
        self.top = top
        self._members: dict[str, _Member] = {}

    def add(self, name: str, source: bytes | Path, *, executable: bool = False) -> None:
        """Put bytes, or a file's content at the time of writing, under `name`."""
        if name in self._members or name == SUMS:
            raise ValueError(f"two files named {name}")
        self._members[name] = _Member(source, executable)

    def sums(self) -> bytes:
        """Return the checksums as `sha256sum -c` reads them."""
        lines = []
        for name, member in sorted(self._members.items()):
            digest = hashlib.sha256()
            for block in member.blocks():
                digest.update(block)
            lines.append(f"{digest.hexdigest()}  {name}\n")
        return "".join(lines).encode()

    def tar(self) -> Iterator[bytes]:
        """Yield the tar's bytes."""
        members = self._members | {SUMS: _Member(self.sums(), executable=False)}
        folders = {str(parent) for name in members for parent in PurePosixPath(self.top, name).parents} - {"."}
        files = {f"{self.top}/{name}": member for name, member in members.items()}
        written = 0
        for name in sorted(folders | files.keys()):
            blocks = _folder(name) if name in folders else _file(name, files[name])
            for block in blocks:
                written += len(block)
                yield block
        end = 2 * tarfile.BLOCKSIZE
        yield bytes(end + -(written + end) % tarfile.RECORDSIZE)


def _folder(name: str) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.type, header.mode = tarfile.DIRTYPE, 0o755
    yield header.tobuf(tarfile.USTAR_FORMAT)


def _file(name: str, member: _Member) -> Iterator[bytes]:
    header = tarfile.TarInfo(name)
    header.size, header.mode = member.size(), 0o755 if member.executable else 0o644
    yield header.tobuf(tarfile.USTAR_FORMAT)
    yield from member.blocks()
    yield bytes(-header.size % tarfile.BLOCKSIZE)
