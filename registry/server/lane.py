"""A body's way past ASGI: a thread gets the connection's socket, until the body is through.

Downloads go by sendfile, uploads from a large buffer through the connection's own HTTP parser straight to whoever
stores them. The rules:

* Authorisation is over before a lane is asked for, and the answer's head is on its way before its body is.
* A client that stalls gives its thread back and is waited for by the event loop, so that slow ones cost no threads.
* Nobody else reads from the socket meanwhile (uploads), or writes to it (downloads).
* Over TLS the event loop decrypts: uploads then come in large pieces, downloads go the ordinary way.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from registry.server.protocol import Connection
    from registry.server.threads import Threads

EXTENSION = "dryport.lane"
"""Where a lane stands among the extensions of an ASGI scope."""
SILENCE_SECONDS = 120.0
_PATIENCE_MS = 50
_READ_BYTES = 256 << 10
_SEND_BYTES = 8 << 20
_GATHER_BYTES = 512 << 10
_own = threading.local()


class GoneError(Exception):
    """The client went away, or stayed silent for too long."""


class Lane:
    """One request's claim on its connection's socket."""

    __slots__ = ("_blocks", "_connection", "_is_over", "_is_whole", "_more", "_parser", "_size", "cycle")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.cycle: RequestResponseCycle | None = None
        self._parser: httptools.HttpRequestParser = connection.parser
        self._blocks: list[bytes] = []
        self._size = 0
        self._more: asyncio.Event | None = None
        self._is_whole = False
        self._is_over = False

    async def send(self, threads: Threads, file: int, start: int, end: int) -> bool:
        """Send bytes of a file as the rest of the answer; False, with nothing sent, where that cannot be.

        Raises GoneError; EOFError if the file is shorter.
        """
        connection, cycle = self._connection, self.cycle
        if cycle is None or connection.scheme != "http":
            return False
        for _ in range(4):  # the answer's head leaves at the end of the loop's turn
            if not connection.transport.get_write_buffer_size():
                break
            await asyncio.sleep(0)
        else:
            return False
        if cycle.disconnected or connection.transport.is_closing():
            raise GoneError
        offset = start

        def work(socket: int) -> bool:
            nonlocal offset
            while offset < end and not self._is_over:
                try:
                    sent = os.sendfile(socket, file, offset, min(end - offset, _SEND_BYTES))
                except BlockingIOError:
                    if not _is_ready(socket, select.POLLOUT):
                        return False
                    continue
                if not sent:
                    raise EOFError("content is shorter than its size")
                offset += sent
            return True

        await self._lend(threads, work, asyncio.get_running_loop().add_writer, asyncio.get_running_loop().remove_writer)
        cycle.expected_content_length -= end - start
        return True

    async def receive(self, threads: Threads, write: Callable[[Sequence[bytes]], None]) -> bool:
        """Give the request's whole body to `write`, in a thread; False, with nothing read, where that cannot be.

        Raises GoneError, and what `write` raises.
        """
        connection, cycle = self._connection, self.cycle
        if cycle is None or not cycle.more_body or connection.cycle is not cycle:
            return False
        if cycle.disconnected or connection.transport.is_closing():
            raise GoneError
        connection.flow.pause_reading()
        if cycle.waiting_for_100_continue:
            connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        self._blocks = [bytes(cycle.body)] if cycle.body else []
        self._size = len(cycle.body)
        cycle.body = bytearray()
        connection.pouring = self
        if connection.scheme != "http":
            await self._gather(threads, write)
            return True
        loop = asyncio.get_running_loop()
        try:
            await self._lend(threads, lambda socket: self._read(socket, write), loop.add_reader, loop.remove_reader)
        finally:
            connection.pouring = None
            if self._is_whole:
                cycle.more_body = False
            cycle.message_event.set()
            connection.flow.resume_reading()
        return True

    # What the parser tells while a thread feeds it

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._blocks.append(data)
        if self._more:
            self._size += len(data)
            if self._size >= _GATHER_BYTES:
                self._connection.flow.pause_reading()
                self._more.set()

    def on_message_complete(self) -> None:
        """Note the body's end."""
        self._is_whole = True
        if self._more:  # in the event loop: what follows is the next request
            self._more.set()
            self._connection.pouring = None
            if self.cycle:
                self.cycle.more_body = False

    def on_lost(self) -> None:
        """Note that the client is gone."""
        if self._more:
            self._more.set()

    # Over TLS

    async def _gather(self, threads: Threads, write: Callable[[Sequence[bytes]], None]) -> None:
        """Take the body as the event loop decrypts it, in large pieces; one is written while the next one comes."""
        connection, self._more = self._connection, asyncio.Event()
        pending: asyncio.Future[None] | None = None
        try:
            while not self._is_whole and not self._is_lost():
                await self._piece(self._more)
                if pending:
                    await pending
                blocks, self._blocks, self._size = self._blocks, [], 0
                pending = threads.transfer(write, blocks)
            if pending:
                await pending
        except TimeoutError as error:
            raise GoneError from error
        finally:
            if pending and not pending.done():
                await asyncio.wait([pending])
            self._more = connection.pouring = None
            if self.cycle:
                self.cycle.message_event.set()
            connection.flow.resume_reading()
        if not self._is_whole:
            raise GoneError

    async def _piece(self, more: asyncio.Event) -> None:
        """Wait for the next piece of the body, or its end."""
        self._connection.flow.resume_reading()
        async with asyncio.timeout(SILENCE_SECONDS):
            while self._size < _GATHER_BYTES and not self._is_whole and not self._is_lost():
                more.clear()
                await more.wait()

    def _is_lost(self) -> bool:
        return self.cycle is None or self.cycle.disconnected or self._connection.transport.is_closing()

    # In a thread

    def _read(self, socket: int, write: Callable[[Sequence[bytes]], None]) -> bool:
        buffer = _buffer()
        while not self._is_over:
            if self._blocks:
                blocks, self._blocks = self._blocks, []
                write(blocks)
            if self._is_whole:
                break
            try:
                count = os.readv(socket, [buffer])
            except BlockingIOError:
                if not _is_ready(socket, select.POLLIN):
                    return False
                continue
            if not count:
                raise GoneError
            try:
                self._parser.feed_data(buffer[:count])
            except httptools.HttpParserError as error:
                raise GoneError from error  # a body that is none, or a next request before this one's answer
        return True

    async def _lend(
        self,
        threads: Threads,
        work: Callable[[int], bool],
        watch: Callable[[int, Callable[[], None]], object],
        unwatch: Callable[[int], object],
    ) -> None:
        """Let a thread work with the socket, again after each stall, until it says that it is done."""
        socket = os.dup(self._connection.transport.get_extra_info("socket").fileno())
        future: asyncio.Future[bool] | None = None
        try:
            while True:
                future = threads.transfer(work, socket)
                if await asyncio.shield(future):
                    return
                await _readiness(socket, watch, unwatch)
        except (ConnectionError, TimeoutError, GoneError) as error:
            self._leave()
            raise GoneError from error
        except BaseException:
            self._is_over = True
            if future and not future.done():
                await asyncio.wait([future])
            raise
        finally:
            os.close(socket)

    def _leave(self) -> None:
        if self.cycle:
            self.cycle.disconnected = True
        self._connection.transport.abort()


def _is_ready(socket: int, event: int) -> bool:
    poll = select.poll()
    poll.register(socket, event)
    return bool(poll.poll(_PATIENCE_MS))


def _buffer() -> memoryview:
    view: memoryview | None = getattr(_own, "view", None)
    if view is None:
        view = _own.view = memoryview(bytearray(_READ_BYTES))
    return view


async def _readiness(
    socket: int,
    watch: Callable[[int, Callable[[], None]], object],
    unwatch: Callable[[int], object],
) -> None:
    ready = asyncio.Event()
    watch(socket, ready.set)
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            await ready.wait()
    finally:
        unwatch(socket)
