"""The distribution API's uploads: end-4, end-5, end-6, end-11, end-13, end-14."""

from __future__ import annotations

import re
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
import urllib3

from registry.oci.digest import Digest
from registry.store.store import Store
from tests.contracts.conftest import Wire, code

DATA = b"0123456789" * 300


def begin(wire: Wire, name: str, query: str = "") -> str:
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/{query}")
    assert answer.status == 202, answer.data
    return answer.headers["Location"]


def close(wire: Wire, location: str, data: bytes, rest: bytes = b"", **headers: str) -> urllib3.BaseHTTPResponse:
    return wire.ask("PUT", f"{location}?digest={Digest.of(data)}", rest, **headers)


def is_pulled(wire: Wire, name: str, data: bytes) -> bool:
    return wire.ask("GET", f"/v2/{name}/blobs/{Digest.of(data)}").data == data


def test_end_4a_an_upload_has_a_relative_location_of_one_opaque_segment(wire: Wire, name: str) -> None:
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/")
    assert answer.status == 202
    assert re.fullmatch(rf"/v2/{name}/blobs/uploads/[0-9a-f]{{32}}", answer.headers["Location"])
    assert answer.headers["Location"].endswith(answer.headers["Docker-Upload-UUID"])
    assert answer.headers["Range"] == "0-0"


def test_end_4b_a_blob_comes_in_one_request(wire: Wire, name: str) -> None:
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/?digest={Digest.of(DATA)}", DATA)
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/{name}/blobs/{Digest.of(DATA)}")
    assert is_pulled(wire, name, DATA)


@pytest.mark.parametrize("query", ["", "?digest-algorithm=sha512"])
def test_end_4c_a_sha512_upload_works_announced_and_not(wire: Wire, name: str, query: str) -> None:
    location = begin(wire, name, query)
    assert wire.ask("PATCH", location, DATA).status == 202
    digest = Digest.of(DATA, "sha512")
    assert wire.ask("PUT", f"{location}?digest={digest}").status == 201
    answer = wire.ask("GET", f"/v2/{name}/blobs/{digest}")
    assert (answer.data, answer.headers["Docker-Content-Digest"]) == (DATA, str(digest))


def test_an_unknown_algorithm_is_refused(wire: Wire, name: str) -> None:
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/?digest-algorithm=md5")
    assert code(answer) == (400, "DIGEST_INVALID")


