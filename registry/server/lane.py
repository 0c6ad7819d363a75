"""A body's way past ASGI: a thread gets the connection's socket, until the body is through.

Downloads go by sendfile, uploads from a large buffer through the connection's own HTTP parser straight to whoever
stores them; over TLS the thread encrypts and decrypts as well. The rules:

* Authorisation is over before a lane is asked for, and the answer's head is on its way before its body is.
* A client that stalls gives its thread back and is waited for by the event loop, so that slow ones cost no threads.
  Where the interpreter has a part in each block (all but plain downloads), few threads share the work, since many
  would only hand the interpreter round: theirs are given back at once, and after each slice.
* Nobody else reads from the socket meanwhile (uploads), or writes to it (downloads); over TLS nobody does either.
"""

from __future__ import annotations

import asyncio
import os
import select
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

import httptools

from registry.server.secure import SecureTransport
from registry.server.wires import PlainWire, SecureWire, Wire

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from registry.server.protocol import Connection
    from registry.server.threads import Threads

EXTENSION = "dryport.lane"
"""Where a lane stands among the extensions of an ASGI scope."""
SILENCE_SECONDS = 120.0
_PATIENCE_MS = 50
_READ_BYTES = 1 << 20
_SLICE_BYTES = 8 << 20
_own = threading.local()


class Turn(Enum):
    """How a thread's turn with a socket ended."""

    DONE = auto()
    STALLED = auto()
    """The client has to go on first."""
    USED_UP = auto()
    """There may be more to do at once; others come first."""


class GoneError(Exception):
    """The client went away, or stayed silent for too long."""


class Lane:
    """One request's claim on its connection's socket."""

    __slots__ = ("_blocks", "_connection", "_is_over", "_is_whole", "_parser", "cycle")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.cycle: RequestResponseCycle | None = None
        self._parser: httptools.HttpRequestParser = connection.parser
        self._blocks: list[bytes] = []
        self._is_whole = False
        self._is_over = False

    async def send(self, threads: Threads, file: int, start: int, end: int) -> bool:
        """Send bytes of a file as the rest of the answer; False, with nothing sent, where that cannot be.

        Raises GoneError; EOFError if the file is shorter.
        """
        connection, cycle = self._connection, self.cycle
        if cycle is None:
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

        is_secure = connection.scheme == "https"
        patience, piece = (0, _SLICE_BYTES) if is_secure else (_PATIENCE_MS, end - start)

        def work(wire: Wire) -> Turn:
            nonlocal offset
            stop = min(offset + piece, end)
            while offset < stop and not self._is_over:
                try:
                    sent = wire.send_file(file, offset, stop - offset)
                except BlockingIOError:
                    if not _is_ready(wire.socket, select.POLLOUT, patience):
                        return Turn.STALLED
                    continue
                if not sent:
                    raise EOFError("content is shorter than its size")
                offset += sent
            return Turn.DONE if offset == end else Turn.USED_UP

        loop = asyncio.get_running_loop()
        begin = threads.encrypt if is_secure else threads.transfer
        await self._lend(begin, work, loop.add_writer, loop.remove_writer)
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
        if cycle.waiting_for_100_continue:
            connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            cycle.waiting_for_100_continue = False
        if connection.transport.get_write_buffer_size():
            return False  # a client that has yet to read what was written sends nothing before it did
        connection.flow.pause_reading()
        self._blocks = [bytes(cycle.body)] if cycle.body else []
        cycle.body = bytearray()
        connection.pouring = self
        loop = asyncio.get_running_loop()
        try:
            work = partial(self._read, write=write)
            await self._lend(threads.take, work, loop.add_reader, loop.remove_reader)
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

    def on_message_complete(self) -> None:
        """Note the body's end."""
        self._is_whole = True

    # In a thread

    def _read(self, wire: Wire, write: Callable[[Sequence[bytes]], None]) -> Turn:
        buffer, taken = _buffer(), 0
        while not self._is_over:
            if self._blocks:
                blocks, self._blocks = self._blocks, []
                write(blocks)
            if self._is_whole:
                break
            if taken >= _SLICE_BYTES:
                return Turn.USED_UP
            try:
                count = wire.receive(buffer)
            except BlockingIOError:
                return Turn.STALLED
            if not count:
                raise GoneError
            taken += count
            try:
                self._parser.feed_data(buffer[:count])
            except httptools.HttpParserError as error:
                raise GoneError from error  # a body that is none, or a next request before this one's answer
        return Turn.DONE

    async def _lend(
        self,
        begin: Callable[..., asyncio.Future[Turn]],
        work: Callable[[Wire], Turn],
        watch: Callable[[int, Callable[[], None]], object],
        unwatch: Callable[[int], object],
    ) -> None:
        """Let a thread work with the socket, again after each turn, until it says that it is done."""
        transport = self._connection.transport
        socket = os.dup(transport.get_extra_info("socket").fileno())
        future: asyncio.Future[Turn] | None = None
        try:
            with _wire(transport, socket) as wire:
                try:
                    while True:
                        future = begin(work, wire)
                        turn = await asyncio.shield(future)
                        if turn is Turn.DONE:
                            return
                        if turn is Turn.STALLED:
                            await _readiness(socket, watch, unwatch)
                finally:
                    if future and not future.done():
                        self._is_over = True
                        await asyncio.wait([future])
        except (ConnectionError, TimeoutError, GoneError, ssl.SSLError) as error:
            self._leave()
            raise GoneError from error
        finally:
            os.close(socket)

    def _leave(self) -> None:
        if self.cycle:
            self.cycle.disconnected = True
        self._connection.transport.abort()


@contextmanager
def _wire(transport: asyncio.Transport, socket: int) -> Iterator[Wire]:
    if isinstance(transport, SecureTransport):
        with transport.lent() as tls:
            yield SecureWire(socket, tls)
    else:
        yield PlainWire(socket)


def _is_ready(socket: int, event: int, patience: int) -> bool:
    poll = select.poll()
    poll.register(socket, event)
    return bool(poll.poll(patience))


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
