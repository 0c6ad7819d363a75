"""The distribution API's pull side: end-1, end-2, end-3."""

from __future__ import annotations

import pytest

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from tests.contracts.conftest import Wire, body, code
from tests.oci_samples import image

DATA = bytes(range(256)) * 8  # 2048 bytes
UNKNOWN = f"sha256:{'0' * 64}"


def test_end_1_the_front_door_answers_those_who_may_log_in(wire: Wire) -> None:
    answer = wire.ask("GET", "/v2/")
    assert body(answer) == {}
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


def test_end_2_a_blob_comes_back_with_its_digest_and_length(wire: Wire, name: str) -> None:
    digest = wire.push_blob(name, DATA)
    answer = wire.ask("GET", f"/v2/{name}/blobs/{digest}")
    assert (answer.status, answer.data) == (200, DATA)
    assert answer.headers["Docker-Content-Digest"] == str(digest)
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_head_has_the_headers_of_get_and_no_body(wire: Wire, name: str, kind: str) -> None:
    sample = image()
    digest = wire.push_image(name, sample, "1")
    target = f"/v2/{name}/{kind}/{digest if kind == 'manifests' else Digest.of(sample.layer)}"
    got, head = wire.ask("GET", target), wire.ask("HEAD", target)
    assert (head.status, head.data) == (200, b"")
    assert {**head.headers, "date": ""} == {**got.headers, "date": ""}


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, 2048),
        ("bytes=-500", 1548, 2048),
        ("bytes=0-", 0, 2048),
        ("bytes=2047-9999", 2047, 2048),
        ("bytes=0-2048", 0, 2048),  # docker: an end one past the last byte
        ("bytes=-9999", 0, 2048),
        ("bytes=0-99999999999999999999", 0, 2048),
    ],
)
def test_end_2_a_range_is_answered_with_206(wire: Wire, name: str, asked: str, start: int, end: int) -> None:
    digest = wire.push_blob(name, DATA)
    answer = wire.ask("GET", f"/v2/{name}/blobs/{digest}", Range=asked)
    assert (answer.status, answer.data) == (206, DATA[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/2048"


@pytest.mark.parametrize("asked", ["bytes=500-0", "bytes=2048-", "bytes=9999-10000", "bytes=-0"])
def test_end_2_a_range_outside_is_answered_with_416(wire: Wire, name: str, asked: str) -> None:
    digest = wire.push_blob(name, DATA)
    answer = wire.ask("GET", f"/v2/{name}/blobs/{digest}", Range=asked)
    assert answer.status == 416
    assert answer.headers["Content-Range"] == "bytes */2048"


@pytest.mark.parametrize("asked", ["bytes=4-5,0-1", "bytes=a-b", "bytes=-", "lines=1-2", ""])
def test_end_2_a_range_that_is_none_gives_the_whole_blob(wire: Wire, name: str, asked: str) -> None:
    digest = wire.push_blob(name, DATA)
    answer = wire.ask("GET", f"/v2/{name}/blobs/{digest}", Range=asked)
    assert (answer.status, answer.data) == (200, DATA)


def test_a_client_that_has_it_already_gets_304(wire: Wire, name: str) -> None:
    digest = wire.push_image(name, image(), "1")
    for target in (f"blobs/{Digest.of(image().layer)}", "manifests/1"):
        etag = wire.ask("HEAD", f"/v2/{name}/{target}").headers["ETag"]
        assert wire.ask("GET", f"/v2/{name}/{target}", If_None_Match=f'"x", {etag}').status == 304
    assert etag == f'"{digest}"'


def test_what_cannot_change_may_be_kept_for_ever_and_a_tag_not_at_all(wire: Wire, name: str) -> None:
    digest = wire.push_image(name, image(), "1")
    for target, kept in (
        (f"blobs/{Digest.of(image().layer)}", "max-age=31536000"),
        (f"manifests/{digest}", "max-age=31536000"),
        ("manifests/1", "no-cache"),
    ):
        for method in ("GET", "HEAD"):
            assert wire.ask(method, f"/v2/{name}/{target}").headers["Cache-Control"] == kept


def test_a_blob_of_many_steps_comes_whole(wire: Wire, name: str) -> None:
    data = bytes(range(251)) * (3 << 14)  # 12 MiB, no step begins where a pattern does
    digest = wire.push_blob(name, data)
    assert Digest.of(wire.ask("GET", f"/v2/{name}/blobs/{digest}").data) == digest
    offset = (5 << 20) + 17
    assert wire.ask("GET", f"/v2/{name}/blobs/{digest}", Range=f"bytes={offset}-").data == data[offset:]


@pytest.mark.parametrize("accept", ["", "*/*", "application/json"])
def test_end_3_a_manifest_comes_back_as_it_was_pushed_whatever_is_accepted(wire: Wire, name: str, accept: str) -> None:
    sample = image()
    digest = wire.push_image(name, sample, "1.0")
    for reference in ("1.0", str(digest)):
        answer = wire.ask("GET", f"/v2/{name}/manifests/{reference}", Accept=accept)
        assert (answer.status, answer.data) == (200, sample.manifest)
        assert answer.headers["Content-Type"] == OCI_MANIFEST
        assert answer.headers["Docker-Content-Digest"] == str(digest)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (f"blobs/{UNKNOWN}", (404, "BLOB_UNKNOWN")),
        (f"manifests/{UNKNOWN}", (404, "MANIFEST_UNKNOWN")),
        ("manifests/never", (404, "MANIFEST_UNKNOWN")),
        (f"blobs/sha256:{'A' * 64}", (400, "DIGEST_INVALID")),
        (f"blobs/sha256:{'0' * 63}", (400, "DIGEST_INVALID")),
        (f"blobs/md5:{'0' * 32}", (400, "DIGEST_INVALID")),
        ("blobs/uploads", (400, "DIGEST_INVALID")),
        ("manifests/sha256:short", (400, "DIGEST_INVALID")),
        (f"manifests/{'x' * 129}", (400, "MANIFEST_INVALID")),
    ],
)
def test_what_is_unknown_or_malformed_says_so(
    wire: Wire, name: str, method: str, target: str, expected: tuple[int, str]
) -> None:
    answer = wire.ask(method, f"/v2/{name}/{target}")
    if method == "HEAD":
        assert answer.status == expected[0]
    else:
        assert code(answer) == expected


def test_a_blob_of_another_repository_is_not_there(wire: Wire, name: str) -> None:
    digest = wire.push_blob(name, b"only in one repository")
    assert code(wire.ask("GET", f"/v2/{name}2/blobs/{digest}")) == (404, "BLOB_UNKNOWN")


def test_the_upstream_name_that_mirrors_add_is_ignored(wire: Wire, name: str) -> None:
    wire.push_image(name, image(), "1")
    assert wire.ask("HEAD", f"/v2/{name}/manifests/1?ns=docker.io").status == 200
