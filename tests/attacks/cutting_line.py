"""A line to a server that breaks: a TCP proxy on loopback that counts bytes and cuts connections where it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable
from typing import Self

BLOCK = 64 << 10


class CuttingLine:
    """Forwards to a port. `cuts` are bytes, counted over all connections of one direction, at which a line breaks."""

    def __init__(self, port: int, cuts: Iterable[int] = (), *, downwards: bool = False) -> None:
        self._target = port
        self._cuts = sorted(cuts)
        self._downwards = downwards
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self.up = 0
        self.down = 0
        self.broken = 0
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            self._end(one)
        for thread in self._threads:
            thread.join(5)

    def _start(self, *call: object) -> None:
        target, *arguments = call
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                self._start(self._pump, client, server, False)
                self._start(self._pump, server, client, True)

    def _pump(self, source: socket.socket, sink: socket.socket, is_down: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK):
                block, is_cut = self._count(block, is_down)
                sink.sendall(block)
                if is_cut:
                    break
        self._end(source)
        self._end(sink)

    def _count(self, block: bytes, is_down: bool) -> tuple[bytes, bool]:
        with self._lock:
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

    def _end(self, one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            one.close()
