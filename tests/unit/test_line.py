"""The line that tests and measurements put between a client and a server carries, delays, counts and cuts."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.line import Line

MIB = 1 << 20


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that gives back what it gets."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while block := connection.recv(MIB):
                    connection.sendall(block)
            except OSError:
                return

    def accept() -> None:
        try:
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
        except OSError:
            return

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def to(line: Line) -> socket.socket:
    return socket.create_connection(("127.0.0.1", line.port), timeout=20)


def through(line: Line, data: bytes) -> bytes:
    with to(line) as connection:
        sending = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        sending.start()
        parts = []
        while block := connection.recv(MIB):
            parts.append(block)
        sending.join()
    return b"".join(parts)


def send_for_ever(connection: socket.socket) -> None:
    while True:
        connection.sendall(bytes(MIB // 4))


def test_bytes_arrive_as_they_were_and_are_counted(echo: int) -> None:
    data = hashlib.shake_256(b"line").digest(5 * MIB + 3)
    with Line(echo) as line:
        assert through(line, data) == data
        assert (line.up, line.down, line.connections) == (len(data), len(data), 1)


def test_a_round_trip_takes_the_delay_and_the_first_one_twice(echo: int) -> None:
    with Line(echo, delay=0.1) as line, to(line) as connection:
        took = []
        for _ in range(3):
            began = time.monotonic()
            connection.sendall(b"?")
            assert connection.recv(1) == b"?"
            took.append(time.monotonic() - began)
    assert took[0] >= 0.19
    assert min(took[1:]) >= 0.095
    assert min(took[1:]) < 0.18


def test_the_rate_holds_for_each_connection(echo: int) -> None:
    with Line(echo, rate=4 * MIB) as line:
        began = time.monotonic()
        work = [threading.Thread(target=through, args=(line, bytes(2 * MIB))) for _ in range(3)]
        for one in work:
            one.start()
        for one in work:
            one.join()
        took = time.monotonic() - began
    assert 0.45 < took < 1.4  # each of them half a second, together not more


def test_a_cut_breaks_the_connection_that_carries_the_byte(echo: int) -> None:
    with Line(echo, [MIB]) as line:
        with to(line) as connection, pytest.raises(ConnectionError):
            send_for_ever(connection)
        assert (line.up, line.broken) == (MIB, 1)
        assert through(line, b"after") == b"after"


def test_a_cut_downwards_gives_what_came_before(echo: int) -> None:
    with Line(echo, [1000], downwards=True) as line, to(line) as connection:
        connection.sendall(bytes(5000))
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while block := connection.recv(MIB):
                got += len(block)
    assert got <= 1000
    assert line.down == 1000


def test_all_connections_break_at_once_when_told(echo: int) -> None:
    with Line(echo, delay=0.02) as line:
        held = [to(line) for _ in range(4)]
        for one in held:
            one.sendall(b"?")
            assert one.recv(1) == b"?"
        assert line.cut() == 4
        for one in held:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
            one.close()


def test_a_client_that_ends_ends_the_connection_at_the_server_after_what_it_sent() -> None:
    got = []
    listener = socket.create_server(("127.0.0.1", 0))
    with Line(listener.getsockname()[1], delay=0.2) as line:
        with to(line) as connection:
            connection.sendall(b"last words")
        server, _ = listener.accept()
        while block := server.recv(100):
            got.append(block)
        server.close()
    listener.close()
    assert b"".join(got) == b"last words"


def test_a_server_that_is_not_there_ends_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with Line(port) as line, to(line) as connection:
        assert connection.recv(1) == b""
