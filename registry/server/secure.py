"""TLS under a connection: the handshake, then a transport whose encryption a thread can borrow for a body.

The event loop's own TLS keeps its state to itself, so every byte of a body would cross it twice. Here the connection's
TLS object stands on the socket, as the standard library makes it; the rules:

* What HTTP is spoken, by whom and how, stays with the protocol inside; it sees an ordinary transport.
* Who shows nothing that becomes TLS is dropped without a word, at the latest after half a minute.
* While a thread has borrowed the encryption, the event loop neither reads, writes nor closes it: what is written
  meanwhile waits, an end shuts the socket down and is finished when the thread gives it back.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from registry.server.wires import WAITS

log = logging.getLogger("dryport.registry.tls")
HANDSHAKE_SECONDS = 30.0
_ACCEPTED = 64
_REST_SECONDS = 1.0
_RECORD_BYTES = 16 << 10
_RECORDS = 8
"""Records taken in one turn of the loop, so that one fast client does not hold up the others."""
_HIGH, _LOW = 64 << 10, 16 << 10


class SecureListener:
    """Takes connections and agrees on TLS; what `protocol` makes gets those on which it stands.

    Stands beside the event loop's own servers, and is closed like one.
    """

    def __init__(
        self, listener: socket.socket, context: Callable[[], ssl.SSLContext], protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listener, self._context, self._protocol = listener, context, protocol
        self._loop = asyncio.get_running_loop()
        listener.setblocking(False)
        self._loop.add_reader(listener.fileno(), self._accept)
        self._is_open = True

    def close(self) -> None:
        """Take no more connections; those that stand go on."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener.fileno())

    async def wait_closed(self) -> None:
        """Nothing is waited for."""

    def _accept(self) -> None:
        for _ in range(_ACCEPTED):
            try:
                line, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # out of files, most likely: some will be closed
                log.warning("a connection cannot be taken: %s", error)
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(_REST_SECONDS, self._go_on)
                return
            try:
                line.setblocking(False)
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                tls = self._context().wrap_socket(line, server_side=True, do_handshake_on_connect=False)
            except OSError:  # gone already
                line.close()
            else:
                SecureTransport(tls, self._protocol())

    def _go_on(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener.fileno(), self._accept)


