"""Files at addresses: from any byte on, over lines that break, from servers that make us wait or send us elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bundles.archive.writer import build
from bundles.definition import FileEntry, Location
from bundles.lock import Lock, LockedBlob, UrlBlob
from bundles.sources import files
from bundles.sources.addresses import Addresses
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from registry.client.pace import Throttle
from registry.errors import DefinitionError, RemoteError
from registry.oci.digest import Digest
from registry.progress import Silent

DATA = bytes(range(256)) * 20_000


@dataclass
class Server:
    """What a server does next; `asked` are the ranges of the requests."""

    url: str = ""
    cuts: list[int] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    knows_ranges: bool = True
    data: bytes = DATA


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            state.asked.append(self.headers.get("Range", ""))
            if state.answers:
                code, headers = state.answers.pop(0)
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-")) if state.knows_ranges else 0
            rest = state.data[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(rest[: state.cuts.pop(0)] if state.cuts else rest)
                if len(rest) > len(state.data):
                    self.close_connection = True
            self.close_connection = True

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}/tool-1.0.tar.gz"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield state
    http.shutdown()
    http.server_close()


def blob(server: Server) -> LockedBlob:
    return LockedBlob(
        digest=Digest.of(DATA), size=len(DATA), media_type="application/octet-stream", origin=UrlBlob(url=server.url)
    )


def taken(server: Server, start: int = 0) -> bytes:
    return b"".join(Addresses().blocks(server.url, blob(server), start))


def test_a_file_is_locked_by_its_pin_and_size_and_built_from_its_address(server: Server, tmp_path: Path) -> None:
    entry = FileEntry(name="tool", url=server.url, sha256=Digest.of(DATA).hex)
    inputs = Inputs(tmp_path, {}, tmp_path)
    artifact = files.resolve_file(entry, "1.0.0", inputs)
    assert artifact.blobs[-1].size == len(DATA)
    lock = Lock(product="x", version="1.0.0", platforms=["linux/amd64"], definition="d", artifacts=[artifact])
    assert build(lock, tmp_path / "b.tar", Fetcher(inputs), Silent()).content > len(DATA)


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_transfer_goes_on_where_it_broke(server: Server, knows_ranges: bool) -> None:
    server.knows_ranges = knows_ranges
    server.cuts = [1_000_000, 3_000_000]
    assert taken(server) == DATA
    if knows_ranges:
        assert server.asked == ["", "bytes=1000000-", "bytes=4000000-"]


def test_a_build_that_was_cut_off_asks_for_the_rest_alone(server: Server) -> None:
    assert taken(server, 4 << 20) == DATA[4 << 20 :]
    assert server.asked == [f"bytes={4 << 20}-"]


def test_a_server_that_asks_to_wait_is_waited_for(server: Server) -> None:
    server.answers = [(429, {"Retry-After": "1"}), (503, {"Retry-After": "1"})]
    began = time.monotonic()
    assert taken(server) == DATA
    assert time.monotonic() - began >= 2


def test_a_server_may_send_us_elsewhere(server: Server) -> None:
    server.answers = [(302, {"Location": server.url})]
    assert taken(server) == DATA


def test_a_file_that_is_gone_is_the_definitions_fault(server: Server) -> None:
    server.answers = [(404, {})]
    with pytest.raises(DefinitionError) as caught:
        Addresses().size(server.url)
    assert caught.value.reference == "source-missing"


@pytest.mark.parametrize("code", [401, 403, 500])
def test_a_server_that_refuses_is_a_remote_error(server: Server, code: int) -> None:
    server.answers = [(code, {})] * 10
    with pytest.raises(RemoteError):
        taken(server)


def test_a_server_that_never_goes_on_is_given_up(server: Server) -> None:
    server.cuts = [1000, *[0] * 20]
    with pytest.raises(RemoteError) as caught:
        taken(server)
    assert "1000 bytes" in caught.value.seen


def test_other_bytes_than_the_pinned_ones_never_make_a_bundle(server: Server, tmp_path: Path) -> None:
    entry = FileEntry(name="tool", url=server.url, sha256=Digest.of(DATA).hex)
    inputs = Inputs(tmp_path, {}, tmp_path)
    artifact = files.resolve_file(entry, "1.0.0", inputs)
    lock = Lock(product="x", version="1.0.0", platforms=["linux/amd64"], definition="d", artifacts=[artifact])
    server.data = DATA[:-1] + b"!"
    with pytest.raises(DefinitionError) as caught:
        build(lock, tmp_path / "b.tar", Fetcher(inputs), Silent())
    assert caught.value.reference == "source-changed"
    assert not (tmp_path / "b.tar").exists()


@pytest.mark.parametrize("url", ["ftp://x/y", "http://user:pass@x/y", "https:///y", "file:///etc/passwd", "x"])
def test_what_is_no_address_or_holds_a_login_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        FileEntry(name="x", url=url, sha256="0" * 64)


def test_an_address_without_a_pin_is_refused() -> None:
    with pytest.raises(ValueError, match="pinned"):
        FileEntry(name="x", url="https://downloads.example.org/x")


def test_all_streams_together_keep_to_the_rate(server: Server, tmp_path: Path) -> None:
    fetch = Fetcher(Inputs(tmp_path, {}, tmp_path), Throttle(rate := 10e6))
    taken: list[bytes] = []

    def take() -> None:
        with fetch(blob(server)) as blocks:
            taken.append(b"".join(blocks))

    threads = [threading.Thread(target=take) for _ in range(3)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    assert taken == [DATA] * 3
    assert seconds > 0.9 * 3 * len(DATA) / rate


def test_what_a_rate_spares_is_the_network_not_this_machines_own_files(tmp_path: Path) -> None:
    (tmp_path / "own.bin").write_bytes(DATA)
    inputs = Inputs(tmp_path, {}, tmp_path)
    artifact = files.resolve_file(FileEntry(name="own", file=Location(path="own.bin")), "1.0.0", inputs)
    with Fetcher(inputs, Throttle(1.0))(artifact.blobs[-1]) as blocks:
        assert b"".join(blocks) == DATA
