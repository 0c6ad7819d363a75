"""A content on its way to a registry: hashed in the thread that sends it, and its end kept back unless it is right.

One buffer serves a whole blob out of a file. The last bytes leave only when all bytes together have the promised
digest, so that no registry is ever asked to keep something else. What its source proves byte by byte is not hashed a
second time, and a blob of another registry is not fetched a second time for the sake of its hash: where an earlier
process sent its beginning, the target's own check at the end has to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from registry.client.wire import Block
from registry.content import Content, Located, Proven
from registry.errors import MediaError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Hasher

BLOCK = 1 << 20


@dataclass
class Outgoing:
    """A content and how far it was hashed; for one thread at a time."""

    content: Content
    descriptor: Descriptor
    where: str
    _hasher: Hasher | None = None
    _hashed: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        if not isinstance(self.content, Proven):
            self._hasher = self.descriptor.digest.hasher()
        if self.content.size != self.descriptor.size:
            raise self._differs("size-differs", str(self.descriptor.size), str(self.content.size))

    @property
    def is_proven(self) -> bool:
        """Whether all that was sent was checked on this side."""
        return self._hasher is not None or isinstance(self.content, Proven)

    def part(self, start: int, end: int, on_block: Callable[[int], None]) -> Part:
        """Return the body from `start` to `end`; `on_block` is told, before it leaves, where each block ends."""
        return Part(self, start, end, on_block)

    def blocks(self, start: int, end: int, on_block: Callable[[int], None]) -> Iterator[Block]:
        """Yield the bytes from `start` to `end`. Raises MediaError if they are not there or not what they should be."""
        self._catch_up(start)
        while start < end:
            block = self._read(start, min(BLOCK, end - start))
            self._hash(start, block)
            stop = start + len(block)
            if stop == self.descriptor.size:
                self.check()
            on_block(stop)
            yield memoryview(block)
            start = stop

    def check(self) -> None:
        """Raise MediaError unless all bytes are the promised ones; those that were sent earlier are read for that."""
        self._catch_up(self.descriptor.size)
        if self._hasher:
            seen = self._hasher.hexdigest()
            if seen != self.descriptor.digest.hex:
                raise self._differs("content-differs", str(self.descriptor.digest), seen)

    def _hash(self, start: int, block: bytes | memoryview) -> None:
        if self._hasher and start <= self._hashed < start + len(block):
            self._hasher.update(memoryview(block)[self._hashed - start :])
            self._hashed = start + len(block)

    def _catch_up(self, start: int) -> None:
        """Hash what an earlier process sent, if it lies on this machine."""
        if self._hashed < start and getattr(self.content, "is_far", False):
            self._hasher = None
        while self._hasher and self._hashed < start:
            self._hash(self._hashed, self._read(self._hashed, min(BLOCK, start - self._hashed)))

    def _read(self, start: int, length: int) -> bytes | memoryview:
        try:
            is_plain = isinstance(self.content, Located) and not isinstance(self.content, Proven)
            place = self.content.extent if is_plain and isinstance(self.content, Located) else None
            if place is None:
                block: bytes | memoryview = self.content.read(start, length)
            else:
                self._buffer = self._buffer or bytearray(min(BLOCK, self.descriptor.size))
                view = memoryview(self._buffer)[:length]
                block = view[: os.preadv(place.handle, [view], place.offset + start)]
        except OSError as error:  # never taken for a fault of the line
            raise MediaError(
                "content-unreadable",
                str(error),
                where=self.where,
                hint="look at the disk or medium it lies on; then the same command again goes on",
            ) from error
        if not block:
            raise self._differs("size-differs", str(self.descriptor.size), f"{start} bytes")
        return block

    def _differs(self, reference: str, expected: str, seen: str) -> MediaError:
        message = "the source gave other bytes than their name promises"
        return MediaError(
            reference,
            message,
            where=self.where,
            expected=expected,
            seen=seen,
            hint="get it again from where it came; then the same command goes on",
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a content as a request's body (implements registry.client.wire.Body)."""

    outgoing: Outgoing
    start: int
    end: int
    on_block: Callable[[int], None]

    @property
    def size(self) -> int:
        """Exact size in bytes."""
        return self.end - self.start

    def __iter__(self) -> Iterator[Block]:
        """Yield the bytes in order."""
        return self.outgoing.blocks(self.start, self.end, self.on_block)


@dataclass(frozen=True, slots=True)
class Whole:
    """A few bytes as a request's body (implements registry.client.wire.Body)."""

    data: bytes

    @property
    def size(self) -> int:
        """Exact size in bytes."""
        return len(self.data)

    def __iter__(self) -> Iterator[Block]:
        """Yield the bytes."""
        return iter((self.data,))
