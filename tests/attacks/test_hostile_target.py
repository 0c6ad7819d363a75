"""A registry that is pushed to and lies, forgets, breaks off or drags: the right bytes arrive, or an error says why."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.client.access import Access, fixed_login
from registry.client.pace import Pace
from registry.client.push import RemoteTarget
from registry.client.transport import Limits, Transport
from registry.client.upload_state import Habits, Resumable
from registry.errors import MediaError, RemoteError
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_LAYER, OCI_MANIFEST, artifact
from tests.attacks.scripted_server import Request, ScriptedServer
from tests.authority import Authority
from tests.contracts.test_remote_target import InMemory
from tests.oci_samples import descriptor
from tests.vendors.memory import MemoryRegistry, digest_of, fault

MIB = 1 << 20
BLOB = random.Random(2).randbytes(6 * MIB + 7)  # noqa: S311 - the same every time
LAYER = descriptor(BLOB, OCI_LAYER)
NAME = "team/app"
KEY = (NAME, str(LAYER.digest))
QUICK = Limits(
    attempts=3,
    connect_seconds=2,
    read_seconds=2,
    commit_seconds=2,
    stall_seconds=1,
    first_pause=0.01,
    longest_pause=0.02,
)
Serve = Callable[..., RemoteTarget]


@pytest.fixture(params=["tls", "plain"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    authority = Authority(tmp_path)
    running: list[ScriptedServer | Transport] = []

    def start(registry: Callable[[Request], None], habits: Habits | None = None) -> RemoteTarget:
        identity = authority.issue() if request.param == "tls" else None
        server = ScriptedServer(identity, registry).__enter__()
        transport = Transport(server.url, Access(ca=authority.ca, login=fixed_login("push", "secret")), QUICK, Pace())
        running.extend([transport, server])
        target = RemoteTarget(transport)
        target.habits = habits or Habits()
        target.server = server  # type: ignore[attr-defined]
        return target

    yield start
    for one in running:
        one.close() if isinstance(one, Transport) else one.__exit__()


def chunked() -> Habits:
    return Habits(monolithic=False, chunk=MIB)


def asked(target: RemoteTarget, method: str) -> int:
    return sum(line.startswith(method) for line in target.server.asked)  # type: ignore[attr-defined]


class Cutting(MemoryRegistry):
    """Cuts the line when so many bytes of bodies have come in, again and again."""

    cut_after = 5 * MIB // 2

    def receive(self, request: Request) -> bytes:
        data = request.body(self.cut_after)
        with self.lock:
            self.received += len(data)
        if request.left:
            self.broken(request)
        return data

    def broken(self, request: Request) -> None:
        left = request.left
        request.hang_up()
        request.left = left


def test_a_line_cut_again_and_again_costs_a_block_each_time(serve: Serve) -> None:
    registry = Cutting()
    sent = serve(registry).put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert (sent.sessions, sent.interruptions) == (1, 2)
    assert registry.received == len(BLOB)  # what arrived was kept, not a byte came twice


def test_chunks_that_break_off_are_sent_again_and_no_more(serve: Serve) -> None:
    class Once(Cutting):
        keeps_broken = False
        cuts = 2

        def receive(self, request: Request) -> bytes:
            if "Content-Range" in request.headers and self.cuts:
                self.cuts -= 1
                self.cut_after = MIB // 2
            else:
                self.cut_after = 1 << 30
            return super().receive(request)

    registry = Once()
    sent = serve(registry, chunked()).put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert registry.received <= len(BLOB) + 2 * MIB
    assert sent.interruptions == 2


def test_a_target_that_keeps_nothing_of_a_broken_request_gets_chunks_the_next_time(serve: Serve) -> None:
    class Keepless(Cutting):
        keeps_broken = False

    registry = Keepless()
    target = serve(registry, Habits(chunk=MIB))
    target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert target.habits.keeps_broken is False
    assert registry.received <= len(BLOB) + Cutting.cut_after


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_lost_after_the_last_byte_costs_nothing(serve: Serve, whole: bool) -> None:
    class Mute(MemoryRegistry):
        losses = 1

        def blob_made(self, request: Request, name: str, digest: str) -> None:
            if self.losses:
                self.losses -= 1
                request.hang_up()
            else:
                super().blob_made(request, name, digest)

    registry = Mute()
    sent = serve(registry, None if whole else chunked()).put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.received == sent.bytes_sent == len(BLOB)
    assert sent.sessions == 1


def test_an_upload_that_an_earlier_process_ended_is_found_done(serve: Serve) -> None:
    registry = MemoryRegistry()
    target = serve(registry)
    registry.blobs[KEY] = BLOB
    state = Resumable(f"{target.url}/v2/{NAME}/blobs/uploads/gone", len(BLOB))
    assert target.put_blob(NAME, LAYER, InMemory(BLOB), session=state).bytes_sent == 0
    assert registry.received == 0


@pytest.mark.parametrize("last", [BLOB[-1:], b"!"])
def test_an_upload_of_which_all_is_there_is_read_for_its_hash_before_it_is_closed(serve: Serve, last: bytes) -> None:
    registry = MemoryRegistry()
    target = serve(registry)
    registry.uploads["all"] = bytearray(BLOB)
    state = Resumable(f"{target.url}/v2/{NAME}/blobs/uploads/all", len(BLOB))
    content = InMemory(BLOB[:-1] + last)
    if last == b"!":
        with pytest.raises(MediaError):
            target.put_blob(NAME, LAYER, content, session=state)
        assert registry.blobs == {}
    else:
        assert target.put_blob(NAME, LAYER, content, session=state).is_proven
        assert registry.blobs[KEY] == BLOB
    assert registry.received == 0


def test_a_session_of_a_mount_that_is_over_teaches_nothing(serve: Serve) -> None:
    registry = MemoryRegistry()
    target = serve(registry)
    assert not target.mount(NAME, LAYER.digest, "team/base")
    registry.uploads.clear()
    target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert target.habits.monolithic is True


def test_a_session_lost_inside_the_blob_is_begun_again(serve: Serve) -> None:
    class Forgetful(MemoryRegistry):
        forgets = 1

        def patch_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
            if len(self.uploads.get(identity, b"")) >= 3 * MIB and self.forgets:
                self.forgets -= 1
                self.uploads.clear()
            super().patch_uploads(request, name, identity, query)

    registry = Forgetful()
    sent = serve(registry, chunked()).put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert sent.sessions == 2


def test_a_target_that_always_forgets_is_given_up(serve: Serve) -> None:
    class Forgetful(MemoryRegistry):
        def patch_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
            if len(self.uploads.get(identity, b"")) >= 3 * MIB:
                self.uploads.clear()
            super().patch_uploads(request, name, identity, query)

    registry = Forgetful()
    with pytest.raises(RemoteError) as caught:
        serve(registry, chunked()).put_blob(NAME, LAYER, InMemory(BLOB))
    assert "BLOB_UPLOAD_UNKNOWN" in caught.value.seen
    assert registry.received < 8 * len(BLOB)


def test_a_status_that_lags_behind_is_asked_once_more_and_then_stepped_over(serve: Serve) -> None:
    class Stale(MemoryRegistry):
        """ECR: the range it tells is a chunk behind (containers-roadmap #2831)."""

        cuts = 1

        def place(self, name: str, identity: str) -> dict[str, str]:
            size = max(0, len(self.uploads[identity]) - MIB)
            return super().place(name, identity) | {"Range": f"0-{max(0, size - 1)}"}

        def patch_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
            if len(self.uploads[identity]) == 3 * MIB and self.cuts:
                self.cuts -= 1
                request.hang_up()
                return
            super().patch_uploads(request, name, identity, query)

    registry = Stale()
    sent = serve(registry, chunked()).put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert sent.sessions == 1


def test_what_broke_off_and_still_comes_in_is_waited_for(serve: Serve) -> None:
    class Draining(MemoryRegistry):
        """Gets from buffers on the way what a client sent that is gone, for a second and more."""

        cuts = 1

        def put_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
            if not self.cuts:
                super().put_uploads(request, name, identity, query)
                return
            self.cuts -= 1
            data = request.body(4 * MIB)
            self.received += len(data)
            self.uploads[identity] += data[:MIB]
            threading.Thread(target=self.drain, args=(self.uploads[identity], data[MIB:])).start()
            request.hang_up()

        def drain(self, upload: bytearray, rest: bytes) -> None:
            for start in range(0, len(rest), MIB // 4):
                time.sleep(0.1)
                upload += rest[start : start + MIB // 4]

    registry = Draining()
    sent = serve(registry).put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert sent.sessions == 1
    assert registry.received == len(BLOB)


@pytest.mark.parametrize("reported", ["0-99999999", "7-12", "", "0-x", "0-18446744073709551616"])
def test_a_status_that_cannot_be_is_never_believed(serve: Serve, reported: str) -> None:
    class Liar(Cutting):
        def get_uploads(self, request: Request, name: str, identity: str, _query: dict[str, str]) -> None:
            request.reply(204, **self.place(name, identity) | {"Range": reported})

    registry = Liar()
    registry.keeps_broken = False
    try:
        serve(registry, chunked()).put_blob(NAME, LAYER, InMemory(BLOB))
    except RemoteError:
        assert KEY not in registry.blobs
    else:
        assert registry.blobs[KEY] == BLOB
    assert registry.received < 8 * len(BLOB)


@pytest.mark.parametrize("kept", [0, 1])
def test_zero_to_zero_stands_for_one_byte_or_none_and_both_end_well(serve: Serve, kept: int) -> None:
    class OneByte(MemoryRegistry):
        cuts = 1

        def put_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
            if self.cuts:
                self.cuts -= 1
                self.uploads[identity] += request.body(2 * MIB)[:kept]
                request.hang_up()
                return
            super().put_uploads(request, name, identity, query)

    registry = OneByte()
    serve(registry).put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB


def test_a_resumption_of_other_bytes_is_refused_by_the_target_and_begun_again(serve: Serve) -> None:
    registry = MemoryRegistry()
    target = serve(registry, chunked())
    registry.uploads["elsewhere"] = bytearray(BLOB[: 2 * MIB - 1] + b"!")
    state = Resumable(f"{target.url}/v2/{NAME}/blobs/uploads/elsewhere", 2 * MIB)
    sent = target.put_blob(NAME, LAYER, InMemory(BLOB), session=state)
    assert registry.blobs[KEY] == BLOB
    assert sent.sessions == 1


class Tokens(MemoryRegistry):
    """Takes a token for so many requests, then wants another."""

    lives = 4
    token_posts = True

    def __init__(self) -> None:
        super().__init__()
        self.issued = 0
        self.left = 0

    def admits(self, request: Request, path: str) -> bool:
        if path == "/token":
            request.body()
            if request.command == "POST" and not self.token_posts:
                fault(request, 405, "UNSUPPORTED")
                return False
            self.issued += 1
            self.left = self.lives
            request.reply(200, b'{"token":"t%d","expires_in":3600}' % self.issued)
            return False
        if request.headers.get("Authorization") == f"Bearer t{self.issued}" and self.left:
            self.left -= 1
            return True
        challenge = f'Bearer realm="{request.server.url}/token",service="here"'
        request.body()
        request.reply(401, WWW_Authenticate=challenge)
        return False


def test_a_token_that_expires_inside_a_blob_is_renewed_and_the_blob_goes_on(serve: Serve) -> None:
    registry = Tokens()
    sent = serve(registry, chunked()).put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert registry.issued >= 2
    assert sent.sessions == 1
    assert registry.received == len(BLOB)


def test_a_token_that_is_over_before_the_whole_blob_is_renewed_and_the_blob_arrives(serve: Serve) -> None:
    registry = Tokens()
    registry.lives = 1  # for the beginning of the upload alone
    target = serve(registry)
    target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB


@pytest.mark.parametrize("status", [202, 400, 401, 403, 404, 405, 500, 503])
def test_a_mount_that_is_not_granted_is_an_ordinary_upload(serve: Serve, status: int) -> None:
    class Stingy(MemoryRegistry):
        def post_uploads(self, request: Request, name: str, rest: str, query: dict[str, str]) -> None:
            if "mount" in query and status != 202:
                fault(request, status, "DENIED")
                return
            super().post_uploads(request, name, rest, {})

    registry = Stingy()
    target = serve(registry)
    assert not target.mount(NAME, LAYER.digest, "team/base")
    target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert asked(target, "POST") == (1 if status == 202 else 2)


def test_a_mount_that_is_granted_sends_nothing(serve: Serve) -> None:
    registry = MemoryRegistry()
    registry.blobs["team/base", str(LAYER.digest)] = BLOB
    target = serve(registry)
    assert target.mount(NAME, LAYER.digest, "team/base")
    assert registry.received == 0
    assert target.has_blob(NAME, LAYER)


def test_a_stump_of_a_blob_does_not_count_as_the_blob(serve: Serve) -> None:
    registry = MemoryRegistry()
    registry.blobs[KEY] = BLOB[:100]
    target = serve(registry)
    assert not target.has_blob(NAME, LAYER)
    target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert target.has_blob(NAME, LAYER)


@pytest.mark.parametrize("states_digests", [True, False])
def test_a_target_that_changes_a_manifest_is_an_error(serve: Serve, states_digests: bool) -> None:
    class Tidy(MemoryRegistry):
        def kept(self, data: bytes) -> bytes:
            return data.replace(b":", b": ")

    registry = Tidy()
    registry.states_digests = states_digests
    registry.blobs[NAME, digest_of(b"{}")] = b"{}"
    with pytest.raises(RemoteError) as caught:
        serve(registry).put_manifest(NAME, artifact("application/x-test", []), OCI_MANIFEST, ["1.0"])
    assert caught.value.reference == "target-differs"
    assert (NAME, "1.0") not in registry.tags


def test_a_target_that_says_it_took_another_blob_is_an_error(serve: Serve) -> None:
    class Other(MemoryRegistry):
        def blob_made(self, request: Request, name: str, _digest: str) -> None:
            super().blob_made(request, name, digest_of(b"something else"))

    with pytest.raises(RemoteError) as caught:
        serve(Other()).put_blob(NAME, LAYER, InMemory(BLOB))
    assert caught.value.reference == "target-differs"


def test_a_location_on_another_server_gets_the_blob_and_no_credentials(serve: Serve) -> None:
    store = MemoryRegistry()
    other = serve(store)
    store.uploads["far"] = bytearray()

    class Elsewhere(Tokens):
        lives = 100

        def place(self, name: str, _identity: str) -> dict[str, str]:
            return {"Location": f"{other.url}/v2/{name}/blobs/uploads/far?_state=a%2Fb=="}

    target = serve(Elsewhere())
    target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert store.blobs[KEY] == BLOB
    assert list(other.server.authorizations()) == [None]
    assert f"far?_state=a%2Fb==&digest={LAYER.digest}" in other.server.asked[0]


@pytest.mark.parametrize("location", ["http://192.0.2.1/x", "ftp://h/x", "https://u:p@h/x", "https://[::1"])
def test_a_location_that_is_not_https_is_refused(serve: Serve, location: str) -> None:
    class Away(MemoryRegistry):
        def place(self, _name: str, _identity: str) -> dict[str, str]:
            return {"Location": location}

    with pytest.raises(RemoteError) as caught:
        serve(Away()).put_blob(NAME, LAYER, InMemory(BLOB))
    assert caught.value.reference == "redirect-not-https"


@pytest.mark.parametrize("wait", ["1", None])
def test_a_storm_of_429_is_waited_out(serve: Serve, wait: str | None) -> None:
    class Busy(MemoryRegistry):
        storms = 3

        def admits(self, request: Request, _path: str) -> bool:
            if self.storms:
                self.storms -= 1
                request.body()
                fault(request, 429, "TOOMANYREQUESTS", **{"Retry_After": wait} if wait else {})
                return False
            return True

    registry = Busy()
    target = serve(registry)
    target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert registry.blobs[KEY] == BLOB
    assert target.transport.pace.writes.width <= 2


def test_a_storm_of_429_without_end_is_given_up(serve: Serve) -> None:
    target = serve(lambda request: (request.body(), fault(request, 429, "TOOMANYREQUESTS", Retry_After="9999")))
    with pytest.raises(RemoteError) as caught:
        target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert "TOOMANYREQUESTS" in caught.value.seen
    assert asked(target, "POST") == QUICK.attempts + 1


def test_retry_after_is_waited_for_exactly_and_by_everybody() -> None:
    seen: list[float] = []

    def answer(request: Request) -> None:
        seen.append(time.monotonic())
        request.reply(*((429,) if len(seen) == 1 else (200,)), **({"Retry_After": "1"} if len(seen) == 1 else {}))

    with ScriptedServer(None, answer) as server:
        target = RemoteTarget(Transport(server.url, limits=Limits(first_pause=0.01)))
        threads = [threading.Thread(target=target.has_blob, args=(NAME, LAYER)) for _ in range(2)]
        threads[0].start()
        time.sleep(0.3)
        threads[1].start()
        for thread in threads:
            thread.join()
        target.transport.close()
    first, *others = seen
    assert len(others) == 2
    assert all(1.0 <= when - first < 1.6 for when in others)


def test_an_answer_before_the_end_of_the_body_is_heard() -> None:
    def answer(request: Request) -> None:
        if request.command == "POST":
            request.reply(202, Location="/v2/x/blobs/uploads/1")
        elif request.command == "PUT":
            request.body(100_000)
            fault(request, 403, "DENIED", "your quota is used up")
            time.sleep(0.5)

    big = 64 * MIB

    class Endless(InMemory):
        def read(self, offset: int, length: int) -> bytes:
            super().read(offset, 0)
            return bytes(length)

    content = Endless(b"")
    content.size = big
    with ScriptedServer(None, answer) as server:
        transport = Transport(server.url, limits=QUICK)
        named = descriptor(bytes(big), OCI_LAYER)
        with pytest.raises(RemoteError, match="denies") as caught:
            RemoteTarget(transport).put_blob(NAME, named, content)
        transport.close()
    assert "quota" in caught.value.seen
    assert len(content.reads) < 40


def test_a_connection_whose_body_was_cut_short_by_an_answer_is_not_used_again() -> None:
    """The next request would be taken for the rest of the body, and wait for ever."""
    registry = MemoryRegistry()

    def answer(request: Request) -> None:
        if request.command == "PUT" and request.left > MIB:
            request.body(100_000)
            fault(request, 416, "BLOB_UPLOAD_INVALID")
            request.body()  # a patient server, which keeps the connection
        else:
            registry(request)

    big = bytes(64 * MIB)
    with ScriptedServer(None, answer) as server:
        transport = Transport(server.url, limits=QUICK)
        with pytest.raises(RemoteError, match="refuses the blob"):
            RemoteTarget(transport).put_blob(NAME, descriptor(big, OCI_LAYER), InMemory(big))
        began = time.monotonic()
        assert not RemoteTarget(transport).has_blob(NAME, LAYER)
        assert time.monotonic() - began < 1
        transport.close()


def test_a_target_that_stops_taking_bytes_is_given_up(serve: Serve) -> None:
    class Deaf(MemoryRegistry):
        def put_uploads(self, request: Request, _name: str, _identity: str, _query: dict[str, str]) -> None:
            request.body(1000)
            time.sleep(3)

        patch_uploads = put_uploads

    class Much(InMemory):
        def read(self, _offset: int, length: int) -> bytes:
            return bytes(length)

    content = Much(b"")
    content.size = 200 * MIB
    named = type(LAYER)(OCI_LAYER, Digest.of(b"never reached"), content.size)
    began = time.monotonic()
    with pytest.raises(RemoteError):
        serve(Deaf()).put_blob(NAME, named, content)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("status", [201, 400, 500])
def test_an_endless_answer_to_an_upload_is_bounded(serve: Serve, status: int) -> None:
    class Chatty(MemoryRegistry):
        def blob_made(self, request: Request, _name: str, _digest: str) -> None:
            request.send_response(status)
            request.end_headers()
            request.close_connection = True
            for _ in range(10_000):
                request.wfile.write(b"no! " * 10_000)

    target = serve(Chatty())
    if status == 500:  # the blob is there all the same, as it turns out when it is looked for
        assert target.put_blob(NAME, LAYER, InMemory(BLOB)).sessions == 1
        return
    with pytest.raises(RemoteError) as caught:
        target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert len(caught.value.seen) < 500


def test_a_target_that_demands_large_chunks_gets_them(serve: Serve) -> None:
    class Coarse(MemoryRegistry):
        extra_upload_headers = {"OCI_Chunk_Min_Length": str(4 * MIB)}  # noqa: RUF012

    target = serve(Coarse(), chunked())
    target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert asked(target, "PATCH") == 2


def test_no_bytes_of_a_wrong_content_are_ever_committed(serve: Serve) -> None:
    registry = MemoryRegistry()
    for habits in (Habits(), chunked()):
        target = serve(registry, habits)
        with pytest.raises(MediaError):
            target.put_blob(NAME, LAYER, InMemory(BLOB[:-1] + b"!"))
    assert registry.blobs == {}
    assert all(f"digest={LAYER.digest}" not in line for line in target.server.asked)
