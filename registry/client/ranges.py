"""A blob on a remote registry: read in order over one request, resumed inside by `Range` when that breaks off.

What a lying server can do is bounded: a body is never read past the length it announced, an answer to a range must
begin where it was asked to and be of the same content, and every resumption must bring progress.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from urllib3.exceptions import HTTPError

from registry.client.answer import Answer
from registry.client.pace import PROGRESS, Budget
from registry.client.transport import MISSING, Transport
from registry.errors import RemoteError

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


@dataclass
class RemoteBlob:
    """One blob's bytes (implements registry.content.Content); for one thread at a time."""

    transport: Transport
    path: str
    scope: str
    size: int
    answer: Answer | None = None
    position: int = 0
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
        length = answer.headers.get("Content-Length", "")
        # A body of unknown length may have no end: OCI registries announce it (distribution-spec end-2, MUST).
        if not re.fullmatch(r"\d{1,19}", length) or answer.headers.get("Transfer-Encoding") or answer.status != 200:  # noqa: PLR2004
            answer.close()
            raise RemoteError("registry-answer", "a blob without announced length", where=transport.origin + path)
        return cls(transport, path, scope, int(length), answer)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end. Raises RemoteError when it cannot go on."""
        end = min(offset + length, self.size)
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

    def _block(self, offset: int, end: int) -> bytes:
        if self.answer is None or self.position != offset:
            self._reopen(offset)
        block = self.answer.read(end - offset) if self.answer else b""
        if not block:
            raise HTTPError("the body ends early")
        return block

    def _reopen(self, offset: int) -> None:
        self.close()
        answer = self.transport.open(self.path, scope=self.scope, headers={"Range": f"bytes={offset}-"})
        if answer.status == MISSING:
            answer.close()
            raise RemoteError(
                "blob-missing", "a blob vanished while it was read", where=self.transport.origin + self.path
            )
        self.answer, self.position = answer, offset
        if answer.status == 200 and answer.headers.get("Content-Length") == str(self.size):  # noqa: PLR2004
            self._skip(offset)  # the range was ignored, as RFC 9110 (14.2) allows
            return
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if not found or [int(number) for number in found.groups()] != [offset, self.size - 1, self.size]:
            self.close()
            raise RemoteError(
                "registry-answer",
                "the answer to a range is another range",
                where=self.transport.origin + self.path,
                expected=f"bytes {offset}-{self.size - 1}/{self.size}",
                seen=answer.headers.get("Content-Range", "none")[:100],
            )

    def _skip(self, count: int) -> None:
        while count and self.answer is not None:
            block = self.answer.read(min(count, PROGRESS))
            if not block:
                raise HTTPError("the body ends early")
            count -= len(block)

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
