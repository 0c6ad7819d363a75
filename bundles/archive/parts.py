"""Where a bundle grows: under `<name>.part`, as one file or as volumes, until all of it is right.

Both kinds are written by position in the tar and published whole. Volumes get their headers last, so that a part never
looks like a volume; a publication that was cut off is taken up by the next build.

>>> with opened(Path("plane-1.0.0.tar"), size, volume_bytes=4 << 30) as part: part.write(0, b"...")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from bundles.archive.volumes import HEADER_BYTES, Cut, Header
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
        finals = [destination.with_name(cut.name(destination.name, number)) for number in range(1, cut.count + 1)]
        for final in finals:
            part = durable.Preallocated.part_of(final)
            if final.exists() and not part.exists():  # published, and then the build was cut off
                durable.move(final, part)
        sizes = [HEADER_BYTES + end - begin for begin, end in map(cut.slice, range(1, cut.count + 1))]
        files = [durable.Preallocated(*pair) for pair in zip(finals, sizes, strict=True)]
        yield _Several(cut, [stack.enter_context(file) for file in files])


def parts_of(destination: Path, size: int, volume_bytes: int | None = None) -> list[Path]:
    """Return where a bundle grows, file by file."""
    if volume_bytes is None:
        return [durable.Preallocated.part_of(destination)]
    cut = Cut.of(size, volume_bytes)
    names = [cut.name(destination.name, number) for number in range(1, cut.count + 1)]
    return [durable.Preallocated.part_of(destination.with_name(name)) for name in names]


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
