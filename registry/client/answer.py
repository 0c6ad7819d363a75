"""What a registry answers: read within bounds, and given back so that its connection is used again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from registry.client.pace import Place
from registry.client.wire import is_slow
from registry.errors import RemoteError

WHO_ANSWERS = "see what answers at this address (a proxy, or no registry at all?), else tell whoever runs it"
"""What to do about an answer that no registry should give."""
LEFTOVER_BYTES = 16 << 10


class Again(Exception):  # noqa: N818 - no error yet: the same request may well succeed
    """One attempt failed in a way that another may not; `wait` is what the registry asks for."""

    def __init__(self, why: str, *, wait: float | None = None, status: int | None = None) -> None:
        super().__init__(why)
        self.why = why[:300]
        self.wait = wait
        self.status = status


@dataclass
class Answer:
    """An answer whose body is still to be read; it keeps its place until it is closed."""

    response: BaseHTTPResponse
    url: str
    place: Place | None = None

    @property
    def status(self) -> int:
        """The status code."""
        return self.response.status

    @property
    def headers(self) -> HTTPHeaderDict:
        """The headers, whose names know no case."""
        return self.response.headers

    def read(self, length: int) -> bytes:
        """Return the next bytes as they came, fewer than `length` only at the end. Raises HTTPError or OSError."""
        try:
            return self.response.read(length, decode_content=False)
        except (HTTPError, OSError) as error:
            if self.place and is_slow(error):
                self.place.congested()
            raise

    def whole(self, limit: int) -> bytes:
        """Return all of the body. Raises RemoteError above `limit` bytes, HTTPError or OSError where it breaks off."""
        data = bytearray()
        while block := self.read(min(limit + 1 - len(data), 1 << 18)):
            data += block
            if len(data) > limit:
                where = self.url.partition("?")[0]
                raise RemoteError(
                    "registry-answer-large", f"the answer is longer than {limit} bytes", where=where, hint=WHO_ANSWERS
                )
        return bytes(data)

    def close(self) -> None:
        """Give the connection back if little of the body is left, else close it: an unread body may have no end."""
        try:
            self.read(LEFTOVER_BYTES)
        except (HTTPError, OSError):
            self.response.close()
        if self.response.closed:
            self.response.release_conn()
        else:
            self.response.close()
        if self.place:
            self.place.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer with a small body."""

    status: int
    headers: HTTPHeaderDict
    body: bytes
    url: str
