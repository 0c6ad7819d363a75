"""uvicorn's HTTP/1.1 connection with two short ways: whole answers from memory, and lanes for bodies.

Parsing, keep-alive, pipelining and limits stay uvicorn's and httptools'. An answer from memory is written where the
head of its request was parsed, without a task; `Application.at_once` decides, by the same table and grants as ever.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from registry.server.clientcerts import names_behind
from registry.server.exchange import CERTIFICATE
from registry.server.lane import EXTENSION, Lane

if TYPE_CHECKING:
    from registry.server.app import AtOnce

_SHORT = (b"GET", b"HEAD")


class _Answered:
    """Stands for a request that was answered at once."""

    response_complete = True
    disconnected = False
    keep_alive = True
    message_event = asyncio.Event()


_ANSWERED: Any = _Answered()


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - whatever uvicorn gives its protocols
        super().__init__(*arguments, **named)
        self.pouring: Lane | None = None
        """The lane whose thread feeds the parser now."""
        self._at_once: AtOnce | None = getattr(self.app, "at_once", None)
        self._idle: TimerHandle | None = None
        self._seen = 0.0
        self._certificate: Sequence[str] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note who the client's certificate says it is: verified when the connection was made."""
        super().connection_made(transport)
        self._certificate = names_behind(transport)

    def on_message_begin(self) -> None:
        """Begin a request; its scope is made when it is known to be needed."""
        if self.pouring:
            raise httptools.HttpParserError("a request behind a body that is not answered yet")
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        """Answer from memory, or begin to ask the application."""
        is_free = self.cycle is None or self.cycle.response_complete
        if is_free and self._at_once is not None and not self.flow.write_paused and self._answer(self._at_once):
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        lane = Lane(self)
        self.scope["extensions"] = {EXTENSION: lane, CERTIFICATE: self._certificate}  # type: ignore[dict-item]
        super().on_headers_complete()
        lane.cycle = self.cycle

    def on_body(self, body: bytes) -> None:
        """Pass a piece of the body on; may be called in a lane's thread."""
        if self.pouring:
            self.pouring.on_body(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the body's end; may be called in a lane's thread."""
        if self.pouring:
            self.pouring.on_message_complete()
        else:
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        if self._idle:
            self._idle.cancel()
            self._idle = None
        super().connection_lost(exc)

    def _answer(self, at_once: AtOnce) -> bool:
        method = self.parser.get_method()
        if method not in _SHORT or not self.parser.should_keep_alive() or self.parser.get_http_version() != "1.1":
            return False
        found = at_once(self.url, self.headers)
        if found is None:
            return False
        parts = [found.head]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n")
        if method == b"GET":
            parts.append(found.body)
        self.transport.write(b"".join(parts))
        self.cycle = _ANSWERED
        self.server_state.total_requests += 1
        self._seen = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._end_idle)
        return True

    def _end_idle(self) -> None:
        """Close the connection if it was idle; one timer per connection serves many answers."""
        self._idle = None
        is_busy = self.cycle is not None and not self.cycle.response_complete
        rest = self._seen + self.timeout_keep_alive - self.loop.time()
        if is_busy or rest > 0:
            self._idle = self.loop.call_later(max(rest, 1.0), self._end_idle)
        else:
            self.timeout_keep_alive_handler()
