"""What a connection can do before anybody is known: hold on for ever, fill the memory, or make two readers disagree."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX
from registry.server import exchange, lane, patience, serve
from registry.server.pages import login as forms
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.store.store import Store
from tests.authority import Authority
from tests.contracts.conftest import Wire, write_users

ALIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 32 << 20


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """A server whose patience is short."""
    monkeypatch.setattr(patience, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(patience, "SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(serve, "IDLE_SECONDS", 2)
    settings = Settings(users=write_users(tmp_path / "users"), access=tmp_path / "access")
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        yield Wire(running.url)


@pytest.fixture
def secure(wire: Wire, tmp_path: Path) -> Iterator[Wire]:
    """The same over TLS."""
    assert wire
    authority = Authority(tmp_path)
    server = authority.issue()
    settings = Settings(users=tmp_path / "users", certificate=server.certificate, key=server.key)
    pool = urllib3.PoolManager(retries=False, timeout=30, ca_certs=str(authority.ca))
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        yield Wire(running.url, "admin", pool)


@contextlib.contextmanager
def line(wire: Wire, seconds: float = 20) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(wire.url.rpartition(":")[2])), timeout=seconds) as connection:
        if wire.url.startswith("http:"):
            yield connection
            return
        context = ssl.create_default_context(cafile=wire.pool.connection_pool_kw["ca_certs"])
        with context.wrap_socket(connection, server_hostname="127.0.0.1") as secured:
            yield secured


def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the server ends the connection."""
    data = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
        while block := connection.recv(1 << 16):
            data += block
    return data


def login(user: str = "admin") -> bytes:
    given = urllib3.make_headers(basic_auth=f"{user}:pw-{user}")["authorization"]
    return f"Authorization: {given}\r\n".encode()


# Time


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET /livez HTTP/1.1\r\nX: "])
def test_who_never_ends_a_head_is_not_waited_for(wire: Wire, begun: bytes) -> None:
    with line(wire) as connection:
        start = time.monotonic()
        connection.sendall(begun)
        assert rest(connection) == b""
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("drop", [b"\r\n", b"x", b"X: y\r\n"])
def test_a_byte_now_and_then_keeps_nobody(wire: Wire, drop: bytes) -> None:
    with line(wire) as connection:
        start = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(ALIVE + b"GET /livez HTTP/1.1\r\n"[: 0 if drop == b"\r\n" else 99])
            while time.monotonic() - start < 10:
                time.sleep(0.2)
                connection.sendall(drop)
        assert time.monotonic() - start < 10


def test_a_body_that_nobody_wants_is_not_waited_for(wire: Wire) -> None:
    with line(wire) as connection:
        connection.sendall(b"PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert b" 401 " in connection.recv(1 << 16)
        start = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - start < 10:
                time.sleep(0.1)
                connection.sendall(b"x")
        assert time.monotonic() - start < 10


def test_an_idle_connection_that_was_used_by_turns_lives_as_long_as_any(wire: Wire) -> None:
    wire.push_blob("a", b"{}")
    listed = b"GET /v2/a/tags/list HTTP/1.1\r\nHost: x\r\n" + login() + b"\r\n"  # comes from memory the second time
    with line(wire) as connection:
        for _ in range(2):
            connection.sendall(listed)
            assert b" 200 " in connection.recv(1 << 16)
        for _ in range(8):  # beyond the time after which an idle one ends
            time.sleep(0.4)
            connection.sendall(ALIVE)
            assert connection.recv(1 << 16).endswith(b"ok\n")
        start = time.monotonic()
        assert rest(connection) == b""
        assert 1 < time.monotonic() - start < 5


def test_a_request_behind_a_long_one_is_answered_after_it(wire: Wire) -> None:
    digest = wire.push_blob("a", bytes(LARGE))
    with line(wire) as connection:
        head = f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n".encode() + login() + b"\r\n"
        connection.sendall(head + ALIVE[:20])
        seen = 0
        for _ in range(12):  # slowly, for longer than a head has
            seen += len(connection.recv(1 << 16))
            time.sleep(0.2)
        while seen < LARGE:
            seen += len(connection.recv(1 << 20))
        connection.sendall(ALIVE[20:])
        data = b""
        while not data.endswith(b"ok\n"):
            data += connection.recv(1 << 16)


def test_who_takes_nothing_of_an_answer_is_gone(wire: Wire) -> None:
    size = push_large_index(wire, 4 << 20)
    with line(wire) as connection:
        connection.sendall(ask_index() * 8)
        time.sleep(6)
        assert len(rest(connection)) < 8 * size


def test_who_takes_an_answer_slowly_gets_it(wire: Wire) -> None:
    size = push_large_index(wire, 7 << 20)
    with line(wire) as connection:
        connection.sendall(ask_index(b"Connection: close\r\n"))
        seen, start = 0, time.monotonic()
        while time.monotonic() - start < 5:
            time.sleep(0.05)
            seen += len(connection.recv(1 << 16))
        assert seen + len(rest(connection)) > size


def push_large_index(wire: Wire, size: int) -> int:
    data = strictjson.canonical(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "annotations": {"a": "x" * size}}
    )
    assert wire.push_manifest("a", data, "1", OCI_INDEX).status == 201
    return len(data)


