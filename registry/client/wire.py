"""Connections that carry gigabytes: HTTP/1.1 over urllib3's pools, with our own hands on the socket.

* A body is sent from one buffer, or by the system itself out of an open file where there is no TLS between.
* A server that answers before it has the whole body is listened to at once.
* What drips is cut off: headers have a deadline, bodies a least speed. There is no limit to how long a body may take.
* A connection on plain HTTP ends on this machine, and none but the registry's own leads inward.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ProtocolError
from urllib3.util import wait_for_read, wait_for_write

BUFFER_BYTES = 64 << 10
SEND_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an open file, which the system sends from there."""

    handle: int
    offset: int
    length: int


Block = bytes | memoryview | Span


class Body(Protocol):
    """A request's body; each turn over it begins at its first byte."""

    @property
    def size(self) -> int:
        """Exact size in bytes."""
        ...

    def __iter__(self) -> Iterator[Block]:
        """Yield the bytes in order."""
        ...


@dataclass(frozen=True, slots=True)
class Rules:
    """What a connection is held to."""

    home: str | None = None
    """The registry's own host, where it is not this machine: no other host may then lead to this machine."""
    header_seconds: float = 300
    """For an answer's head, from the last byte of the request: a registry may check gigabytes before it answers."""
    stall_seconds: float = 30
    stall_bytes: int = 1 << 10
    """Less than this in each second of waiting, for so many seconds, is no transfer."""
    take: Callable[[int], None] = lambda _: None
    """Told of every byte before more are moved; it may wait (bandwidth)."""


class StalledError(OSError):
    """The other side moves next to nothing."""


def is_slow(error: BaseException | None) -> bool:
    """Say whether a failure is one of time: what it wraps counts."""
    while error is not None:
        if isinstance(error, StalledError | TimeoutError | urllib3.exceptions.TimeoutError):
            return True
        error = error.__cause__
    return False


@dataclass(slots=True)
class _Speed:
    """The least speed of one direction; time spent waiting for the other side counts, our own does not."""

    rules: Rules
    waited: float = 0.0
    moved: int = 0

    def moved_in(self, seconds: float, count: int) -> None:
        self.waited += seconds
        self.moved += count
        if self.waited >= self.rules.stall_seconds:
            if self.moved < self.waited * self.rules.stall_bytes:
                raise StalledError(f"{self.moved} bytes in {self.waited:.0f} seconds")
            self.waited, self.moved = 0.0, 0


@dataclass
class _Watched(io.RawIOBase):
    """What is received: bounded in time, first until the head is there, then by its speed."""

    raw: io.RawIOBase
    rules: Rules
    deadline: float | None
    speed: _Speed = field(init=False)

    def __post_init__(self) -> None:
        self.speed = _Speed(self.rules)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - io's own signature
        began = time.monotonic()
        if self.deadline and began > self.deadline:
            raise StalledError("the head of the answer does not end")
        count = self.raw.readinto(buffer)
        if count:
            if not self.deadline:
                self.speed.moved_in(time.monotonic() - began, count)
            self.rules.take(count)
        return count

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Received(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, rules: Rules, **more: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **more)
        raw: Any = self.fp.detach()
        self._watched = _Watched(raw, rules, time.monotonic() + rules.header_seconds)
        self.fp = io.BufferedReader(self._watched, BUFFER_BYTES)

    def begin(self) -> None:
        super().begin()
        self._watched.deadline = None


class _Hands:
    """What both kinds of connection do otherwise than urllib3's."""

    sock: socket.socket
    rules: Rules
    timeout: Any
    is_plain: bool
    was_answered: bool = False
    """Whether this connection brought an answer before: TLS 1.3 sends tickets unasked, but ahead of the first."""

    def getresponse(self) -> Any:  # noqa: ANN401 - urllib3's own signature
        answer = super().getresponse()  # type: ignore[misc]
        self.was_answered = True
        return answer

    def send(self, data: Any) -> None:  # noqa: ANN401 - http.client's own signature
        if not isinstance(data, memoryview | Span):
            super().send(data)  # type: ignore[misc]
            return
        speed = _Speed(self.rules)
        self.sock.settimeout(self.rules.stall_seconds)
        place, length = 0, data.length if isinstance(data, Span) else len(data)
        while place < length:
            if (self.is_plain or self.was_answered) and wait_for_read(self.sock, 0):
                raise BrokenPipeError("the server answers before it has everything")
            count = min(length - place, SEND_BYTES)
            self.rules.take(count)
            began = time.monotonic()
            sent = self._move(data, place, count)
            speed.moved_in(time.monotonic() - began, sent)
            place += sent

    def _move(self, data: memoryview | Span, place: int, count: int) -> int:
        if isinstance(data, memoryview):
            return self.sock.send(data[place : place + count])
        if not self.is_plain:
            return self.sock.send(os.pread(data.handle, count, data.offset + place))
        while True:
            try:
                sent = os.sendfile(self.sock.fileno(), data.handle, data.offset + place, count)
            except BlockingIOError:  # a socket with a time limit does not block in the kernel
                if not wait_for_write(self.sock, self.rules.stall_seconds):
                    raise StalledError("the server takes nothing") from None
                continue
            if not sent:
                raise ProtocolError("a file became shorter while it was sent")
            return sent


class _Plain(_Hands, HTTPConnection):
    is_plain = True

    def __init__(self, *args: Any, rules: Rules, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        self.rules = rules
        self.response_class = partial(_Received, rules=rules)  # type: ignore[assignment]

    def connect(self) -> None:
        self.was_answered = False
        super().connect()
        if not _peer(self.sock).is_loopback:
            self.close()
            raise ProtocolError(f"plain HTTP, and {self.host} is not this machine")


class _Tls(_Hands, HTTPSConnection):
    is_plain = False

    def __init__(self, *args: Any, rules: Rules, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        self.rules = rules
        self.response_class = partial(_Received, rules=rules)  # type: ignore[assignment]

    def _new_conn(self) -> socket.socket:
        self.was_answered = False
        sock = super()._new_conn()
        peer, home = _peer(sock), self.rules.home
        if home and self.host != home and not self.proxy and (peer.is_link_local or peer.is_loopback):
            sock.close()
            raise ProtocolError(f"{self.host} leads to {peer}, an address that only this machine can mean")
        return sock


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Tls


def with_rules(pools: urllib3.PoolManager, rules: Rules, context: Callable[[], ssl.SSLContext]) -> urllib3.PoolManager:
    """Make connections of these pools keep the rules; `context` is asked when the first goes over TLS."""

    def pool(kind: type[urllib3.HTTPConnectionPool], *args: Any, **more: Any) -> urllib3.HTTPConnectionPool:  # noqa: ANN401
        if kind is _TlsPool:
            more["ssl_context"] = context()
        made = kind(*args, **more)
        made.conn_kw["rules"] = rules
        return made

    classes: Any = {"http": partial(pool, _PlainPool), "https": partial(pool, _TlsPool)}
    pools.pool_classes_by_scheme = classes
    return pools


def _peer(sock: socket.socket) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(sock.getpeername()[0].partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
