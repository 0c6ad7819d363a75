"""A line to a server on this machine: a TCP proxy on loopback with delay, rate, counters and the power to cut.

* `delay` is a round trip, half of it each way; a new connection costs one more, as a handshake does.
* `rate` is in bytes a second, for each connection and each way. TCP's slow start is not played.
* `cuts` are counts of bytes over all connections of one way; each breaks the connection that carries that byte.
  `cut` breaks all there are. Who ends, or is killed, ends the connection as without the line: what was sent arrives.

>>> with Line(port, delay=0.05, rate=20e6) as line:
...     pull(line.url)
>>> line.down
73400320
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import Any, Self, TypeVar, cast

BLOCK = 128 << 10
WINDOW = 4 << 20
"""At most so much is on one connection's way."""
LATE = 0.05
"""Seconds by which this process may be late to take what waits already: the line it plays would not have been idle."""
TICK = 0.001
"""Seconds: what comes nearer together happens at once."""
Result = TypeVar("Result")


class Line:
    """Forwards to a port of this machine while it is entered."""

    def __init__(
        self,
        port: int,
        cuts: Iterable[int] = (),
        *,
        downwards: bool = False,
        delay: float = 0.0,
        rate: float | None = None,
    ) -> None:
        self.target, self.delay, self.rate = port, delay, rate
        self.up = 0
        """Bytes that clients sent."""
        self.down = 0
        """Bytes that clients were sent."""
        self.connections = 0
        self.broken = 0
        """How many of `cuts` have happened."""
        self.loop = asyncio.new_event_loop()
        self.ends: set[_End] = set()
        self._cuts, self._downwards = sorted(cuts), downwards
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * BLOCK)  # what waits, waits at its sender
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(self.loop.create_server(self._accepted, sock=self._listener))
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    def cut(self) -> int:
        """Break all connections that there are, and return how many."""
        return self._run(self._cut())

    def counted(self, size: int, *, is_down: bool) -> tuple[int, bool]:
        """Count bytes; return how many of them are carried, and whether the connection breaks behind them."""
        seen = self.down if is_down else self.up
        is_cut = bool(self._cuts) and is_down == self._downwards and seen + size >= self._cuts[0]
        if is_cut:
            size = max(0, self._cuts.pop(0) - seen)
            self.broken += 1
        if is_down:
            self.down += size
        else:
            self.up += size
        return size, is_cut

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def _accepted(self) -> _End:
        self.connections += 1
        return _End(self, is_down=False)

    async def _cut(self) -> int:
        clients = [one for one in self.ends if not one.is_down]
        for one in clients:
            one.abort()
        return len(clients)

    async def _end(self) -> None:
        self._server.close()
        while self.ends:
            await self._cut()
            await asyncio.sleep(0.001)


class _End(asyncio.BufferedProtocol):
    """One end of a connection: what comes in here goes out at the other, when it has come all the way."""

    def __init__(self, line: Line, *, is_down: bool, client: _End | None = None) -> None:
        self.line, self.is_down = line, is_down
        self.other = client
        self.transport: asyncio.Transport | None = None
        self._loop = line.loop
        self._buffer = bytearray()
        self._under_way: deque[memoryview | None] = deque()
        """Blocks; None stands for the end."""
        self._size = 0
        self._free = self._loop.time() + (0 if is_down else line.delay)
        self._is_taken = True
        """Whether the other end takes more."""
        self._is_broken = False
        self._is_over = False
        """Whether everything from here was given."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.line.ends.add(self)
        if self.other is None:
            self.transport.pause_reading()
            self._loop.create_task(self._connect()).add_done_callback(lambda task: task.exception() and self.abort())
        else:
            self.other.other = self
            self._loop.call_at(self.other._free, self.other.flow)

    async def _connect(self) -> None:
        server = _End(self.line, is_down=True, client=self)
        await self._loop.create_connection(lambda: server, "127.0.0.1", self.line.target)

    def get_buffer(self, _: int) -> bytearray:
        self._buffer = bytearray(BLOCK)
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        if self._is_broken:
            return
        count, is_cut = self.line.counted(count, is_down=self.is_down)
        self._take(memoryview(self._buffer)[:count])
        if is_cut:
            self._is_broken = True
            self._take(None)

    def eof_received(self) -> bool:
        self._take(None)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.line.ends.discard(self)
        self._is_broken |= error is not None
        self._take(None)

    def pause_writing(self) -> None:
        self._tell(is_taken=False)

    def resume_writing(self) -> None:
        self._tell(is_taken=True)

    def abort(self) -> None:
        """Break the connection, at both ends."""
        for end in (self, self.other):
            if end and end.transport:
                end.transport.abort()

    def flow(self) -> None:
        """Read if the line is free and there is room on it."""
        if self.transport and not self.transport.is_closing():
            if self._is_taken and self._size < WINDOW and self._free <= self._loop.time() + TICK:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    def _tell(self, *, is_taken: bool) -> None:
        if self.other:
            self.other._is_taken = is_taken
            self.other.flow()

    def _take(self, block: memoryview | None) -> None:
        size, now = len(block) if block else 0, self._loop.time()
        self._under_way.append(block)
        self._size += size
        self._free = max(self._free, now - LATE) + (size / self.line.rate if self.line.rate else 0)
        self.flow()
        self._loop.call_at(self._free, self.flow)
        self._loop.call_at(max(self._free, now) + self.line.delay / 2, self._give)

    def _give(self) -> None:
        block = self._under_way.popleft()
        sink = self.other.transport if self.other else None
        if block is not None:
            self._size -= len(block)
            if sink and not sink.is_closing():
                sink.write(block)
            self.flow()
        elif self._is_broken or (self.other and self.other._is_over):
            self.abort()
        else:
            self._is_over = True
            if sink and not sink.is_closing():
                sink.write_eof()
