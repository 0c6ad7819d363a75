"""Blobs read from any byte on, by several connections, from servers that cut, drip, ignore ranges or lie about them."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from registry.client import ranges
from registry.client.pace import Pace, Throttle
from registry.client.ranges import ParallelBlob, RemoteBlob, blob_of_size
from registry.client.remote import RemoteRegistry
from registry.client.transport import Limits, Transport
from registry.errors import RemoteError
from registry.oci.manifest import OCI_LAYER
from tests.attacks.scripted_server import Request, ScriptedServer
from tests.oci_samples import descriptor

MIB = 1 << 20
BLOB = random.Random(3).randbytes(9 * MIB + 5)  # noqa: S311 - the same every time
QUICK = Limits(
    attempts=3,
    connect_seconds=2,
    read_seconds=2,
    commit_seconds=1,
    stall_seconds=1,
    first_pause=0.01,
    longest_pause=0.02,
)
PATH, SCOPE = "/v2/team/app/blobs/x", "repository:team/app:pull"
Serve = Callable[..., Transport]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[ScriptedServer | Transport] = []

    def start(answer: Callable[[Request], None], pace: Pace | None = None) -> Transport:
        server = ScriptedServer(None, answer).__enter__()
        transport = Transport(server.url, limits=QUICK, pace=pace)
        transport.server = server  # type: ignore[attr-defined]
        running.extend([transport, server])
        return transport

    yield start
    for one in running:
        one.close() if isinstance(one, Transport) else one.__exit__()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "PARALLEL_BYTES", MIB)
    monkeypatch.setattr(ranges, "PIECE", MIB)


def asked_range(request: Request) -> tuple[int, int] | None:
    header = request.headers.get("Range")
    if header is None:
        return None
    start, _, end = header.removeprefix("bytes=").partition("-")
    return int(start), int(end) + 1 if end else len(BLOB)


def ranged(request: Request, *, most: int = 1 << 40, etag: str = '"a"') -> None:
    """Answer with the range, at most so many bytes of it."""
    asked = asked_range(request)
    if asked is None or request.headers.get("If-Range", etag) != etag:
        request.reply(200, BLOB[:most], length=len(BLOB), ETag=etag)
        return
    start, end = asked
    where = f"bytes {start}-{end - 1}/{len(BLOB)}"
    request.reply(206, BLOB[start : min(end, start + most)], length=end - start, Content_Range=where, ETag=etag)


def whole(blob: RemoteBlob | ParallelBlob, start: int = 0) -> bytes:
    parts = []
    while start < blob.size:
        parts.append(blob.read(start, MIB))
        start += len(parts[-1])
    return b"".join(parts)


def test_a_later_process_goes_on_where_an_earlier_one_ended(serve: Serve) -> None:
    transport = serve(ranged)
    first = RemoteBlob.open(transport, PATH, SCOPE)
    assert first is not None
    begun = first.read(0, 3 * MIB)
    etag = first.etag
    first.close()
    second = blob_of_size(transport, PATH, SCOPE, len(BLOB), etag)
    assert begun + whole(second, 3 * MIB) == BLOB
    headers = transport.server.seen[-1][1]
    assert (headers["range"], headers["if-range"]) == (f"bytes={3 * MIB}-", '"a"')
    assert second.restarts == 0


def test_content_that_changed_in_between_is_begun_again_and_that_is_told(serve: Serve) -> None:
    transport = serve(lambda request: ranged(request, etag='"b"'))
    blob = RemoteBlob(transport, PATH, SCOPE, len(BLOB), '"a"')
    assert whole(blob, 3 * MIB) == BLOB[3 * MIB :]
    assert blob.restarts == 1


@pytest.mark.parametrize("etag", ['W/"a"', "a", '"' + "a" * 300 + '"', '"a\x7f"', ""])
def test_an_etag_that_cannot_guard_a_range_is_not_used_as_one(serve: Serve, etag: str) -> None:
    transport = serve(lambda request: ranged(request, most=2 * MIB, etag=etag))
    blob = RemoteBlob.open(transport, PATH, SCOPE)
    assert blob is not None
    assert blob.etag is None
    assert whole(blob) == BLOB


@pytest.mark.usefixtures("small_pieces")
def test_a_large_blob_comes_over_several_connections_in_order(serve: Serve) -> None:
    inside, most = itertools.count(), []
    running = 0
    lock = threading.Lock()

    def slow(request: Request) -> None:
        nonlocal running
        with lock:
            running += 1
            most.append(running)
        time.sleep(0.1)
        ranged(request)
        next(inside)
        with lock:
            running -= 1

    transport = serve(slow)
    blob = blob_of_size(transport, PATH, SCOPE, len(BLOB))
    assert isinstance(blob, ParallelBlob)
    assert whole(blob) == BLOB
    blob.close()
    assert max(most) == ranges.STREAMS
    assert len(transport.server.asked) == 10


@pytest.mark.usefixtures("small_pieces")
def test_pieces_that_break_off_are_mended_each_for_itself(serve: Serve) -> None:
    sent: list[int] = []

    def cut(request: Request) -> None:
        start, end = asked_range(request) or (0, 0)
        sent.append(min(end - start, 700_000))
        ranged(request, most=700_000)

    blob = blob_of_size(serve(cut), PATH, SCOPE, len(BLOB))
    assert whole(blob) == BLOB
    assert sum(sent) == len(BLOB)


@pytest.mark.usefixtures("small_pieces")
def test_a_server_that_ignores_ranges_is_read_in_one_stream(serve: Serve) -> None:
    transport = serve(lambda request: request.reply(200, BLOB))
    blob = blob_of_size(transport, PATH, SCOPE, len(BLOB))
    assert whole(blob) == BLOB
    assert len(transport.server.asked) <= ranges.STREAMS + 1


@pytest.mark.usefixtures("small_pieces")
def test_a_piece_that_is_another_piece_ends_the_blob(serve: Serve) -> None:
    def lie(request: Request) -> None:
        start, end = asked_range(request) or (0, 0)
        request.reply(206, BLOB[: end - start], Content_Range=f"bytes {start + 1}-{end}/{len(BLOB)}")

    blob = blob_of_size(serve(lie), PATH, SCOPE, len(BLOB))
    with pytest.raises(RemoteError, match="another range"):
        blob.read(0, MIB)
    blob.close()


@pytest.mark.usefixtures("small_pieces")
def test_a_large_blob_is_read_from_any_byte_and_in_any_lengths(serve: Serve) -> None:
    blob = blob_of_size(serve(ranged), PATH, SCOPE, len(BLOB))
    for offset, length in [(5 * MIB + 3, 10), (5 * MIB + 13, 3 * MIB), (0, 1), (1, 2 * MIB), (len(BLOB) - 1, 100)]:
        assert blob.read(offset, length) == BLOB[offset : offset + length]
    assert blob.read(len(BLOB), 1) == b""
    blob.close()


@pytest.mark.usefixtures("small_pieces")
def test_only_so_many_blobs_are_read_ahead_at_once(serve: Serve) -> None:
    transport = serve(ranged)
    kinds = [blob_of_size(transport, PATH, SCOPE, len(BLOB)) for _ in range(4)]
    assert [isinstance(blob, ParallelBlob) for blob in kinds] == [True, True, False, False]
    for blob in kinds:
        assert whole(blob) == BLOB
        blob.close()
    again = blob_of_size(transport, PATH, SCOPE, len(BLOB))
    assert isinstance(again, ParallelBlob)
    again.close()


@pytest.mark.usefixtures("small_pieces")
def test_a_registry_that_bears_one_request_at_a_time_still_gives_a_large_blob(serve: Serve) -> None:
    pace = Pace()
    pace.reads.width = 1
    pace.reads.widths = type(pace.reads.widths)(start=1, most=1)
    blob = blob_of_size(serve(ranged, pace), PATH, SCOPE, len(BLOB))
    assert whole(blob) == BLOB
    blob.close()


def test_a_blob_that_is_not_there_says_so_when_it_is_read(serve: Serve) -> None:
    remote = RemoteRegistry.over(serve(lambda request: request.reply(404)))
    with pytest.raises(RemoteError) as caught:
        remote.blob_of("team/app", descriptor(BLOB, OCI_LAYER)).read(0, 1)
    assert caught.value.reference == "blob-missing"


def test_a_body_that_drips_is_cut_off_and_given_up(serve: Serve) -> None:
    def drip(request: Request) -> None:
        request.reply(206, b"", length=len(BLOB), Content_Range=f"bytes 0-{len(BLOB) - 1}/{len(BLOB)}")
        for _ in range(100):
            request.wfile.write(b"x")
            time.sleep(0.05)

    transport = serve(drip)
    began = time.monotonic()
    with pytest.raises(RemoteError) as caught:
        RemoteBlob(transport, PATH, SCOPE, len(BLOB), stop=len(BLOB)).read(0, MIB)
    assert caught.value.reference == "blob-broken-off"
    assert "bytes in" in caught.value.seen
    assert time.monotonic() - began < 15


def test_a_head_that_drips_is_cut_off_and_given_up(serve: Serve) -> None:
    def drip(request: Request) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(60):
            request.wfile.write(b"X-%d: y\r\n" % number)
            time.sleep(0.05)

    began = time.monotonic()
    with pytest.raises(RemoteError) as caught:
        RemoteBlob.open(serve(drip), PATH, SCOPE)
    assert caught.value.reference == "registry-unreachable"
    assert time.monotonic() - began < 12


def test_a_token_that_expires_inside_a_blob_is_renewed_and_the_blob_goes_on(serve: Serve) -> None:
    issued = 0
    sent: list[int] = []

    def expiring(request: Request) -> None:
        nonlocal issued
        if request.path.startswith("/token"):
            issued += 1
            request.reply(200, b'{"token":"t%d","expires_in":3600}' % issued)
        elif len(sent) < issued and request.headers.get("Authorization") == f"Bearer t{issued}":
            start, end = asked_range(request) or (0, len(BLOB))
            sent.append(min(end - start, 4 * MIB))
            ranged(request, most=4 * MIB)  # and breaks off there: what comes next wants another token
        else:
            request.reply(401, WWW_Authenticate=f'Bearer realm="{request.server.url}/token"')

    blob = RemoteBlob(serve(expiring), PATH, SCOPE, len(BLOB))
    assert whole(blob) == BLOB
    assert issued == 3
    assert sum(sent) == len(BLOB)


def test_a_slow_line_without_a_stall_is_never_cut(serve: Serve) -> None:
    def slow(request: Request) -> None:
        request.reply(200, b"", length=len(BLOB))
        for place in range(0, len(BLOB), 128 << 10):
            request.wfile.write(BLOB[place : place + (128 << 10)])
            time.sleep(0.04)

    transport = serve(slow)
    blob = RemoteBlob.open(transport, PATH, SCOPE)
    assert blob is not None
    assert whole(blob) == BLOB  # takes longer than stall, read and head may
    assert len(transport.server.asked) == 1


def test_a_limited_rate_holds_over_all_streams_and_is_no_stall(serve: Serve) -> None:
    pace = Pace(throttle=Throttle(6 * MIB))
    transport = serve(ranged, pace)
    blobs = [RemoteBlob(transport, PATH, SCOPE, len(BLOB)) for _ in range(2)]
    threads = [threading.Thread(target=whole, args=(blob,)) for blob in blobs]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    assert 2 * len(BLOB) / seconds == pytest.approx(6 * MIB, rel=0.15)
    assert len(transport.server.asked) == 2
