"""One HTTP exchange over ASGI: the request's parts, its body in batches, and an answer of bytes or of a content's span.

Bodies are never collected but below a stated limit; spans are read ahead by one step in a thread.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.content import Content
from registry.errors import DryportError
from registry.server import lane
from registry.server.threads import Threads
from registry.server.wire import Refusal
from registry.store.files import StoredContent

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

BATCH_BYTES = 1 << 20
STORE_STEP = 1 << 20
MOUNT_STEP = 4 << 20  # the signed chunk of a bundle: reading less would check the same chunk several times
SILENCE_SECONDS = 120.0
LEAST_RATE = 16 << 10
"""Bytes a second; a body that is collected may take no longer."""
_SMALL = 64 << 10  # what one read and one write do as well
_MOST_QUERY = 64
CERTIFICATE = "dryport.certificate"
"""The extension by which our TLS layer hands on what a client's certificate names."""


class DisconnectedError(Exception):
    """The client went away, or stayed silent for too long, in the middle of its body."""


class DamagedError(Exception):
    """The content cannot be read, and the answer's head is not out yet."""


@dataclass(slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    receive: Receive
    target: bytes = b""
    """Path and query as they came."""
    lane: lane.Lane | None = None
    peer: str = ""
    """The address at the other end of the connection."""
    certificate: Sequence[str] = ()
    """The names in the client's certificate, which the TLS layer verified."""

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Request:
        """Return the request in an ASGI scope. Raises Refusal."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        raw: bytes = scope.get("raw_path") or urllib.parse.quote(scope["path"]).encode()
        try:
            query = urllib.parse.parse_qs(
                scope["query_string"].decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MOST_QUERY * 4,
            )
        except ValueError as error:
            raise Refusal("UNSUPPORTED", "the query cannot be read", status=400) from error
        extensions = scope.get("extensions") or {}
        asked: bytes = scope["query_string"]
        target = raw + b"?" + asked if asked else raw
        way = extensions.get(lane.EXTENSION)
        peer = (scope.get("client") or ("",))[0]
        certificate = extensions.get(CERTIFICATE, ())
        return cls(scope["method"], raw.decode("latin-1"), query, headers, receive, target, way, peer, certificate)

    def asked(self, name: str) -> str | None:
        """Return the first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None

    @property
    def length(self) -> int | None:
        """The announced size of the body."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """Give the body in batches of about 1 MiB. Raises DisconnectedError."""
        batch: list[bytes] = []
        size, more = 0, True
        while more:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    message = await self.receive()
            except TimeoutError as error:
                raise DisconnectedError from error
            if message["type"] == "http.disconnect":
                if batch:
                    yield batch
                raise DisconnectedError
            if body := message.get("body", b""):
                batch.append(body)
                size += len(body)
            more = message.get("more_body", False)
            if batch and (size >= BATCH_BYTES or not more):
                yield batch
                batch, size = [], 0

    async def pour(self, write: Callable[[Sequence[bytes]], None], threads: Threads) -> None:
        """Give the body to `write`, in a thread, a piece at a time. Raises DisconnectedError, and what `write` raises.

        What arrived before a client went away has been written.
        """
        try:
            if self.lane and await self.lane.receive(threads, write):
                return
        except lane.GoneError as error:
            raise DisconnectedError from error
        pending: asyncio.Future[None] | None = None
        try:
            async for batch in self.batches():
                if pending:
                    await pending
                pending = threads.keep(write, batch)
        except DisconnectedError:
            if pending:
                await pending  # a disk that refused counts more
            raise
        finally:
            if pending and not pending.done():
                await asyncio.wait([pending])
        if pending:
            await pending

    async def body(self, limit: int) -> bytes:
        """Return the whole body. Raises Refusal (413) if it is larger than `limit`, DisconnectedError."""
        if (self.length or 0) > limit:
            raise Refusal("SIZE_INVALID", f"at most {limit} bytes are taken", status=413)
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(SILENCE_SECONDS + limit / LEAST_RATE):
                async for batch in self.batches():
                    size += sum(map(len, batch))
                    if size > limit:
                        raise Refusal("SIZE_INVALID", f"at most {limit} bytes are taken", status=413)
                    parts += batch
        except TimeoutError as error:
            raise DisconnectedError from error
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes `start` to before `end` of a content, which is closed after they were sent."""

    content: Content
    start: int
    end: int


@dataclass(slots=True)
class Answer:
    """What is answered."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Span = b""
    repeated: list[tuple[str, str]] = field(default_factory=list)
    """Headers that come more than once."""

    @classmethod
    def of(cls, refusal: Refusal) -> Answer:
        """Return the refusal's answer."""
        return cls(refusal.status, refusal.headers | {"Content-Type": "application/json"}, refusal.body())


async def reply(request: Request, answer: Answer, send: Send, threads: Threads) -> None:
    """Send an answer; without its body if only the head was asked for."""
    body = answer.body
    size = len(body) if isinstance(body, bytes) else body.end - body.start
    headers = dict(answer.headers)
    if answer.status not in (204, 304):  # these have no body to tell the size of
        headers.setdefault("Content-Length", str(size))
    start = {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (*headers.items(), *answer.repeated)
        ],
    }
    if isinstance(body, bytes):
        await send(start)
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})
    elif request.method == "HEAD":
        body.content.close()
        await send(start)
        await send({"type": "http.response.body", "body": b""})
    elif request.lane and isinstance(body.content, StoredContent) and size > _SMALL:
        await _send_file(request, start, body, send, threads)
    else:
        await _stream(start, body, send, threads, request.receive)


async def _send_file(request: Request, start: Message, span: Span, send: Send, threads: Threads) -> None:
    """Send a span of a stored file past ASGI, or as any other where its connection cannot."""
    content, way = span.content, request.lane
    if way is None or not isinstance(content, StoredContent):
        raise TypeError("not a file, or no way to send it")
    try:
        await send(start)
        if await way.send(threads, content.handle, span.start, span.end):
            await send({"type": "http.response.body", "body": b""})
            content.close()
            return
    except lane.GoneError:
        content.close()
        return
    except BaseException:
        content.close()
        raise
    await _stream(None, span, send, threads, request.receive)


async def _stream(start: Message | None, span: Span, send: Send, threads: Threads, receive: Receive) -> None:
    step = STORE_STEP if isinstance(span.content, StoredContent) else MOUNT_STEP
    gone = asyncio.create_task(_wait_gone(receive))
    offset = span.start
    ahead = threads.read(span.content.read, offset, _until(offset, step, span.end))
    try:
        try:
            block = await ahead
        except (DryportError, OSError) as error:
            if start is None:
                raise
            raise DamagedError(str(error)) from error
        if start:
            await send(start)
        while offset < span.end and not gone.done():
            if not block:
                raise EOFError("content is shorter than its size")
            offset += len(block)
            if offset < span.end:
                ahead = threads.read(span.content.read, offset, _until(offset, step, span.end))
            await send({"type": "http.response.body", "body": block, "more_body": offset < span.end})
            if offset < span.end:
                block = await ahead
        if span.start == span.end:
            await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()
        await asyncio.wait([ahead])  # nobody reads any more when it is closed
        span.content.close()


def _until(offset: int, step: int, end: int) -> int:
    """Return how much to read so that the next step begins at a multiple of `step`."""
    return min(step - offset % step, end - offset)


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
