"""A blob on a remote registry: read in order, and resumed inside where that breaks off; a large one by several at once.

What a lying server can do is bounded: a body is never read past the length it announced, an answer to a range must
begin where it was asked to and be of the same content, and every resumption must bring progress.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ClassVar, Self

from urllib3.exceptions import HTTPError

from registry.client.answer import WHO_ANSWERS, Answer
from registry.client.pace import PROGRESS, Budget
from registry.client.transport import MISSING, Transport
from registry.errors import RemoteError

PARALLEL_BYTES = 256 << 20
"""Blobs from this size on are read over several connections."""
PIECE = 8 << 20
BLOCK = 1 << 20
STREAMS = 4
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


class RangesIgnoredError(Exception):
    """The registry answers a range with the whole."""


@dataclass
class RemoteBlob:
    """One blob's bytes (implements registry.content.Content); for one thread at a time.

    Made with a size, it asks for nothing before it is read: from any byte on, in this process or in a later one that
    kept `etag`. Without If-Range (no strong ETag), whoever checks the digest finds out that content changed.
    """

    is_far: ClassVar[bool] = True

    transport: Transport
    path: str
    scope: str
    size: int
    etag: str | None = None
    stop: int | None = None
    """Where a piece of the blob ends; the blob's own end, if None."""
    answer: Answer | None = None
    position: int = 0
    restarts: int = 0
    """How often the registry began at the first byte again, although it was asked to go on."""
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        self.budget = self.transport.budget()

    @classmethod
    def open(cls, transport: Transport, path: str, scope: str) -> Self | None:
        """Return the blob, or None if the registry does not have it."""
        answer = transport.open(path, scope=scope)
        if answer.status == MISSING:
            answer.close()
            return None
        length = _length(answer)
        if length is None:
            answer.close()
            raise RemoteError(
                "registry-answer", "a blob without announced length", where=transport.origin + path, hint=WHO_ANSWERS
            )
        return cls(transport, path, scope, length, _strong(answer), answer=answer)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end. Raises RemoteError when it cannot go on."""
        end = min(offset + length, self._end)
        parts: list[bytes] = []
        while offset < end:
            try:
                block = self._block(offset, end)
            except (HTTPError, OSError) as error:
                self._failed(str(error))
                continue
            parts.append(block)
            offset += len(block)
            self.position = offset
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the connection back."""
        if self.answer is not None:
            self.answer.close()
            self.answer = None

    @property
    def _end(self) -> int:
        return self.size if self.stop is None else self.stop

    def _block(self, offset: int, end: int) -> bytes:
        if self.answer is None or self.position != offset:
            self._reopen(offset)
        block = self.answer.read(end - offset) if self.answer else b""
        if not block:
            raise HTTPError("the body ends early")
        return block

    def _reopen(self, offset: int) -> None:
        self.close()
        is_all = offset == 0 and self.stop is None
        headers = {} if is_all else {"Range": f"bytes={offset}-{'' if self.stop is None else self.stop - 1}"}
        if self.etag and headers:
            headers["If-Range"] = self.etag
        answer = self.transport.open(self.path, scope=self.scope, headers=headers)
        if answer.status == MISSING:
            answer.close()
            raise RemoteError(
                "blob-missing",
                "the registry does not have the blob, or no longer",
                where=self.transport.origin + self.path,
                hint="push it there again, or leave the image out; then the same command goes on",
            )
        self.answer, self.position = answer, offset
        self.etag = self.etag or _strong(answer)
        length = _length(answer)
        if length == self.size:
            self._begin_again(offset)
            return
        if length is not None:
            self.close()
            raise RemoteError(
                "size-differs",
                "the source has another size than the manifest says",
                where=self.transport.origin + self.path,
                expected=str(self.size),
                seen=str(length),
                hint="push the image there again from its source; then the same command goes on",
            )
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if not found or [int(number) for number in found.groups()] != [offset, self._end - 1, self.size]:
            self.close()
            raise RemoteError(
                "registry-answer",
                "the answer to a range is another range",
                where=self.transport.origin + self.path,
                expected=f"bytes {offset}-{self._end - 1}/{self.size}",
                seen=answer.headers.get("Content-Range", "none")[:100],
                hint=WHO_ANSWERS,
            )

    def _begin_again(self, offset: int) -> None:
        """Pass over what was read already: the range was ignored, as RFC 9110 (14.2) allows."""
        if self.stop is not None:
            self.close()
            raise RangesIgnoredError
        self.restarts += offset > 0
        while offset and self.answer is not None:
            block = self.answer.read(min(offset, PROGRESS))
            if not block:
                raise HTTPError("the body ends early")
            offset -= len(block)

    def _failed(self, seen: str) -> None:
        self.close()
        if not self.budget.spend(seen, self.position):
            raise RemoteError(
                "blob-broken-off",
                f"a blob broke off {len(self.budget.failures)} times without progress",
                where=f"{self.transport.origin}{self.path} at byte {self.position} of {self.size}",
                seen=seen[:300],
                hint="check the line to the registry; then the same command again goes on",
            )


