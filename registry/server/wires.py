"""What a lane's thread moves bytes over: a plain socket, or TLS on one. Neither blocks: they raise BlockingIOError."""

from __future__ import annotations

import os
import ssl
import threading
from typing import Protocol

_SEND_BYTES = 8 << 20
_READ_BYTES = 256 << 10
WAITS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)
_own = threading.local()
_turn = threading.Lock()
"""Held while a block goes through TLS, for the reason that `threads` gives; a process fills one core so, and there is a
process for each."""


class Wire(Protocol):
    """One connection, for one thread at a time."""

    @property
    def socket(self) -> int:
        """The socket to wait for."""

    def receive(self, buffer: memoryview) -> int:
        """Fill the buffer's beginning; 0 stands for the end."""

    def send_file(self, file: int, offset: int, length: int) -> int:
        """Send some of a file's bytes, and return how many; 0 if there are none."""


class PlainWire:
    """A socket as it is: a file's bytes never come to this process."""

    def __init__(self, socket: int) -> None:
        self.socket = socket

    def receive(self, buffer: memoryview) -> int:
        """Fill the buffer's beginning; 0 stands for the end."""
        return os.readv(self.socket, [buffer])

    def send_file(self, file: int, offset: int, length: int) -> int:
        """Send some of a file's bytes, and return how many; 0 if there are none."""
        return os.sendfile(self.socket, file, offset, min(length, _SEND_BYTES))


class SecureWire:
    """TLS on a socket; a record is 16 KiB, so a buffer is read in a few steps and sent in a few."""

    def __init__(self, socket: int, tls: ssl.SSLSocket) -> None:
        self.socket = socket
        self._tls = tls

    def receive(self, buffer: memoryview) -> int:
        """Fill the buffer's beginning; 0 stands for the end."""
        filled = 0
        with _turn:
            while filled < len(buffer):
                try:
                    count = self._tls.recv_into(buffer[filled:])
                except WAITS as error:
                    if filled:
                        break
                    raise BlockingIOError from error
                if not count:
                    break
                filled += count
        return filled

    def send_file(self, file: int, offset: int, length: int) -> int:
        """Send some of a file's bytes, and return how many; 0 if there are none.

        What TLS could not send it wants to be given again; a file's bytes at the same place are the same.
        """
        buffer = _buffer()
        count = os.preadv(file, [buffer[: min(length, len(buffer))]], offset)
        sent = 0
        with _turn:
            while sent < count:
                try:
                    sent += self._tls.send(buffer[sent:count])
                except WAITS as error:
                    if sent:
                        break
                    raise BlockingIOError from error
        return sent


def _buffer() -> memoryview:
    view: memoryview | None = getattr(_own, "view", None)
    if view is None:
        view = _own.view = memoryview(bytearray(_READ_BYTES))
    return view
