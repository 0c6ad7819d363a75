"""Errors' one form, warnings, upstream names, and the odd requests that only a socket of our own can send."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from registry.oci.digest import Digest
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.wire import STATUS, warning
from registry.store.store import Store
from tests.contracts.conftest import Wire, body, code, write_users
from tests.oci_samples import image

CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED",
    "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip


def raw(wire: Wire, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    """Send a path as it is; urllib3 would mend it."""
    parts = urlsplit(wire.url)
    line = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    line.request(method, path, headers=dict(urllib3.make_headers(basic_auth="admin:pw-admin")) | headers)
    answer = line.getresponse()
    return answer.status, answer.read()


def test_there_are_the_fourteen_codes_of_the_specification_and_no_other() -> None:
    assert set(STATUS) == CODES


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"])
@pytest.mark.parametrize("path", ["/", "/v2/", "/v2/a/tags/list", "/v2/a/manifests/1", "/v2/a/blobs/uploads/", "/x"])
def test_whatever_is_refused_has_the_form_of_the_specification(wire: Wire, method: str, path: str) -> None:
    status, data = raw(wire, method, path)
    if status >= 400 and data[:1] == b"{":
        (error,) = json.loads(data)["errors"]
        assert error["code"] in CODES
        assert status not in (422, 500)
    else:
        assert status < 400 or (method == "get" and status == 400)  # the HTTP parser's own answer to no method


_ODD = ["%2e%2e", "..%2f..", "%5c", "%00", "%252e%252e", "%c0%ae%c0%ae", "a%0d%0aX:1", "a;b", "a?b", "'%22", "%7f"]


@pytest.mark.parametrize("odd", _ODD)
@pytest.mark.parametrize(
    "place",
    ["GET /v2/a/manifests/{}", "GET /v2/a/blobs/{}", "GET /v2/a/referrers/{}", "PATCH /v2/a/blobs/uploads/{}",
     "DELETE /v2/a/manifests/{}", "GET /v2/{}/tags/list", "GET /v2/a/tags/list?last={}", "GET /v2/_catalog?last={}",
     "POST /v2/a/blobs/uploads/?mount=sha256:" + "0" * 64 + "&from={}", "GET /files/a/{}/x", "GET /files/a/1/{}"],
)  # fmt: skip
def test_odd_text_in_any_place_finds_nothing_and_breaks_nothing(wire: Wire, place: str, odd: str) -> None:
    method, _, path = place.partition(" ")
    status, data = raw(wire, method, path.format(odd))
    assert status in (200, 202, 400, 404, 405), data
    assert b"Traceback" not in data
    assert b"/store" not in data


@pytest.mark.parametrize("last", ["%2e%2e%2f", "%00", "%ff", "~", "a%2fb"])
def test_the_end_of_the_last_page_need_not_be_a_tag(wire: Wire, name: str, last: str) -> None:
    wire.push_image(name, image(), "1")
    assert raw(wire, "GET", f"/v2/{name}/tags/list?n=1&last={last}")[0] in (200, 400)


def test_a_request_with_two_lengths_is_refused(wire: Wire, name: str) -> None:
    parts = urlsplit(wire.url)
    login = urllib3.make_headers(basic_auth="admin:pw-admin")["authorization"]
    head = f"POST /v2/{name}/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n"
    for lengths in (
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
    ):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as line:
            line.sendall((head + lengths + "\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n").encode())
            assert line.recv(1000).startswith(b"HTTP/1.1 400")
    assert wire.ask("GET", "/livez").status == 200


def test_an_accept_of_any_length_changes_nothing(wire: Wire, name: str) -> None:
    wire.push_image(name, image(), "1")
    accept = ", ".join(f"application/x{number};q=0.{number % 10}" for number in range(500))
    assert wire.ask("GET", f"/v2/{name}/manifests/1", Accept=accept).data == image().manifest


def test_a_warning_is_one_line_of_plain_text_below_what_clients_take() -> None:
    (value,) = warning('full "soon"\r\nX-Evil: ä\\' + "x" * 9000).values()
    assert value.startswith('299 - "full  soon   X-Evil:   ')
    assert len(value) < 4096
    assert value.isascii()
    assert value.isprintable()


def test_a_read_only_registry_warns_where_a_client_comes_in_and_where_it_would_write(tmp_path: Path) -> None:
    settings = Settings(users=write_users(tmp_path / "users"), read_only=True)
    with Store.open(tmp_path / "store") as store, Running(settings, store) as run:
        wire = Wire(run.url)
        expected = '299 - "this registry is read-only"'
        assert wire.ask("GET", "/v2/").headers["Warning"] == expected
        answer = wire.ask("POST", "/v2/a/blobs/uploads/")
        assert (code(answer), answer.headers["Warning"]) == ((405, "UNSUPPORTED"), expected)


def test_a_push_warns_when_its_repository_is_nearly_full_and_then_is_refused(tmp_path: Path) -> None:
    sample = image(b"x" * 100)
    size = sum(map(len, sample.blobs.values())) + len(sample.manifest)
    (tmp_path / "store").mkdir()
    rule = f'rules: [{{repositories: ["*"], quota_bytes: {size + 20}}}]'
    (tmp_path / "store/policy.yaml").write_text(rule)
    with (
        Store.open(tmp_path / "store") as store,
        Running(Settings(users=write_users(tmp_path / "users")), store) as run,
    ):
        wire = Wire(run.url)
        for data in sample.blobs.values():
            wire.push_blob("team/app", data)
        answer = wire.push_manifest("team/app", sample.manifest, "1")
        assert answer.status == 201
        assert answer.headers["Warning"].startswith('299 - "team/app uses 9')
        begun = wire.ask("POST", "/v2/team/app/blobs/uploads/")
        more = b"y" * 4096
        refused = wire.ask("PUT", f"{begun.headers['Location']}?digest={Digest.of(more)}", more)
        assert code(refused) == (403, "DENIED")
        assert "quota" in refused.headers["Warning"] or "may hold" in refused.headers["Warning"]
        assert wire.ask("GET", "/v2/team/app/manifests/1").data == sample.manifest


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_mirrors_client_finds_content_by_its_upstream_name(wire: Wire, name: str, method: str) -> None:
    digest = wire.push_image(f"docker.io/{name}", image(), "1")
    layer = Digest.of(image().layer)
    for path in ("manifests/1?ns=docker.io", f"manifests/{digest}?ns=docker.io", f"blobs/{layer}?ns=docker.io"):
        answer = wire.ask(method, f"/v2/{name}/{path}")
        assert (answer.status, answer.headers["OCI-Namespace"]) == (200, "docker.io")
    assert wire.ask(method, f"/v2/{name}/manifests/1").status == 404
    assert wire.ask(method, f"/v2/{name}/manifests/1?ns=quay.io").status == 404


def test_an_upstream_name_that_is_not_here_means_nothing(wire: Wire, name: str) -> None:
    wire.push_image(name, image(), "1")
    for ns in ("docker.io", "..", "%2e%2e", "a/b", "", "x" * 300, "evil.example.org"):
        answer = wire.ask("GET", f"/v2/{name}/manifests/1?ns={ns}")
        assert answer.status == 200
        assert "OCI-Namespace" not in answer.headers


def test_an_upstream_name_opens_nothing_that_is_not_granted(wire: Wire) -> None:
    wire.push_image("shared/app", image(), "1")
    wire.push_image("closed.example.org/shared/app", image(b"secret"), "1")
    reader = wire.as_user("reader")
    answer = reader.ask("GET", "/v2/shared/app/manifests/1?ns=closed.example.org")
    assert (answer.status, answer.data) == (200, image().manifest)
    assert "OCI-Namespace" not in answer.headers
    for path in ("/v2/other/app/manifests/1", "/v2/app/manifests/1"):
        assert code(reader.ask("GET", f"{path}?ns=closed.example.org")) == (403, "DENIED")


def test_a_push_takes_no_upstream_name(wire: Wire, name: str) -> None:
    wire.push_image(f"docker.io/{name}", image(), "1")
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/?ns=docker.io")
    assert answer.headers["Location"].startswith(f"/v2/{name}/")
    wire.push_image(name, image(b"mine"), "1")
    assert wire.push_manifest(name, image(b"mine").manifest, "2?ns=docker.io").status == 201
    assert body(wire.ask("GET", f"/v2/docker.io/{name}/tags/list"))["tags"] == ["1"]