class ParallelBlob:
    """One large blob over several connections (implements registry.content.Content); for one thread at a time.

    Pieces arrive in any order and leave in theirs, so that whoever reads can hash and write as if it were one stream:
    memory holds `STREAMS` pieces, and no disk is written at random.
    """

    is_far: ClassVar[bool] = True

    def __init__(self, piece: Callable[[int, int | None], RemoteBlob], size: int, release: Callable[[], None]) -> None:
        self.size = size
        self._piece = piece
        self._release = release
        self._pool = ThreadPoolExecutor(STREAMS, thread_name_prefix="piece")
        self._coming: deque[tuple[int, Future[list[bytes]]]] = deque()
        self._front: tuple[int, deque[bytes]] = (-1, deque())
        self._next = 0
        self._plain: RemoteBlob | None = None
        self._is_over = False

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end. Raises RemoteError when it cannot go on."""
        end = min(offset + length, self.size)
        parts: list[bytes] = []
        while offset < end:
            part = self._plain.read(offset, end - offset) if self._plain else self._take(offset, end - offset)
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give the connections back."""
        self._end_pieces()
        if self._plain:
            self._plain.close()

    def _take(self, offset: int, most: int) -> bytes:
        """Return the next bytes at `offset`; empty if the blob has to be read in one stream from now on."""
        at, blocks = self._front
        if at != offset or not blocks:
            try:
                blocks = self._arrived(offset)
            except RangesIgnoredError:
                self._end_pieces()
                self._plain = self._piece(0, None)
                return b""
        block = blocks.popleft()
        if len(block) > most:
            blocks.appendleft(block[most:])
            block = block[:most]
        self._front = (offset + len(block), blocks)
        self._ask_ahead()
        return block

    def _arrived(self, offset: int) -> deque[bytes]:
        if not self._coming or self._coming[0][0] != offset:
            for _, future in self._coming:
                future.cancel()
            self._coming.clear()
            self._next = offset
            self._front = (-1, deque())
            self._ask_ahead()
        _, future = self._coming.popleft()
        return deque(future.result())

    def _ask_ahead(self) -> None:
        room = STREAMS - bool(self._front[1])
        while len(self._coming) < room and self._next < self.size:
            stop = min(self._next + PIECE, self.size)
            self._coming.append((self._next, self._pool.submit(self._fetch, self._next, stop)))
            self._next = stop

    def _fetch(self, start: int, stop: int) -> list[bytes]:
        piece = self._piece(start, stop)
        blocks: list[bytes] = []
        try:
            while start < stop and not self._is_over:
                blocks.append(piece.read(start, BLOCK))
                start += len(blocks[-1])
        finally:
            piece.close()
        return blocks

    def _end_pieces(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._coming.clear()
            self._front = (-1, deque())
            self._release()


def blob_of_size(
    transport: Transport, path: str, scope: str, size: int, etag: str | None = None
) -> RemoteBlob | ParallelBlob:
    """Return a blob whose size is known, to be read from any byte on; nothing is asked before.

    Large ones come over several connections while memory for that is left, which a transport's blobs share.
    """

    def piece(_start: int, stop: int | None) -> RemoteBlob:
        return RemoteBlob(transport, path, scope, size, etag, stop)

    if size < PARALLEL_BYTES or not transport.ahead.acquire(blocking=False):
        return piece(0, None)
    return ParallelBlob(piece, size, transport.ahead.release)


def _length(answer: Answer) -> int | None:
    """Return the size of the blob that the answer's body is; None for a part of it, and without an announced length.

    A body of unknown length may have no end: OCI registries announce it (distribution-spec end-2, MUST).
    """
    length = answer.headers.get("Content-Length", "")
    if answer.status != 200 or answer.headers.get("Transfer-Encoding") or not re.fullmatch(r"\d{1,19}", length):  # noqa: PLR2004
        return None
    return int(length)


def _strong(answer: Answer) -> str | None:
    """Return the ETag by which a range can be made conditional (RFC 9110, 13.1.5: a strong one)."""
    etag = answer.headers.get("ETag", "")
    return etag if re.fullmatch(r'"[\x21\x23-\x7e]{1,200}"', etag) else None