def ask_index(more: bytes = b"") -> bytes:
    return b"GET /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\n" + login() + more + b"\r\n"


@pytest.mark.parametrize("begun", [b"", b"GET /livez HTTP/1.1\r\nX: "])
def test_over_tls_too_nobody_is_waited_for(secure: Wire, begun: bytes) -> None:
    with line(secure) as connection:
        start = time.monotonic()
        connection.sendall(begun)
        assert rest(connection) == b""
        assert time.monotonic() - start < 5


def test_over_tls_too_who_takes_nothing_is_gone(secure: Wire) -> None:
    size = push_large_index(secure, 4 << 20)
    with line(secure) as connection:
        connection.sendall(ask_index() * 8)
        time.sleep(6)
        assert len(rest(connection)) < 8 * size


def test_over_tls_too_who_takes_an_answer_slowly_gets_it(secure: Wire) -> None:
    size = push_large_index(secure, 7 << 20)
    with line(secure) as connection:
        connection.sendall(ask_index(b"Connection: close\r\n"))
        seen, start = 0, time.monotonic()
        while time.monotonic() - start < 5:
            time.sleep(0.04)
            seen += sum(len(connection.recv(1 << 16)) for _ in range(4))  # a record at a time
        assert seen + len(rest(connection)) > size


def test_over_tls_too_a_header_without_end_is_cut_before_it_is_kept(secure: Wire) -> None:
    before = resident()
    with line(secure) as connection, contextlib.suppress(OSError):  # the server may say goodbye first
        connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        for _ in range(512):
            connection.sendall(b"a" * (1 << 17))
    assert resident() - before < 32 << 20
    assert secure.ask("GET", "/livez").status == 200


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(
    "sent", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x40\x00\x01", bytes(4096)]
)
def test_what_becomes_no_tls_holds_up_nobody(secure: Wire, sent: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            address = ("127.0.0.1", int(secure.url.rpartition(":")[2]))
            stack.enter_context(socket.create_connection(address)).sendall(sent)
        start = time.monotonic()
        assert secure.ask("GET", "/v2/").status == 200
        assert time.monotonic() - start < 5


# Memory


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: ",
        b"GET /",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n%",
        b"POST /token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
        b"POST /token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;",
    ],
    ids=["header", "path", "headers", "trailer", "chunk extension"],
)
def test_what_has_no_end_is_cut_before_it_is_kept(wire: Wire, endless: bytes) -> None:
    block = b"a: b\r\n" * (1 << 14) if endless.endswith(b"%") else b"a" * (1 << 17)
    before = resident()
    with line(wire) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(endless.removesuffix(b"%"))
        for _ in range(512):
            connection.sendall(block)
        pytest.fail("64 MiB of what is no body were taken")
    assert resident() - before < 32 << 20
    assert wire.ask("GET", "/livez").status == 200


@pytest.mark.parametrize("endless", [b"0\r\nX: ", b"0\r\n%", b"5;"], ids=["trailer", "trailers", "chunk extension"])
def test_who_may_push_sends_nothing_without_end_but_a_body(wire: Wire, endless: bytes) -> None:
    location = wire.ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
    block = b"a: b\r\n" * (1 << 14) if endless.endswith(b"%") else b"a" * (1 << 17)
    before = resident()
    with line(wire) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".encode() + login()
        connection.sendall(head + b"\r\n5\r\nhello\r\n")
        time.sleep(0.2)  # by now a thread has the body
        connection.sendall(endless.removesuffix(b"%"))
        for _ in range(512):
            connection.sendall(block)
        pytest.fail("64 MiB of what is no body were taken")
    assert resident() - before < 32 << 20
    deadline = time.monotonic() + 10
    while wire.ask("GET", location).headers["X-Upload-Offset"] != "5":  # what came before is kept
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_trailers_are_taken_and_mean_nothing(wire: Wire) -> None:
    location = wire.ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
    head = f"PUT {location}?digest={Digest.of(b'hello')} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".encode()
    with line(wire) as connection:
        connection.sendall(head + login() + b"Trailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\nContent-Range: 5-9\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 201 ")
        connection.sendall(ALIVE)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(("size", "status"), [(100 << 10, 200), (140 << 10, 400)])
def test_a_head_may_be_as_large_as_clients_need(wire: Wire, size: int, status: int) -> None:
    with line(wire) as connection:
        connection.sendall(ALIVE[:-2] + b"X: " + b"a" * size + b"\r\n\r\n")
        assert connection.recv(1 << 16).startswith(f"HTTP/1.1 {status} ".encode())