class SecureTransport(asyncio.Transport):
    """One client's connection, encrypted."""

    def __init__(self, tls: ssl.SSLSocket, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._tls, self._protocol = tls, protocol
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._is_agreed = self._is_lent = self._is_paused = self._is_reading = self._is_writing = False
        self._is_closing = self._is_over = self._is_held_up = False
        self._patience = self._loop.call_later(HANDSHAKE_SECONDS, self.abort)
        self._agree()

    # What the protocol inside sees

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as in asyncio
        """Return what is known of the connection; `ssl_object` and `sslcontext` are TLS's own."""
        if name == "sslcontext":
            return self._tls.context
        return self._tls if name in ("socket", "ssl_object") else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection to another protocol."""
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who has the connection."""
        return self._protocol

    def is_closing(self) -> bool:
        """Say whether the end has begun."""
        return self._is_closing

    def is_reading(self) -> bool:
        """Say whether what comes is taken."""
        return not self._is_paused and not self._is_closing

    def pause_reading(self) -> None:
        """Leave what comes to the client's patience."""
        self._is_paused = True
        self._watch_reading()

    def resume_reading(self) -> None:
        """Take what comes again; what TLS has decrypted already makes no socket readable, so look at once."""
        if self._is_paused:
            self._is_paused = False
            self._loop.call_soon(self._read)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return len(self._waiting)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return at which sizes the protocol is told to stop, and to go on."""
        return _LOW, _HIGH

    def can_write_eof(self) -> bool:
        """TLS has no half-closed connections."""
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send now what the socket takes, the rest when it does."""
        if self._is_closing or not data:
            return
        self._waiting += data
        self._flush()
        if len(self._waiting) > _HIGH and not self._is_held_up:
            self._is_held_up = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """End the connection when everything is sent."""
        if not self._is_closing:
            self._is_closing = True
            self._watch_reading()
            self._flush()

    def abort(self) -> None:
        """End the connection now."""
        self._waiting.clear()
        self._is_closing = True
        self._end(None)

    # What a thread borrows

    @contextmanager
    def lent(self) -> Iterator[ssl.SSLSocket]:
        """Give the TLS object, which stays non-blocking, to whoever moves a body: nobody else touches it meanwhile."""
        self._is_lent = True
        self._watch_reading()
        self._watch_writing(wanted=False)
        try:
            yield self._tls
        finally:
            self._is_lent = False
            if self._is_closing and not self._waiting:
                self._end(None)
            elif not self._is_over:
                self._flush()
                self._loop.call_soon(self._read)

    # The event loop's side

    def _agree(self) -> None:
        if self._is_over:
            return
        self._unwatch()
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._loop.add_reader(self._tls.fileno(), self._agree)
            return
        except ssl.SSLWantWriteError:
            self._loop.add_writer(self._tls.fileno(), self._agree)
            return
        except OSError:  # ssl.SSLError is one
            self.abort()
            return
        self._patience.cancel()
        self._is_agreed = True
        self._protocol.connection_made(self)
        self._read()

    def _read(self) -> None:
        if self._is_closing or self._is_lent or self._is_paused:
            return
        for _ in range(_RECORDS):
            try:
                data = self._tls.recv(_RECORD_BYTES)
            except WAITS:
                self._watch_reading()
                return
            except OSError as error:
                self._end(error)
                return
            if not data:
                self._protocol.eof_received()
                self.close()
                return
            self._protocol.data_received(data)
            if self._is_closing or self._is_lent or self._is_paused:
                return
        self._loop.call_soon(self._read)

    def _flush(self) -> None:
        if self._is_lent or self._is_over:
            return
        try:
            while self._waiting:
                with memoryview(self._waiting) as view:
                    sent = self._tls.send(view)
                del self._waiting[:sent]
        except WAITS:
            self._watch_writing(wanted=True)
        except OSError as error:
            self._waiting.clear()
            self._end(error)
            return
        else:
            self._watch_writing(wanted=False)
        if self._is_held_up and len(self._waiting) <= _LOW:
            self._is_held_up = False
            self._protocol.resume_writing()
        if self._is_closing and not self._waiting:
            self._end(None)

    def _watch_reading(self) -> None:
        """Wait for the client where that is wanted, and only there."""
        wanted = self._is_agreed and not (self._is_paused or self._is_closing or self._is_lent)
        if wanted != self._is_reading and not self._is_over:
            self._is_reading = wanted
            if wanted:
                self._loop.add_reader(self._tls.fileno(), self._read)
            else:
                self._loop.remove_reader(self._tls.fileno())

    def _watch_writing(self, *, wanted: bool) -> None:
        if wanted != self._is_writing:
            self._is_writing = wanted
            if wanted:
                self._loop.add_writer(self._tls.fileno(), self._flush)
            else:
                self._loop.remove_writer(self._tls.fileno())

    def _unwatch(self) -> None:
        self._loop.remove_reader(self._tls.fileno())
        self._loop.remove_writer(self._tls.fileno())
        self._is_reading = self._is_writing = False

    def _end(self, error: Exception | None) -> None:
        """Say goodbye and let go of the socket; a thread that has it finds it shut, and its return ends it."""
        self._is_closing = True
        if self._is_over:
            return
        if self._is_lent:
            with suppress(OSError):
                # Not the TLS object's own `shutdown`: that forgets the keys, and the thread would go on in the clear.
                socket.socket.shutdown(self._tls, socket.SHUT_RDWR)
            return
        self._is_over = True
        self._patience.cancel()
        self._unwatch()
        if self._is_agreed and error is None:
            with suppress(OSError, ValueError):
                self._tls.unwrap()  # the goodbye goes out; nobody waits for the client's
        self._tls.close()
        if self._is_agreed:
            self._loop.call_soon(self._protocol.connection_lost, error)
