"""Bodies that go past ASGI: whole, in ranges, in chunks, slow, cut off; plain and over TLS, with the same outcome."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.bench.registries.client import Blob, Client

LOGIN = Client.basic("admin", "pw")
BIG = os.urandom(1 << 20) * 9 + b"end"
DIGEST = Digest.of(BIG)
PATH = f"/v2/team/app/blobs/{DIGEST}"


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Path | None]]:
    folder = tmp_path_factory.mktemp("bodies")
    users = folder / "users"
    users.write_text(user_line("admin", "pw", ["pull,push,delete:*"], iterations=100_000) + "\n")
    authority = Authority(folder) if request.param == "tls" else None
    identity = authority.issue() if authority else None
    tls = {"certificate": identity.certificate, "key": identity.key} if identity else {}
    with Store.open(folder / "store") as store, Running(Settings(users=users, **tls), store) as running:
        store.put_blob("team/app", DIGEST, [BIG])
        yield running.port, authority.ca if authority else None


@pytest.fixture
def client(server: tuple[int, Path | None]) -> Iterator[Client]:
    with Client(server[0], ca=server[1], headers=LOGIN) as opened:
        yield opened


def begin(client: Client) -> str:
    begun = client.ask("POST", "/v2/team/app/blobs/uploads/", b"")
    assert begun.status == 202
    return begun.headers["location"]


def raw(client: Client, size: int) -> bytes:
    """Read one answer of a known size, all of it."""
    connection, data = client.connect(), b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < size:
        data += connection.recv(1 << 20)
    return data.partition(b"\r\n\r\n")[2]


def everything(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""
    while True:
        try:
            block = connection.recv(1 << 16)
        except ConnectionError:
            return data
        if not block:
            return data
        data += block


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, BIG),
        ("bytes=0-", BIG),
        (f"bytes={(1 << 20) - 1}-{5 << 20}", BIG[(1 << 20) - 1 : (5 << 20) + 1]),
        (f"bytes=-{3 << 20}", BIG[-(3 << 20) :]),
        ("bytes=5-70000", BIG[5:70001]),
    ],
)
def test_every_byte_of_a_file_arrives_and_the_connection_lives_on(
    client: Client, header: str | None, expected: bytes
) -> None:
    for _ in range(2):
        client.connect().sendall(client.head("GET", PATH, **({"Range": header} if header else {})))
        assert raw(client, len(expected)) == expected
    assert client.ask("HEAD", PATH).headers["content-length"] == str(len(BIG))


def test_two_requests_at_once_are_answered_in_order(client: Client) -> None:
    connection = client.connect()
    closing = client.head("GET", PATH, Connection="close")
    connection.sendall(client.head("GET", PATH) + client.head("GET", "/v2/") + closing)
    parts = everything(connection).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [part.partition(b"\r\n\r\n")[2] for part in parts] == [BIG, b"{}", BIG]


def test_a_reader_that_stalls_gets_the_rest_later(client: Client) -> None:
    client.connect().sendall(client.head("GET", PATH))
    time.sleep(0.3)  # longer than a thread waits
    assert raw(client, len(BIG)) == BIG


def test_a_reader_that_goes_away_hurts_nobody(server: tuple[int, Path | None], client: Client) -> None:
    for _ in range(5):
        with Client(server[0], ca=server[1], headers=LOGIN) as other:
            other.connect().sendall(other.head("GET", PATH))
            other.connect().recv(1000)
    client.connect().sendall(client.head("GET", PATH))
    assert raw(client, len(BIG)) == BIG


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_001])
def test_an_upload_is_whole_by_length_and_by_chunks(client: Client, size: int, *, chunked: bool) -> None:
    for _ in range(2):
        blob = Blob(size)
        client.push_blob("team/app", blob, chunked=chunked)
        head = client.ask("HEAD", f"/v2/team/app/blobs/{blob.digest}")
        assert (head.status, head.headers["content-length"]) == (200, str(size))


def test_an_upload_that_comes_slowly_is_taken(client: Client) -> None:
    data = os.urandom(300_000)
    place = begin(client)
    client.connect().sendall(client.head("PATCH", place, Content_Length=str(len(data))))
    for at in range(0, len(data), 100_000):
        time.sleep(0.1)  # longer than a thread waits
        client.connect().sendall(data[at : at + 100_000])
    assert client.take().headers["x-upload-offset"] == str(len(data))
    done = client.ask("PUT", f"{client.ask('GET', place).headers['location']}?digest={Digest.of(data)}", b"")
    assert done.status == 201


def test_what_arrived_before_a_client_went_away_is_kept(server: tuple[int, Path | None], client: Client) -> None:
    data = os.urandom(500_000)
    place = begin(client)
    with Client(server[0], ca=server[1], headers=LOGIN) as other:
        other.connect().sendall(other.head("PATCH", place, Content_Length=str(len(data))) + data[:400_000])
        time.sleep(0.3)
    until = time.monotonic() + 10
    while int(client.ask("GET", place).headers["x-upload-offset"]) < 400_000 and time.monotonic() < until:
        time.sleep(0.05)
    assert client.ask("GET", place).headers["x-upload-offset"] == "400000"
    rest = client.ask("PUT", f"{place}?digest={Digest.of(data)}", data[400_000:])
    assert rest.status == 201


def test_a_client_may_ask_before_it_sends(client: Client) -> None:
    data = os.urandom(100_000)
    place = begin(client)
    head = client.head("PUT", f"{place}?digest={Digest.of(data)}", Content_Length=str(len(data)), Expect="100-continue")
    client.connect().sendall(head)
    assert client.connect().recv(100).startswith(b"HTTP/1.1 100 ")
    client.connect().sendall(data)
    assert client.take().status == 201


def test_a_body_whose_chunks_are_none_ends_the_connection_alone(
    server: tuple[int, Path | None], client: Client
) -> None:
    place = begin(client)
    with Client(server[0], ca=server[1], headers=LOGIN) as other:
        connection = other.connect()
        connection.sendall(other.head("PATCH", place, Transfer_Encoding="chunked") + b"5\r\nhello\r\n")
        time.sleep(0.1)
        connection.sendall(b"this is no length\r\n")
        assert everything(connection).count(b"HTTP/1.1 2") == 0
    assert client.ask("GET", place).status == 204


def test_a_refused_body_leaves_the_connection_in_step(client: Client) -> None:
    refused = client.ask("PUT", f"/v2/team/app/blobs/uploads/{'0' * 32}?digest={DIGEST}", bytes(200_000))
    assert refused.status == 404
    assert client.ask("GET", "/v2/").status == 200


def test_many_slow_uploads_do_not_hold_up_a_quick_one(server: tuple[int, Path | None], client: Client) -> None:
    slow = []
    for _ in range(80):  # more than there are threads
        other = Client(server[0], ca=server[1], headers=LOGIN)
        place = begin(other)
        other.connect().sendall(other.head("PATCH", place, Content_Length="200000") + bytes(100_000))
        slow.append(other)
    began = time.monotonic()
    client.push_blob("team/app", Blob(200_000))
    took = time.monotonic() - began
    for other in slow:
        connection: socket.socket = other.connect()
        connection.sendall(bytes(100_000))
        assert other.take().status == 202
        other.__exit__()
    assert took < 5