def test_end_5_a_stream_without_content_range_is_appended(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    for part in (DATA[:1000], DATA[1000:]):
        answer = wire.ask("PATCH", location, part)
        assert answer.status == 202
        location = answer.headers["Location"]
    assert answer.headers["Range"] == f"0-{len(DATA) - 1}"
    assert close(wire, location, DATA).status == 201
    assert is_pulled(wire, name, DATA)


def test_end_5_chunks_come_in_order(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    first = wire.ask("PATCH", location, DATA[:1000], Content_Range="0-999")
    assert (first.status, first.headers["Range"]) == (202, "0-999")
    early = wire.ask("PATCH", location, DATA[2000:], Content_Range="2000-2999")
    assert code(early) == (416, "BLOB_UPLOAD_INVALID")
    assert early.headers["Range"] == "0-999"
    again = wire.ask("PATCH", location, DATA[:1000], Content_Range="0-999")
    assert code(again) == (416, "BLOB_UPLOAD_INVALID")
    assert wire.ask("PATCH", location, DATA[1000:2000], Content_Range="bytes 1000-1999/*").status == 202
    out_of_order = close(wire, location, DATA, DATA[2000:], Content_Range="2500-3499")
    assert code(out_of_order) == (416, "BLOB_UPLOAD_INVALID")
    assert close(wire, location, DATA, DATA[2000:], Content_Range="2000-2999").status == 201
    assert is_pulled(wire, name, DATA)


@pytest.mark.parametrize("given", ["0-998", "0-1000"])
def test_a_chunk_of_another_length_than_it_says_is_refused_and_forgotten(wire: Wire, name: str, given: str) -> None:
    location = begin(wire, name)
    assert code(wire.ask("PATCH", location, DATA[:1000], Content_Range=given)) == (400, "SIZE_INVALID")
    assert close(wire, location, DATA, DATA).status == 201


def test_a_chunk_whose_content_range_is_none_is_refused(wire: Wire, name: str) -> None:
    answer = wire.ask("PATCH", begin(wire, name), DATA, Content_Range="from 0 to 10")
    assert code(answer) == (400, "BLOB_UPLOAD_INVALID")


@pytest.mark.parametrize("data", [b"", b"{}"])
def test_end_6_tiny_blobs_work(wire: Wire, name: str, data: bytes) -> None:
    assert close(wire, begin(wire, name), data, data).status == 201
    answer = wire.ask("GET", f"/v2/{name}/blobs/{Digest.of(data)}")
    assert (answer.status, answer.data) == (200, data)


def test_end_6_a_wrong_digest_shows_nothing(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    promised = Digest.of(b"promised")
    assert code(wire.ask("PUT", f"{location}?digest={promised}", b"delivered")) == (400, "DIGEST_INVALID")
    for digest in (promised, Digest.of(b"delivered")):
        assert wire.ask("HEAD", f"/v2/{name}/blobs/{digest}").status == 404


@pytest.mark.parametrize("query", ["", "?digest=", "?digest=sha256:short"])
def test_end_6_without_a_digest_the_session_stays(wire: Wire, name: str, query: str) -> None:
    location = begin(wire, name)
    wire.ask("PATCH", location, DATA)
    assert code(wire.ask("PUT", location + query)) == (400, "DIGEST_INVALID")
    assert close(wire, location, DATA).status == 201


def test_a_closed_upload_is_unknown_to_every_verb(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    assert close(wire, location, DATA, DATA).status == 201
    for method in ("PATCH", "PUT", "GET", "DELETE"):
        query = f"?digest={Digest.of(DATA)}" if method == "PUT" else ""
        assert code(wire.ask(method, location + query)) == (404, "BLOB_UPLOAD_UNKNOWN"), method


@pytest.mark.parametrize("verb", ["PATCH", "PUT", "GET", "DELETE"])
def test_an_upload_belongs_to_its_repository_and_user(wire: Wire, name: str, verb: str) -> None:
    location = begin(wire, name)
    query = f"?digest={Digest.of(b'')}" if verb == "PUT" else ""
    elsewhere = location.replace(name, f"{name}2")
    assert code(wire.ask(verb, elsewhere + query)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert code(wire.as_user("other").ask(verb, location + query)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert wire.ask("GET", location).status == 204


@pytest.mark.parametrize("identity", ["0" * 32, "x", "..", "%2e%2e", "a" * 5000])
def test_an_upload_that_never_was_is_unknown(wire: Wire, name: str, identity: str) -> None:
    answer = wire.ask("PATCH", f"/v2/{name}/blobs/uploads/{identity}", b"data")
    assert answer.status in (400, 404)


def test_end_11_a_blob_is_mounted_from_a_repository_that_may_be_read(wire: Wire, name: str) -> None:
    digest = wire.push_blob(f"{name}-source", DATA)
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/?mount={digest}&from={name}-source")
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/{name}/blobs/{digest}")
    assert is_pulled(wire, name, DATA)


def test_end_11_without_a_source_any_readable_repository_will_do(wire: Wire, name: str) -> None:
    digest = wire.push_blob(f"{name}-source", name.encode())
    assert wire.ask("POST", f"/v2/{name}/blobs/uploads/?mount={digest}").status == 201


@pytest.mark.parametrize("source", ["shared/nothing", "%2e%2e", "no/such/place"])
def test_end_11_a_mount_that_cannot_be_is_an_ordinary_upload(wire: Wire, name: str, source: str) -> None:
    digest = wire.push_blob(f"{name}-source", DATA)
    location = begin(wire, name, f"?mount={digest}&from={source}")
    assert close(wire, location, b"other", b"other").status == 201


def test_end_11_a_mount_reveals_nothing_that_may_not_be_pulled(wire: Wire) -> None:
    digest = wire.push_blob("hidden/app", b"a secret layer")
    writer = wire.as_user("writer")
    for query in (f"?mount={digest}&from=hidden/app", f"?mount={digest}", f"?mount={digest}&from=shared/app"):
        assert writer.ask("POST", f"/v2/shared/app/blobs/uploads/{query}").status == 202
    assert wire.ask("HEAD", f"/v2/shared/app/blobs/{digest}").status == 404


def test_end_13_the_status_tells_what_arrived(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    empty = wire.ask("GET", location)
    assert (empty.status, empty.headers["Range"], empty.headers["X-Upload-Offset"]) == (204, "0-0", "0")
    wire.ask("PATCH", location, b"x")
    answer = wire.ask("GET", location)
    assert (answer.headers["Range"], answer.headers["X-Upload-Offset"]) == ("0-0", "1")
    assert answer.headers["Location"] == location


def test_end_13_after_a_client_died_the_upload_goes_on_where_it_was(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    parts = urlsplit(wire.url)
    login = urllib3.make_headers(basic_auth=f"{wire.user}:pw-{wire.user}")["authorization"]
    with socket.create_connection((parts.hostname, parts.port)) as line:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\nContent-Length: {len(DATA)}\r\n\r\n"
        line.sendall(head.encode() + DATA[:1234])
        time.sleep(0.2)
    offset = eventually(wire, location)
    assert 0 < offset <= 1234
    assert wire.ask("PATCH", location, DATA[offset:], Content_Range=f"{offset}-{len(DATA) - 1}").status == 202
    assert close(wire, location, DATA).status == 201
    assert is_pulled(wire, name, DATA)


def test_end_13_the_status_waits_for_what_a_dead_client_has_still_on_its_way(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    parts = urlsplit(wire.url)
    login = urllib3.make_headers(basic_auth=f"{wire.user}:pw-{wire.user}")["authorization"]
    with socket.create_connection((parts.hostname, parts.port)) as line:
        head = f"PUT {location}?digest={Digest.of(DATA)} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n"
        line.sendall(f"{head}Content-Length: {len(DATA)}\r\n\r\n".encode() + DATA[:1000])
        time.sleep(0.2)
        ending = threading.Timer(0.5, lambda: (line.sendall(DATA[1000:1234]), line.close()))
        ending.start()
        answer = wire.ask("GET", location)
        ending.join()
    assert answer.headers["X-Upload-Offset"] == "1234"
    assert wire.ask("PATCH", location, DATA[1234:], Content_Range=f"1234-{len(DATA) - 1}").status == 202
    assert close(wire, location, DATA).status == 201


def eventually(wire: Wire, location: str) -> int:
    """Return the durable size, once the server has noticed that the client is gone."""
    for _ in range(100):
        if size := int(wire.ask("GET", location).headers["X-Upload-Offset"]):
            return size
        time.sleep(0.05)
    raise AssertionError("the upload never told of what had arrived")


def sessions(store: Store, name: str) -> int:
    with store.database.reading() as connection:
        wanted = "SELECT count(*) FROM uploads WHERE repository = ?"
        return int(connection.exec_driver_sql(wanted, (name,)).scalar_one())


@pytest.mark.parametrize("how", ["the client went away", "another length", "another digest"])
def test_end_4b_a_blob_in_one_request_that_fails_leaves_no_session_that_nobody_knows(
    wire: Wire, store: Store, name: str, how: str
) -> None:
    path = f"/v2/{name}/blobs/uploads/?digest={Digest.of(DATA)}"
    if how == "another length":
        assert code(wire.ask("POST", path, DATA, Content_Range="0-9")) == (400, "SIZE_INVALID")
    elif how == "another digest":
        assert code(wire.ask("POST", path, b"other")) == (400, "DIGEST_INVALID")
    else:
        parts = urlsplit(wire.url)
        login = urllib3.make_headers(basic_auth=f"{wire.user}:pw-{wire.user}")["authorization"]
        with socket.create_connection((parts.hostname, parts.port)) as line:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\nContent-Length: {len(DATA)}\r\n\r\n"
            line.sendall(head.encode() + DATA[:500])
            until = time.monotonic() + 10
            while not sessions(store, name) and time.monotonic() < until:
                time.sleep(0.01)
            assert sessions(store, name) == 1
    until = time.monotonic() + 10
    while sessions(store, name) and time.monotonic() < until:
        time.sleep(0.01)
    assert sessions(store, name) == 0


def test_end_14_a_cancelled_upload_is_unknown(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    wire.ask("PATCH", location, DATA)
    assert wire.ask("DELETE", location).status == 204
    assert code(wire.ask("GET", location)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_while_one_request_writes_another_is_refused_and_the_session_stays(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    parts = urlsplit(wire.url)
    login = urllib3.make_headers(basic_auth=f"{wire.user}:pw-{wire.user}")["authorization"]
    with socket.create_connection((parts.hostname, parts.port)) as line:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\nContent-Length: {len(DATA)}\r\n\r\n"
        line.sendall(head.encode() + DATA[:100])
        time.sleep(0.2)
        assert code(wire.ask("PATCH", location, b"me too")) == (416, "BLOB_UPLOAD_INVALID")
        assert code(close(wire, location, DATA)) == (416, "BLOB_UPLOAD_INVALID")
        line.sendall(DATA[100:])
        assert line.recv(100).startswith(b"HTTP/1.1 202")
    assert close(wire, location, DATA).status == 201
