"""Upload sessions at their edges: restarts, hosts that a client makes up, two writers, big chunks asked for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.store.store import Store
from tests.contracts.conftest import Wire, code, write_users

DATA = b"0123456789" * 300


def begin(wire: Wire, name: str, **headers: str) -> str:
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/", **headers)
    assert answer.status == 202, answer.data
    return answer.headers["Location"]


def test_an_upload_goes_on_after_the_server_was_started_anew(tmp_path: Path) -> None:
    settings = Settings(users=write_users(tmp_path / "users"))
    with Store.open(tmp_path / "store") as store, Running(settings, store) as run:
        location = begin(Wire(run.url), "team/app")
        assert Wire(run.url).ask("PATCH", location, DATA[:1000], Content_Range="0-999").status == 202
    with Store.open(tmp_path / "store") as store, Running(settings, store) as run:
        wire = Wire(run.url)
        assert wire.ask("GET", location).headers["Range"] == "0-999"
        assert wire.ask("PATCH", location, DATA[1000:], Content_Range="1000-2999").status == 202
        assert wire.ask("PUT", f"{location}?digest={Digest.of(DATA)}").status == 201
        assert wire.ask("GET", f"/v2/team/app/blobs/{Digest.of(DATA)}").data == DATA


@pytest.mark.parametrize("header", ["Host", "X_Forwarded_Host", "X_Forwarded_Proto", "Forwarded", "X_Original_URL"])
def test_no_header_of_a_client_turns_up_in_a_location(wire: Wire, name: str, header: str) -> None:
    location = begin(wire, name, **{header: "evil.example.org"})
    assert location.startswith(f"/v2/{name}/blobs/uploads/")
    answer = wire.ask("PUT", f"{location}?digest={Digest.of(b'x')}", b"x", **{header: "evil.example.org"})
    assert answer.headers["Location"] == f"/v2/{name}/blobs/{Digest.of(b'x')}"


def test_of_two_chunks_for_one_place_exactly_one_is_taken(wire: Wire, name: str) -> None:
    for _ in range(5):
        location = begin(wire, name)
        start = threading.Barrier(2)

        def send(part: bytes, place: str = location, start: threading.Barrier = start) -> int:
            start.wait()
            return wire.ask("PATCH", place, part, Content_Range=f"0-{len(part) - 1}").status

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(send, (DATA, DATA))) == [202, 416]
        assert wire.ask("PUT", f"{location}?digest={Digest.of(DATA)}").status == 201


def test_two_uploads_of_one_content_both_end_well(wire: Wire, name: str) -> None:
    places = [begin(wire, f"{name}{number}") for number in range(4)]

    def close(place: str) -> int:
        return wire.ask("PUT", f"{place}?digest={Digest.of(DATA)}", DATA).status

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(close, places)) == [201] * 4
    for number in range(4):
        assert wire.ask("GET", f"/v2/{name}{number}/blobs/{Digest.of(DATA)}").data == DATA


def test_clients_are_asked_for_chunks_of_a_least_size(tmp_path: Path, wire: Wire, name: str) -> None:
    assert "OCI-Chunk-Min-Length" not in wire.ask("POST", f"/v2/{name}/blobs/uploads/").headers
    settings = Settings(users=write_users(tmp_path / "users"), least_chunk=1 << 20)
    with Store.open(tmp_path / "store") as store, Running(settings, store) as run:
        answer = Wire(run.url).ask("POST", "/v2/team/app/blobs/uploads/")
        assert (answer.status, answer.headers["OCI-Chunk-Min-Length"]) == (202, str(1 << 20))


@pytest.mark.parametrize("given", ["5-2", "-5", "0-", "0", "a-b", "0-99999999999999999999", "bytes */10", "0--1"])
def test_a_content_range_that_cannot_be_leaves_the_session_as_it_was(wire: Wire, name: str, given: str) -> None:
    location = begin(wire, name)
    assert wire.ask("PATCH", location, DATA[:1000]).status == 202
    assert code(wire.ask("PATCH", location, DATA[1000:], Content_Range=given))[0] in (400, 416)
    assert wire.ask("GET", location).headers["X-Upload-Offset"] == "1000"
    assert wire.ask("PUT", f"{location}?digest={Digest.of(DATA)}", DATA[1000:]).status == 201


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_an_upload_of_one_request_has_to_be_what_it_says(wire: Wire, name: str, algorithm: str) -> None:
    digest = Digest.of(b"promised", algorithm)
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", b"delivered")
    assert code(answer) == (400, "DIGEST_INVALID")
    assert wire.ask("HEAD", f"/v2/{name}/blobs/{digest}").status == 404


@pytest.mark.parametrize(
    "query", ["mount=sha256:short", "mount=sha256:short&from=a", "digest=sha256:short", "digest=x"]
)
def test_a_begin_with_what_is_no_digest_is_refused(wire: Wire, name: str, query: str) -> None:
    assert code(wire.ask("POST", f"/v2/{name}/blobs/uploads/?{query}")) == (400, "DIGEST_INVALID")


def test_ids_of_uploads_cannot_be_guessed_from_each_other(wire: Wire, name: str) -> None:
    seen = {begin(wire, name).rpartition("/")[2] for _ in range(20)}
    assert len(seen) == 20
    assert len({identity[:8] for identity in seen}) == 20
