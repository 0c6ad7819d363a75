"""What holds a bundle, opened once, read-only, by position, by any number of threads: one file, or volumes of it.

Whatever the operating system or a short file answers becomes a MediaError that names the file and the bytes in it.
"""

from __future__ import annotations

import os
import stat
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundles.archive.volumes import HEADER_BYTES, Cut, Header, Volumes, find
from registry.errors import MediaError
from registry.oci.digest import Digest

BLOCK_BYTES = 1 << 20


class Medium:
    """An open bundle; a file put in its place later is not looked at.

    `path` names the file, one of the volumes, or what all volumes are named after; `folders` may hold more of them.
    """

    def __init__(self, path: Path, folders: Iterable[Path] = (), *, is_whole: bool = True) -> None:
        self.path = path
        self.volumes: Volumes | None = find(path, folders, is_whole=is_whole)
        self._handles: dict[int, int] = {}
        self._closing = weakref.finalize(self, _close, self._handles)
        self._sizes: dict[int, int] = {}
        try:
            for number, file in self.volumes.files.items() if self.volumes else ((1, path),):
                self._handles[number], self._sizes[number] = _opened(file)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Bytes of the tar; what volumes say of it until they are read."""
        return self.volumes.cut.total if self.volumes else self._sizes[1]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it consists of, as far as they were found."""
        return tuple(self.volumes.files.values()) if self.volumes else (self.path,)

    @property
    def slices(self) -> tuple[tuple[int, int], ...] | None:
        """How it is cut into volumes, if it is."""
        return self.volumes.cut.slices if self.volumes else None

    def close(self) -> None:
        """Close every file."""
        self._closing()

    def located(self, offset: int, length: int) -> tuple[int, int] | None:
        """Return the open file that holds a stretch in one piece, and where in it; the file stays this medium's."""
        pieces = list(self._pieces(offset, length))
        return (
            (self._handles[pieces[0][0]], pieces[0][1]) if len(pieces) == 1 and pieces[0][0] in self._handles else None
        )

    def file_at(self, offset: int) -> tuple[Path, int]:
        """Return the file that holds a byte of the tar, and where in it."""
        number, at, _ = next(self._pieces(offset, 1))
        return (self.volumes.files[number] if self.volumes else self.path), at

    def where(self, begin: int, end: int) -> str:
        """Spell a stretch of the tar for a person: files and the bytes in them, `end` being the first behind it."""
        if self.volumes is None:
            return f"{self.path} bytes {begin}-{end - 1}"
        named = [
            f"{self.volumes.files.get(number) or self.volumes.cut.name(self.volumes.base, number)} "
            f"bytes {at}-{at + size - 1}"
            for number, at, size in self._pieces(begin, max(1, end - begin))
        ]
        return ", ".join(named) or str(self.path)

    def read(self, offset: int, length: int, *, expected_size: int | None = None) -> bytes:
        """Return exactly `length` bytes.

        Raises MediaError: `bundle-truncated`, `volume-missing`, `volume-truncated`, or `medium-unreadable`.
        """
        blocks = []
        for number, at, size in self._pieces(offset, length):
            if number not in self._handles and self.volumes:
                raise self._absent(self.volumes, number)
            begin, end = at, at + size
            while begin < end:
                block = self._block(number, begin, end)
                if not block:
                    raise self._ended(number, offset + length, expected_size)
                blocks.append(block)
                begin += len(block)
        if sum(map(len, blocks)) < length:
            raise self.truncated(offset + length if expected_size is None else expected_size, exact=False)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def check_volumes(self, index: Digest, total: int) -> None:
        """Compare every volume's header and size with what a trusted index makes of them. Raises MediaError."""
        if self.volumes is None:
            return
        if self.volumes.missing:
            raise self._absent(self.volumes, self.volumes.missing[0])
        for number in self.unexpected(index, total):
            begin, end = self.volumes.cut.slice(number)
            raise MediaError(
                "volume-unexpected",
                "a volume is not what the signed metadata makes it",
                where=str(self.volumes.files[number]),
                expected=f"volume {number} of {self.volumes.cut.count} of {index}, {HEADER_BYTES + end - begin} bytes",
                seen=f"{self._sizes[number]} bytes",
                hint="copy this volume again from its origin",
            )

    def unexpected(self, index: Digest, total: int) -> list[int]:
        """Return the volumes whose header or size is not what a trusted index makes of them, missing ones too."""
        if self.volumes is None:
            return []
        cut, found = Cut(total, self.volumes.cut.payload), list(self.volumes.missing)
        for number in sorted(self.volumes.files):
            begin, end = cut.slice(number)
            expected = Header.of(cut, number, index).encode()
            is_right = self._sizes[number] == len(expected) + end - begin
            if not is_right or os.pread(self._handles[number], len(expected), 0) != expected:
                found.append(number)
        return found

    def truncated(self, expected: int, *, exact: bool) -> MediaError:
        """Return the error of a file that ends too early."""
        return MediaError(
            "bundle-truncated",
            "the bundle ends too early",
            where=str(self.path),
            expected=f"{'' if exact else 'at least '}{expected} bytes",
            seen=f"{self.size} bytes",
            hint="copy the bundle again; compare the file's size with the one that `dryport bundle build` printed",
        )

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        if self.volumes:
            return self.volumes.cut.pieces(offset, length)
        return iter([(1, offset, length)] if length else [])

    def _block(self, number: int, begin: int, end: int) -> bytes:
        try:
            return os.pread(self._handles[number], min(end - begin, 8 * BLOCK_BYTES), begin)
        except OSError as error:
            file = self.volumes.files[number] if self.volumes else self.path
            raise MediaError(
                "medium-unreadable",
                f"the medium does not give its bytes: {error.strerror}",
                where=f"{file} bytes {begin}-{end - 1}",
                hint="copy the bundle from the medium again, or use another medium",
            ) from error

    def _ended(self, number: int, end: int, expected_size: int | None) -> MediaError:
        if self.volumes is None:
            return self.truncated(end if expected_size is None else expected_size, exact=expected_size is not None)
        begin, stop = self.volumes.cut.slice(number)
        return MediaError(
            "volume-truncated",
            "a volume ends too early",
            where=str(self.volumes.files[number]),
            expected=f"{HEADER_BYTES + stop - begin} bytes",
            seen=f"{self._sizes[number]} bytes",
            hint="copy this volume again from its origin",
        )

    def _absent(self, volumes: Volumes, number: int) -> MediaError:
        begin, end = volumes.cut.slice(number)
        name = volumes.cut.name(volumes.base, number)
        return MediaError(
            "volume-missing",
            f"volume {number} of {volumes.cut.count} is not there",
            where=f"{self.path.parent / name}, bytes {begin}-{end - 1} of the bundle",
            hint="put it beside the others, or name its folder: --volume-dir DIR",
        )


def _opened(path: Path) -> tuple[int, int]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise MediaError(
            "bundle-missing" if isinstance(error, FileNotFoundError) else "medium-unreadable",
            f"the bundle cannot be opened: {error.strerror}",
            where=str(path),
            hint="check the path, and that the medium is mounted",
        ) from error
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        os.close(handle)
        raise MediaError(
            "not-a-bundle",
            "a bundle is a regular file",
            where=str(path),
            hint="check the path; a bundle is made by: dryport bundle build",
        )
    return handle, about.st_size


def _close(handles: dict[int, int]) -> None:
    while handles:
        os.close(handles.popitem()[1])
