"""A server that answers what a test tells it to, down to single bytes, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.authority import Identity


class Request(BaseHTTPRequestHandler):
    """One request; a test's answer writes to it."""

    protocol_version = "HTTP/1.1"
    server: ScriptedServer
    left = 0

    def do_GET(self) -> None:
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        self.server.asked.append(f"{self.command} {self.path}")
        self.left = int(self.headers.get("Content-Length", 0))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.server.answer(self)
        self.close_connection |= self.left > 0

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def body(self, most: int | None = None) -> bytes:
        """Return the body, or at most so much of it, fewer bytes where it breaks off."""
        parts = []
        most = self.left if most is None else min(most, self.left)
        with contextlib.suppress(OSError):
            while most and (part := self.rfile.read1(min(most, 1 << 18))):
                parts.append(part)
                self.left -= len(part)
                most -= len(part)
        return b"".join(parts)

    def hang_up(self) -> None:
        """End the connection without an answer."""
        self.left, self.close_connection = 0, True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)  # TLS says no farewell either

    def reply(self, status: int, body: bytes = b"", /, *, length: int | None = None, **headers: str) -> None:
        """Answer; `length` overrides the announced length."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.close_connection = length is not None and length != len(body)

    def endless(self, block: bytes) -> None:
        """Send `block` again and again, chunked, until the client hangs up."""
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.server.endless_bytes = 0
        self.close_connection = True
        while True:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            self.server.endless_bytes += len(block)

    def log_message(self, *_: object) -> None:
        pass


class ScriptedServer(ThreadingHTTPServer):
    """Serves on loopback while it is entered."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, identity: Identity | None, answer: Callable[[Request], None]) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        if identity:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity.certificate, identity.key)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answer = answer
        self.asked: list[str] = []
        self.seen: list[tuple[str, Mapping[str, str]]] = []
        self.endless_bytes = 0
        self.url = f"{'https' if identity else 'http'}://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Stay silent: clients that refuse the certificate hang up."""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join(5)

    def authorizations(self) -> Iterator[str | None]:
        """Return what was sent as credentials, request by request."""
        return (headers.get("authorization") for _, headers in self.seen)
