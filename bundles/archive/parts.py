"""Where a bundle grows: under `<name>.part`, as one file or as volumes, until all of it is right.

Both kinds are written by position in the tar and published whole. Volumes get their headers last, so that a part never
looks like a volume; a publication that was cut off is taken up by the next build.

>>> with opened(Path("plane-1.0.0.tar"), size, volume_bytes=4 << 30) as part: part.write(0, b"...")
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from bundles.archive.volumes import HEADER_BYTES, Cut, Header, named
from registry.errors import SiteError
from registry.oci.digest import Digest
from registry.store import durable


class Part(Protocol):
    """A bundle that grows."""

    def clear(self) -> None:
        """Make all of it one hole."""

    def has_data(self, offset: int, length: int) -> bool:
        """Say whether anything was ever written in a range; True where the file system cannot tell."""

    def read(self, offset: int, length: int) -> bytes:
        """Return what is in a range; holes read as zeros."""

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes at their place; not yet durable."""

    def publish(self, index: Digest) -> None:
        """Make all of it durable and give it its final name."""


@contextmanager
def opened(destination: Path, size: int, volume_bytes: int | None = None) -> Iterator[Part]:
    """Give the part of a bundle. Raises BlockingIOError if another build has it."""
    with ExitStack() as stack:
        if volume_bytes is None:
            yield _Single(stack.enter_context(durable.Preallocated(destination, size)))
            return
        cut = Cut.of(size, volume_bytes)
        sizes = finals(destination, size, volume_bytes)
        for final in reversed(sizes):  # the first one last: by its head, a next build knows what the others were
            part = durable.Preallocated.part_of(final)
            if final.exists() and not part.exists():  # published, and then the build was cut off
                durable.move(final, part)
        yield _Several(cut, [stack.enter_context(durable.Preallocated(*pair)) for pair in sizes.items()])


def finals(destination: Path, size: int, volume_bytes: int | None = None) -> dict[Path, int]:
    """Return the files that a bundle of `size` bytes becomes, and their sizes."""
    if volume_bytes is None:
        return {destination: size}
    cut = Cut.of(size, volume_bytes)
    return {
        destination.with_name(cut.name(destination.name, number)): HEADER_BYTES + end - begin
        for number, (begin, end) in enumerate(cut.slices, start=1)
    }


def require_room(destination: Path, files: Mapping[Path, int], hole: int = 0) -> None:
    """Raise SiteError `space-short` if the disk has no room for what of `files` is not there yet, but for a hole.

    Raises `bundle-exists` if volumes of another cut lie there, which a reader would take for this bundle's.
    """
    if others := [one for one in named(destination.name, [destination.parent]) if one not in files]:
        raise SiteError(
            "bundle-exists",
            "a bundle of this name is there, cut otherwise; both together could not be read",
            where=str(others[0]),
            expected=f"none but {len(files)} file(s) like {next(iter(files)).name}",
            seen=f"{len(others)} other(s)",
            hint=f"give another place; or, if nobody needs them: rm {shlex.join(map(str, others))}",
        )
    about = os.statvfs(destination.parent)
    free = about.f_bavail * about.f_frsize
    needed = -hole
    for final, size in files.items():
        part = durable.Preallocated.part_of(final)
        there = durable.allocated(part) if part.exists() or len(files) == 1 else durable.allocated(final)
        needed += -(-size // about.f_frsize) * about.f_frsize - there
    if needed > free:
        raise SiteError(
            "space-short",
            "the destination has too little free space for the bundle",
            where=str(destination.parent),
            expected=f"{needed} bytes free",
            seen=f"{free} bytes free",
            hint=f"free {needed - free} bytes there, or give another place",
        )


class _Single:
    """One file."""

    def __init__(self, file: durable.Preallocated) -> None:
        self._file = file
        self.clear, self.has_data, self.read, self.write = file.clear, file.has_data, file.read, file.write

    def publish(self, index: Digest) -> None:  # noqa: ARG002 - the file itself says what it is
        self._file.publish()


class _Several:
    """Volumes, in their order."""

    def __init__(self, cut: Cut, files: list[durable.Preallocated]) -> None:
        self._cut, self._files = cut, files

    def clear(self) -> None:
        for file in self._files:
            file.clear()

    def has_data(self, offset: int, length: int) -> bool:
        return any(self._files[one - 1].has_data(at, size) for one, at, size in self._cut.pieces(offset, length))

    def read(self, offset: int, length: int) -> bytes:
        return b"".join(self._files[one - 1].read(at, size) for one, at, size in self._cut.pieces(offset, length))

    def write(self, offset: int, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        for one, at, size in self._cut.pieces(offset, len(data)):
            self._files[one - 1].write(at, rest[:size])
            rest = rest[size:]

    def publish(self, index: Digest) -> None:
        for number, file in enumerate(self._files, start=1):
            file.write(0, Header.of(self._cut, number, index).encode())
            file.publish()
