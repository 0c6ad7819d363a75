"""What a connection may cost before anybody is known: its time, and its memory.

* A head has half a minute from its first byte, or from the connection's beginning; an idle connection has as long as is
  set. What comes meanwhile prolongs neither: a byte now and then keeps nobody here.
* What is neither a body nor the end of a head (lines of a head, trailers, extensions of chunks, blank lines between
  requests) is bounded: the parser below has no limits of its own.
* Who takes nothing of what is sent for two minutes is gone.
* Whoever would rather speak another protocol gets an answer, and the connection's end: the parser reads no further.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from array import array
from asyncio import TimerHandle
from typing import Any

import httptools

from registry.server.protocol import Connection

HEAD_SECONDS = 30.0
HEAD_BYTES = 128 << 10
"""The largest head: a token of 32 KiB, and the 1024 ranges that podman asks for."""
SILENCE_SECONDS = 120.0
LOOK_SECONDS = 5.0


class BoundedParser(httptools.HttpRequestParser):
    """Takes bodies of any size, and so much of all else, whoever feeds it: the event loop or a lane's thread."""

    def __init__(self, protocol: object) -> None:
        super().__init__(protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.loose = 0
        """Bytes that came since the last end of a head or piece of a body."""

    def feed_data(self, data: bytes | bytearray | memoryview[int] | array[int]) -> None:
        """Read what came. Raises httptools.HttpParserError."""
        self.loose += len(data)
        super().feed_data(data)
        if self.loose > HEAD_BYTES:
            raise httptools.HttpParserError("what is no body is too large")


class PatientConnection(Connection):
    """One client's connection, for as long as it behaves."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - whatever uvicorn gives its protocols
        super().__init__(*arguments, **named)
        self._bounded = self.parser = BoundedParser(self)  # a lane may go on with it after the connection is lost
        self._until = math.inf
        """When it ends unless a head is whole before; in the loop's time, as below."""
        self._taken_until = math.inf
        """When it ends unless the client takes something of what waits for it."""
        self._waiting = 0
        self._is_in_head = False
        self._look: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._until = self.loop.time() + HEAD_SECONDS
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        if self._look:
            self._look.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; in the middle of an answer there is nothing to say."""
        if self._is_free() or not self.cycle.response_started:
            super().send_400_response(msg)
        else:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Begin a head: from now on it has its own time, but no more than the connection had."""
        super().on_message_begin()
        self._is_in_head = True
        if self._is_free():
            self._until = min(self._until, self.loop.time() + HEAD_SECONDS)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a line of a head; trailers say nothing to anybody here, and are not kept."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head."""
        self._is_in_head = False
        if self._bounded.loose > HEAD_BYTES and sum(map(len, itertools.chain([self.url], *self.headers))) > HEAD_BYTES:
            raise httptools.HttpParserError("the head is too large")
        self._bounded.loose = 0
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False
        self._until = self._idle_until() if self._is_free() else math.inf

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; may be called in a lane's thread."""
        self._bounded.loose = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Begin to wait for the next head; what is left of a body that nobody wanted has to come in this time too."""
        super().on_response_complete()
        if self._is_free():
            self._until = self._idle_until()

    def resume_writing(self) -> None:
        """Note that the client took what waited for it."""
        self._taken_until = self.loop.time() + SILENCE_SECONDS
        super().resume_writing()

    def _is_free(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _idle_until(self) -> float:
        return self.loop.time() + self.timeout_keep_alive

    def _watch(self) -> None:
        """Look whether its time is over, now and every few seconds: cheaper than a timer for each head."""
        now, waiting = self.loop.time(), self.transport.get_write_buffer_size()
        if not waiting or waiting < self._waiting:
            self._taken_until = now + SILENCE_SECONDS
        self._waiting = waiting
        if now >= self._taken_until:
            self.transport.abort()
        elif now >= self._until:
            self.transport.close()
        self._look = self.loop.call_later(LOOK_SECONDS, self._watch)

    def _end_idle(self) -> None:
        """Leave it to `_watch`, which knows of answers that did not come from memory too."""
        self._idle = None

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: clients that would like HTTP/2 ask so each time."""
