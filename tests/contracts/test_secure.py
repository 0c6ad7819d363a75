"""The server's own TLS below HTTP: who agrees on none, who stalls, and what leaves when a body is cut off."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.server import secure
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.store.store import Store
from tests.authority import Authority
from tests.bench.registries.client import Client

BIG = os.urandom(1 << 20) * 64
DIGEST = Digest.of(BIG)
PATH = f"/v2/team/app/blobs/{DIGEST}"
APPLICATION_DATA, ALERT, HANDSHAKE, CHANGE = 23, 21, 22, 20


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Path]]:
    monkeypatch.setattr(secure, "HANDSHAKE_SECONDS", 1.0)
    authority = Authority(tmp_path)
    identity = authority.issue()
    settings = Settings(certificate=identity.certificate, key=identity.key, anonymous_pull=True)
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        store.put_blob("team/app", DIGEST, [BIG])
        yield running, authority.ca


def is_served(server: tuple[Running, Path]) -> bool:
    with Client(server[0].port, ca=server[1]) as client:
        return client.ask("GET", "/livez").status == 200


def ends(line: socket.socket) -> bool:
    """Say whether the other side closes within a moment."""
    line.settimeout(10)
    try:
        while line.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("said", [b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(400)])
def test_who_speaks_no_tls_is_dropped_and_gets_no_http(server: tuple[Running, Path], said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server[0].port)) as line:
        line.sendall(said)
        line.settimeout(10)
        assert b"HTTP" not in _rest(line)
        assert ends(line)
    assert is_served(server)


def test_who_never_finishes_the_handshake_is_let_go_while_others_are_served(server: tuple[Running, Path]) -> None:
    lines = [socket.create_connection(("127.0.0.1", server[0].port)) for _ in range(50)]
    for line in lines[::2]:
        line.sendall(b"\x16\x03\x01\x02\x00\x01")
    assert is_served(server)
    began = time.monotonic()
    assert all(ends(line) for line in lines)
    assert time.monotonic() - began < 5
    for line in lines:
        line.close()


def test_requests_sent_together_are_answered_in_their_order(server: tuple[Running, Path]) -> None:
    with Client(server[0].port, ca=server[1]) as client:
        paths = ["/livez", f"{PATH}?n=1", "/v2/", "/livez", "/nowhere"]
        client.connect().sendall(b"".join(client.head("HEAD", path) for path in paths))
        answers = [client.take(is_head=True) for _ in paths]
        assert [one.status for one in answers] == [200, 200, 200, 200, 404]
        assert answers[1].headers["docker-content-digest"] == str(DIGEST)


def test_a_body_that_is_cut_off_leaves_nothing_unencrypted_behind(server: tuple[Running, Path]) -> None:
    """The socket carries TLS records alone, to its end, also when the server stops in the middle of a body."""
    running, ca = server
    context = ssl.create_default_context(cafile=str(ca))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    seen = b""
    with socket.create_connection(("127.0.0.1", running.port)) as line:
        line.settimeout(20)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                line.sendall(outgoing.read())
                data = line.recv(1 << 16)
                seen += data
                incoming.write(data)
        tls.write(f"GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        line.sendall(outgoing.read())
        seen += line.recv(1 << 16)
        time.sleep(0.5)  # by now both sides' buffers are full, and the server's thread waits
        running.stop()
        while data := _rest(line):
            seen += data
    kinds = set()
    at = 0
    while at + 5 <= len(seen):
        kinds.add(seen[at])
        at += 5 + int.from_bytes(seen[at + 3 : at + 5], "big")
    assert len(seen) < len(BIG)
    assert kinds <= {APPLICATION_DATA, ALERT, HANDSHAKE, CHANGE}
    assert b"\x17\x03\x03" in seen
    assert BIG[:1000] not in seen


def _rest(line: socket.socket) -> bytes:
    try:
        return line.recv(1 << 20)
    except ConnectionError:
        return b""


def test_a_client_that_reads_slowly_gets_every_byte(server: tuple[Running, Path]) -> None:
    with Client(server[0].port, ca=server[1]) as client:
        connection = client.connect()
        connection.sendall(client.head("GET", PATH))
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(1 << 16)
        parts = [data.partition(b"\r\n\r\n")[2]]
        got = len(parts[0])
        while got < len(BIG):
            if got % 7 == 0:
                time.sleep(0.05)
            parts.append(connection.recv(1 << 20))
            assert parts[-1]
            got += len(parts[-1])
        assert Digest.of(b"".join(parts)) == DIGEST
        assert client.ask("GET", "/livez").status == 200
