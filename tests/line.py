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
from collections.abc import Coroutine, Iterable
from typing import Any, Self, TypeVar

BLOCK = 128 << 10
BLOCKS_UNDER_WAY = 32
"""At most so much is on one connection's way: what TCP calls a window."""
LATE = 0.05
"""Seconds by which this process may be late to take what waits already: the line it plays would not have been idle."""
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
        self._cuts, self._downwards = sorted(cuts), downwards
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * BLOCK)  # what waits, waits at its sender
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._connected, sock=self._listener, limit=BLOCK))
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def cut(self) -> int:
        """Break all connections that there are, and return how many."""
        return self._run(self._cut())

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _cut(self) -> int:
        for writers in self._open.values():
            _break(writers)
        return len(self._open)

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        await asyncio.gather(*self._open, return_exceptions=True)

    # One connection

    async def _connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        writers = self._open[task] = [to_client]
        self.connections += 1
        opened = self._loop.time() + self.delay
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self.target, limit=BLOCK)
        except OSError:
            pass
        else:
            writers.append(to_server)
            for writer in writers:
                writer.transport.set_write_buffer_limits(0)
            await asyncio.gather(
                self._one_way(client, to_server, writers, opened, is_down=False),
                self._one_way(server, to_client, writers, opened, is_down=True),
            )
        finally:
            _break(writers)
            del self._open[task]

    async def _one_way(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        writers: list[asyncio.StreamWriter],
        opened: float,
        *,
        is_down: bool,
    ) -> None:
        """Take blocks as fast as the rate allows; each is given when it has come all the way."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(BLOCKS_UNDER_WAY)
        giving = asyncio.ensure_future(_give(under_way, sink, writers))
        free, block = opened, b"-"
        while block:
            try:
                block, is_cut = self._counted(await source.read(BLOCK), is_down=is_down)
            except OSError:
                block, is_cut = b"", True
            free = max(free, self._loop.time() - LATE) + (len(block) / self.rate if self.rate else 0)
            await under_way.put((max(free, self._loop.time()) + self.delay / 2, block))
            if is_cut:
                await under_way.join()
                _break(writers)
                giving.cancel()
                return
            await asyncio.sleep(free - self._loop.time())
        await giving

    def _counted(self, block: bytes, *, is_down: bool) -> tuple[bytes, bool]:
        seen = self.down if is_down else self.up
        is_cut = bool(self._cuts) and is_down == self._downwards and seen + len(block) >= self._cuts[0]
        if is_cut:
            block = block[: max(0, self._cuts.pop(0) - seen)]
            self.broken += 1
        if is_down:
            self.down += len(block)
        else:
            self.up += len(block)
        return block, is_cut


async def _give(
    under_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter, writers: list[asyncio.StreamWriter]
) -> None:
    """Give blocks when they are due; where nobody takes them any more, break the connection."""
    block = b"-"
    while block:
        due, block = await under_way.get()
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        try:
            if block:
                sink.write(block)
                await sink.drain()
            else:
                sink.write_eof()
        except OSError:
            _break(writers)
        under_way.task_done()


def _break(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.transport.abort()
