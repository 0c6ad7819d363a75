"""A blob on a remote registry: read in order over one request, resumed inside by `Range` when that breaks off.

What a lying server can do is bounded: a body is never read past the length it announced, an answer to a range must
begin where it was asked to, and every resumption must bring progress.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from registry.client.credentials import WHO_ANSWERS
from registry.client.transport import MISSING, Transport, discard
from registry.errors import RemoteError

PROGRESS = 1 << 20
"""Bytes after which a resumption counts as one that helped."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


@dataclass
class RemoteBlob:
    """One blob's bytes (implements registry.content.Content); for one thread at a time."""

    transport: Transport
    path: str
    scope: str
    size: int
    response: BaseHTTPResponse | None = None
    position: int = 0
    failures: list[str] = field(default_factory=list)
    resumed_at: int = 0

    @classmethod
    def open(cls, transport: Transport, path: str, scope: str) -> Self | None:
        """Return the blob, or None if the registry does not have it."""
        response = transport.open(path, scope=scope)
        if response.status == MISSING:
            discard(response)
            return None
        length = response.headers.get("Content-Length", "")
        # A body of unknown length may have no end: OCI registries announce it (distribution-spec end-2, MUST).
        if not re.fullmatch(r"\d{1,19}", length) or response.headers.get("Transfer-Encoding") or response.status != 200:  # noqa: PLR2004
            discard(response)
            raise RemoteError(
                "registry-answer", "a blob without announced length", where=transport.origin + path, hint=WHO_ANSWERS
            )
        return cls(transport, path, scope, int(length), response)

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
        return b"".join(parts)

    def close(self) -> None:
        """Give the connection back."""
        if self.response is not None:
            discard(self.response)
            self.response = None

    def _block(self, offset: int, end: int) -> bytes:
        if self.response is None or self.position != offset:
            self._reopen(offset)
        block = self.response.read(end - offset, decode_content=False) if self.response else b""
        if not block:
            raise HTTPError("the body ends early")
        return block

    def _reopen(self, offset: int) -> None:
        self.close()
        self.resumed_at = offset
        response = self.transport.open(self.path, scope=self.scope, headers={"Range": f"bytes={offset}-"})
        if response.status == MISSING:
            discard(response)
            raise RemoteError(
                "blob-missing",
                "a blob vanished while it was read",
                where=self.transport.origin + self.path,
                hint="it was deleted there: push it again, or take another tag; then the same command goes on",
            )
        self.response, self.position = response, offset
        if response.status == 200 and response.headers.get("Content-Length") == str(self.size):  # noqa: PLR2004
            self._skip(offset)  # the range was ignored, as RFC 9110 (14.2) allows
            return
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found or [int(number) for number in found.groups()] != [offset, self.size - 1, self.size]:
            self.close()
            raise RemoteError(
                "registry-answer",
                "the answer to a range is another range",
                where=self.transport.origin + self.path,
                expected=f"bytes {offset}-{self.size - 1}/{self.size}",
                seen=response.headers.get("Content-Range", "none")[:100],
                hint=WHO_ANSWERS,
            )

    def _skip(self, count: int) -> None:
        while count and self.response is not None:
            block = self.response.read(min(count, PROGRESS), decode_content=False)
            if not block:
                raise HTTPError("the body ends early")
            count -= len(block)

    def _failed(self, seen: str) -> None:
        self.close()
        if self.position - self.resumed_at >= PROGRESS:
            self.failures.clear()
        self.failures.append(seen)
        if len(self.failures) >= self.transport.limits.attempts:
            raise RemoteError(
                "blob-broken-off",
                f"a blob broke off {len(self.failures)} times without progress",
                where=f"{self.transport.origin}{self.path} at byte {self.position} of {self.size}",
                seen=seen[:300],
                hint="check the line to the registry; then the same command again goes on",
            )
