"""Whole answers kept in memory: to reads that are answered the same to everybody who may ask.

* An answer counts only while nothing in the store changed since before it was made, in any process: the store's
  version, which SQLite tells, is compared on every use.
* Who asks, and whether that is granted, is decided on every use too; it is no part of what is kept.
* Half a minute is the longest life, so that the store hears of content being in use.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

MOST_BYTES = 64 << 20
LARGEST_BYTES = 4 << 20
LIFE_SECONDS = 30.0
_LONGEST_TARGET = 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """One answer, as it goes over the wire, and what a caller must be granted."""

    head: bytes
    """Status line and headers, without the empty line."""
    body: bytes
    permission: str
    repository: str
    version: int
    until: float


class Answers:
    """The answers of one process."""

    def __init__(self, version: Callable[[], int]) -> None:
        self.version = version
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._size = 0

    def find(self, target: bytes) -> Kept | None:
        """Return the answer to a path and query that is still true."""
        kept = self._kept.get(target)
        if kept is None:
            return None
        if kept.version != self.version() or kept.until < time.monotonic():
            self._drop(target)
            return None
        return kept

    def keep(
        self, target: bytes, headers: Mapping[str, str], body: bytes, *, permission: str, repository: str, version: int
    ) -> None:
        """Keep a good answer, made when the store had `version` or later."""
        if len(body) > LARGEST_BYTES or len(target) > _LONGEST_TARGET:
            return
        self._drop(target)
        lines = [f"HTTP/1.1 200 {HTTPStatus.OK.phrase}", *(f"{name.lower()}: {headers[name]}" for name in headers)]
        if not any(name.lower() == "content-length" for name in headers):
            lines.append(f"content-length: {len(body)}")
        head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        if head.count(b"\r\n") != len(lines):
            return  # no header of ours holds a line end
        self._kept[target] = Kept(head, body, permission, repository, version, time.monotonic() + LIFE_SECONDS)
        self._size += _cost(target, body)
        while self._size > MOST_BYTES:
            self._drop(next(iter(self._kept)))

    def _drop(self, target: bytes) -> None:
        kept = self._kept.pop(target, None)
        if kept is not None:
            self._size -= _cost(target, kept.body)


def _cost(target: bytes, body: bytes) -> int:
    return len(target) + len(body) + 1024