# Two readers of one stream: a proxy in front must never see another number of requests than we do

POST = b"POST /token HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        *(
            POST + b"Content-Length: %b\r\n\r\nhello" % one
            for one in (b"+5", b"5, 5", b"5 5", b"0x5", b"-1", b"", b"9" * 30)
        ),
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET /livez HTTP/1.1\nHost: x\n\n",
        b"GET /livez HTTP/1.1\r\nHost: x\rX: y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\x00y\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n Host: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        *(
            CHUNKED + one
            for one in (b"F" * 17 + b"\r\nhello", b"-1\r\nhello", b"0x5\r\nhello", b"5 \r\nhello", b"5\nhello\n0\n\n")
        ),
        CHUNKED + b"5;a\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
        CHUNKED + b"0\r\nContent-Length: 7\r\n\r\n",
    ],
    ids=lambda sent: repr(sent.removeprefix(POST))[:60],
)  # fmt: skip
def test_what_two_readers_could_split_differently_ends_the_connection(wire: Wire, sent: bytes) -> None:
    with line(wire) as connection:
        connection.sendall(sent + ALIVE)
        seen = rest(connection)
    assert statuses(seen) == ["400"]
    assert b"connection: close" in seen.lower()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /livez HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /token HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        b"POST /token HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
        # The client was never told to send the body: whether it does is not to be guessed.
        b"PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n",
        b"POST /token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n",
    ],
    ids=lambda sent: repr(sent)[:50],
)  # fmt: skip
def test_where_nothing_more_is_read_the_answer_says_so(wire: Wire, sent: bytes) -> None:
    with line(wire) as connection:
        connection.sendall(sent + ALIVE)
        seen = rest(connection)
    assert len(statuses(seen)) == 1
    assert b"connection: close" in seen.lower()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"GET http://elsewhere.example/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda sent: repr(sent)[:50],
)  # fmt: skip
def test_a_body_that_nobody_reads_is_not_the_next_request(wire: Wire, sent: bytes) -> None:
    with line(wire) as connection:
        connection.sendall(sent + ALIVE)
        data = b""
        while not data.endswith(b"ok\n") or len(statuses(data)) < 2:
            data += connection.recv(1 << 16)
    assert len(statuses(data)) == 2


def test_a_push_that_asks_before_it_sends_still_works(wire: Wire) -> None:
    begun = wire.ask("POST", "/v2/a/blobs/uploads/").headers["Location"]
    with line(wire) as connection:
        head = f"PUT {begun}?digest={Digest.of(b'hello')} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
        connection.sendall(head.encode() + b"Expect: 100-continue\r\n" + login() + b"\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hello")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 201 ")
        connection.sendall(ALIVE)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_what_a_stranger_sends_writes_no_log(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for sent in (
            b"nonsense\r\n\r\n",
            POST + b"Content-Length: 5\r\n\r\nhel",
            POST + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n",
        ):
            with line(wire) as connection:
                connection.sendall(sent)
        with line(wire) as connection:
            connection.sendall(b"POST /ui/login HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nname=")
        time.sleep(0.5)
        assert wire.ask("GET", "/livez").status == 200
    assert caplog.messages == []


def statuses(data: bytes) -> list[str]:
    return [one.decode() for one in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", data)]


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (POST + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60\r\n\r\n", b""),
        (POST + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60\r\n\r\n", b"a"),
        (b"POST /ui/login HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\n\r\n", b"a"),
        (b"PUT /v2/a/manifests/1 HTTP/1.1\r\nHost: x\r\n" + login() + b"Content-Length: 60\r\n\r\n", b"a"),
        (b"POST /v2/a/blobs/uploads/?digest=sha256:" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\n" + login()
         + b"Content-Length: 60\r\n\r\n", b""),
    ],
    ids=["form, nothing", "form, slowly", "login, slowly", "manifest, slowly", "upload, nothing"],
)  # fmt: skip
def test_a_body_that_does_not_come_is_not_waited_for(
    wire: Wire, head: bytes, drop: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in (exchange, lane):
        monkeypatch.setattr(module, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(exchange, "LEAST_RATE", 1 << 30)
    monkeypatch.setattr(forms, "FORM_SECONDS", 1.0)
    with line(wire) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        start = time.monotonic()
        connection.sendall(head)
        connection.settimeout(0.1)
        seen = b""
        while time.monotonic() - start < 8:
            with contextlib.suppress(TimeoutError):
                block = connection.recv(1 << 16)
                seen += block
                if not block:
                    break
            connection.sendall(drop)
    assert time.monotonic() - start < 6
    assert statuses(seen) in (["408"], [])  # where a thread has the body, the connection just ends
    assert caplog.messages == []
