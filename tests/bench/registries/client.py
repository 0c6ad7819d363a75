"""A client that costs little: keep-alive HTTP/1.1 over a socket, bodies thrown away as they come."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

BLOCK = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Answered:
    """One answer; its body is kept only below 1 MiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Client:
    """One connection to 127.0.0.1."""

    port: int
    ca: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    _socket: socket.socket | None = None
    _rest: bytes = b""

    @staticmethod
    def basic(name: str, password: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket:
            self._socket.close()

    def connect(self) -> socket.socket:
        if self._socket is None:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=120)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.ca:
                context = ssl.create_default_context(cafile=self.ca)
                self._socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
            else:
                self._socket = plain
        return self._socket

    def head(self, method: str, path: str, **more: str) -> bytes:
        """Return a request without body."""
        headers = {"Host": f"127.0.0.1:{self.port}", **self.headers, "Accept": MANIFEST + ", */*"}
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode()

    def ask(self, method: str, path: str, body: bytes | None = None, **more: str) -> Answered:
        """Send a request with a small body, or none, and take the answer."""
        if body is not None:
            more["Content_Length"] = str(len(body))
        self.connect().sendall(self.head(method, path, **more) + (body or b""))
        return self.take(is_head=method == "HEAD")

    def take(self, *, is_head: bool = False) -> Answered:
        """Take one answer off the connection."""
        connection = self.connect()
        data = self._rest
        while b"\r\n\r\n" not in data:
            block = connection.recv(BLOCK)
            if not block:
                raise EOFError("the server closed the connection")
            data += block
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split(" ")[1])
        if "chunked" in headers.get("transfer-encoding", ""):
            return Answered(status, headers, self._chunked(connection, data))
        length = 0 if is_head or status in (204, 304) else int(headers.get("content-length", "0"))
        if length < BLOCK:
            while len(data) < length:
                data += connection.recv(BLOCK)
            body, self._rest = data[:length], data[length:]
            return Answered(status, headers, body)
        self._throw_away(connection, length - len(data))
        self._rest = b""
        return Answered(status, headers, b"")

    def _chunked(self, connection: socket.socket, data: bytes) -> bytes:
        parts = []
        while True:
            while b"\r\n" not in data:
                data += connection.recv(BLOCK)
            line, _, data = data.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            while len(data) < size + 2:
                data += connection.recv(BLOCK)
            parts.append(data[:size])
            data = data[size + 2 :]
            if not size:
                self._rest = data
                return b"".join(parts)

    @staticmethod
    def _throw_away(connection: socket.socket, length: int) -> None:
        view = memoryview(bytearray(BLOCK))
        while length:
            count = connection.recv_into(view[: min(length, BLOCK)])
            if not count:
                raise EOFError("the server closed the connection in a body")
            length -= count

    def push_blob(self, repository: str, blob: Blob, *, chunked: bool = False) -> None:
        """Upload a blob: POST, then one PUT with everything, or (as docker does) a chunked PATCH and an empty PUT."""
        begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/", b"")
        if begun.status != 202:
            raise SystemExit(f"POST was answered {begun.status} {begun.body[:200]!r}")
        place = begun.headers["location"].removeprefix("http://").removeprefix("https://")
        place = place[place.index("/") :]
        connection = self.connect()
        if chunked:
            connection.sendall(self.head("PATCH", place, Transfer_Encoding="chunked"))
            for block in blob.blocks(32 << 10):
                connection.sendall(b"%x\r\n%b\r\n" % (len(block), block))
            connection.sendall(b"0\r\n\r\n")
            place = self.take().headers["location"].removeprefix("http://").removeprefix("https://")
            place = place[place.index("/") :]
        target = f"{place}{'&' if '?' in place else '?'}digest={blob.digest}"
        connection.sendall(self.head("PUT", target, Content_Length="0" if chunked else str(blob.size)))
        if not chunked:
            for block in blob.blocks():
                connection.sendall(block)
        done = self.take()
        if done.status != 201:
            raise SystemExit(f"PUT was answered {done.status} {done.body[:200]!r}")


class Blob:
    """Bytes that no other blob has, made while they are sent."""

    _pattern = os.urandom(BLOCK)

    def __init__(self, size: int, data: bytes | None = None) -> None:
        self.size = size
        self._data = data
        self._first = os.urandom(32)
        hasher = hashlib.sha256()
        for block in self.blocks():
            hasher.update(block)
        self.digest = f"sha256:{hasher.hexdigest()}"

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """Return given bytes as a blob."""
        return cls(len(data), data)

    def blocks(self, step: int = BLOCK) -> Iterator[bytes | memoryview]:
        """Give the bytes in pieces."""
        if self._data is not None:
            yield self._data
            return
        if self.size:
            yield self._first[: self.size]
        rest = self.size - min(self.size, len(self._first))
        pattern, at = memoryview(self._pattern), 0
        while rest > 0:
            piece = pattern[at : at + min(rest, step)]
            yield piece
            rest -= len(piece)
            at = (at + len(piece)) % BLOCK
