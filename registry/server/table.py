"""Numbers by key, in a fixed piece of memory that all workers of one server may share.

* A worker that is killed while it writes leaves the old number or the new one: a number is written at once.
* A key's place is a keyed hash that nobody outside knows, so that nobody can aim at a place. Where a place is full, the
  smallest number is forgotten.
* Each place has a record lock of the kernel, which ends with the process that holds it, however that one ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import mmap
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

PLACES = 8192
WIDTH = 8
"""Numbers that one place holds."""


class Table:
    """The memory. A shared one is made before the processes that share it; each of them asks from one thread."""

    def __init__(self, places: int = PLACES, *, is_shared: bool = False) -> None:
        self._places = places
        self._key = secrets.token_bytes(32)
        size = places * WIDTH * 2 * 8
        self._handle: int | None = None
        if is_shared:
            # Never opened a second time: closing any handle of a file drops all record locks of the process.
            self._handle = os.memfd_create("dryport-limits", os.MFD_CLOEXEC)
            os.ftruncate(self._handle, size)
        self._cells = memoryview(mmap.mmap(-1 if self._handle is None else self._handle, size)).cast("Q")

    @contextmanager
    def held(self, key: str) -> Iterator[Slot]:
        """Give a key's slot, for nobody else to touch meanwhile."""
        found = hmac.digest(self._key, key.encode(), hashlib.sha256)
        place = int.from_bytes(found[:8]) % self._places
        mark = int.from_bytes(found[8:16]) | 1  # 0 is a slot that nobody has
        if self._handle is None:
            yield Slot(self._cells, place * WIDTH * 2, mark)
            return
        fcntl.lockf(self._handle, fcntl.LOCK_EX, 1, place)
        try:
            yield Slot(self._cells, place * WIDTH * 2, mark)
        finally:
            fcntl.lockf(self._handle, fcntl.LOCK_UN, 1, place)


class Slot:
    """One key's number, in a place of `WIDTH` marks and then `WIDTH` numbers."""

    __slots__ = ("_cells", "_mark", "_marks")

    def __init__(self, cells: memoryview[int], begin: int, mark: int) -> None:
        self._cells, self._marks, self._mark = cells, slice(begin, begin + WIDTH), mark

    @property
    def number(self) -> int:
        """The number; 0 where there is none."""
        marks = self._cells[self._marks].tolist()
        return self._cells[self._marks.stop + marks.index(self._mark)] if self._mark in marks else 0

    @number.setter
    def number(self, value: int) -> None:
        marks = self._cells[self._marks].tolist()
        if self._mark in marks:
            at = marks.index(self._mark)
        else:
            numbers = self._cells[self._marks.stop : self._marks.stop + WIDTH].tolist()
            at = numbers.index(min(numbers))
        # Whoever is killed between the two leaves the forgotten key with a number, which is no harm.
        self._cells[self._marks.stop + at] = value
        self._cells[self._marks.start + at] = self._mark
