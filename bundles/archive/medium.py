"""One file on a medium, opened once, read-only, by position, by any number of threads.

Whatever the operating system or a short file answers becomes a MediaError that names the bytes.
"""

from __future__ import annotations

import os
import stat
import weakref
from pathlib import Path

from registry.errors import MediaError

BLOCK_BYTES = 1 << 20


class Medium:
    """An open bundle file; a file put in its place later is not looked at."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise MediaError(
                "bundle-missing" if isinstance(error, FileNotFoundError) else "medium-unreadable",
                f"the bundle cannot be opened: {error.strerror}",
                where=str(path),
                hint="check the path, and that the medium is mounted",
            ) from error
        self._closing = weakref.finalize(self, os.close, self._handle)
        about = os.fstat(self._handle)
        if not stat.S_ISREG(about.st_mode):
            self.close()
            raise MediaError(
                "not-a-bundle",
                "a bundle is a regular file",
                where=str(path),
                hint="check the path; a bundle is made by: dryport bundle build",
            )
        self.size = about.st_size

    @property
    def handle(self) -> int:
        """The open file, for whoever lets the system take from it; it stays this medium's to close."""
        return self._handle

    def close(self) -> None:
        """Close the file."""
        self._closing()

    def read(self, offset: int, length: int, *, expected_size: int | None = None) -> bytes:
        """Return exactly `length` bytes. Raises MediaError: `bundle-truncated`, or `medium-unreadable`."""
        blocks = []
        at, end = offset, offset + length
        while at < end:
            try:
                block = os.pread(self._handle, min(end - at, 8 * BLOCK_BYTES), at)
            except OSError as error:
                raise MediaError(
                    "medium-unreadable",
                    f"the medium does not give its bytes: {error.strerror}",
                    where=f"{self.path} bytes {at}-{end - 1}",
                    hint="copy the bundle from the medium again, or use another medium",
                ) from error
            if not block:
                raise self.truncated(end if expected_size is None else expected_size, exact=expected_size is not None)
            blocks.append(block)
            at += len(block)
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

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
