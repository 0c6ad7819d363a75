"""What each known client does on the wire: containerd, moby, podman and skopeo, regclient, crane, oras and cosign.

The clients themselves are run in tests/interop; here is what they rely on, also where they are not installed.
"""

from __future__ import annotations

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from tests.contracts.conftest import Wire, body, code
from tests.oci_samples import descriptor, image

DATA = bytes(range(256)) * 16


def begin(wire: Wire, name: str, query: str = "") -> str:
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/{query}")
    assert answer.status == 202
    return answer.headers["Location"]


def test_containerd_resolves_by_one_head_and_reads_a_layer_from_any_byte_on(wire: Wire, name: str) -> None:
    digest = wire.push_image(name, image(), "1")
    head = wire.ask("HEAD", f"/v2/{name}/manifests/1?ns=example.org", Accept=f"{OCI_MANIFEST}, {OCI_INDEX}, */*")
    assert head.headers["Docker-Content-Digest"] == str(digest)
    assert int(head.headers["Content-Length"]) == len(image().manifest)
    layer = image().layer
    for offset in (0, 1, len(layer) - 1):
        answer = wire.ask(
            "GET", f"/v2/{name}/blobs/{Digest.of(layer)}", Range=f"bytes={offset}-", Accept_Encoding="zstd"
        )
        assert (answer.status, answer.data) == (206, layer[offset:])


def test_containerd_pushes_by_mount_or_else_one_put_at_a_location_of_the_same_host(wire: Wire, name: str) -> None:
    digest = Digest.of(DATA)
    assert wire.ask("HEAD", f"/v2/{name}/blobs/{digest}").status == 404
    location = begin(wire, name, f"?mount={digest}&from=not/there")
    assert location.startswith("/")
    answer = wire.ask("PUT", f"{location}?digest={digest}", DATA, Content_Type="application/octet-stream")
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, str(digest))


def test_moby_streams_a_patch_closes_by_an_empty_put_and_resumes_one_byte_too_far(wire: Wire, name: str) -> None:
    location = begin(wire, name)
    patched = wire.ask("PATCH", location, DATA)
    assert patched.headers["Docker-Upload-UUID"]
    digest = Digest.of(DATA)
    assert wire.ask("PUT", f"{patched.headers['Location']}?digest={digest}", b"").status == 201
    answer = wire.ask("GET", f"/v2/{name}/blobs/{digest}", Range=f"bytes=1000-{len(DATA)}")
    assert (answer.status, answer.data) == (206, DATA[1000:])
    assert answer.headers["Content-Range"] == f"bytes 1000-{len(DATA) - 1}/{len(DATA)}"


def test_podman_cancels_a_mount_that_became_an_upload(wire: Wire, name: str) -> None:
    location = begin(wire, name, f"?mount={Digest.of(DATA)}&from=not/there")
    assert wire.ask("DELETE", location).status == 204
    assert code(wire.ask("DELETE", location)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_skopeo_reads_chunks_of_a_layer_by_several_ranges(wire: Wire, name: str) -> None:
    digest = wire.push_blob(name, DATA)
    answer = wire.ask("GET", f"/v2/{name}/blobs/{digest}", Range="bytes=0-99,1000-1099")
    assert answer.status == 206
    assert answer.headers["Content-Type"].startswith("multipart/byteranges; boundary=")
    assert DATA[1000:1100] in answer.data


def test_regclient_mounts_from_nowhere_in_particular_then_puts_then_sends_chunks(wire: Wire, name: str) -> None:
    data = name.encode() * 100
    digest = Digest.of(data)
    location = begin(wire, name, f"?mount={digest}")
    middle = len(data) // 2
    first = wire.ask("PATCH", location, data[:middle], Content_Range=f"0-{middle - 1}")
    assert first.headers["Range"] == f"0-{middle - 1}"
    wire.ask("PATCH", first.headers["Location"], data[middle:], Content_Range=f"{middle}-{len(data) - 1}")
    assert wire.ask("PUT", f"{location}?digest={digest}").status == 201
    assert wire.ask("POST", f"/v2/{name}-2/blobs/uploads/?mount={digest}").status == 201


def test_crane_mounts_only_with_a_source_and_follows_links(wire: Wire, name: str) -> None:
    digest = wire.push_blob(f"{name}-one", DATA)
    answer = wire.ask("POST", f"/v2/{name}/blobs/uploads/?from={name}-one&mount={digest}")
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/{name}/blobs/{digest}")
    wire.push_image(name, image(), "a")
    wire.push_manifest(name, image().manifest, "b")
    page = wire.ask("GET", f"/v2/{name}/tags/list?n=1")
    path, relation = page.headers["Link"].split(">; ")
    assert relation == 'rel="next"'
    assert body(wire.ask("GET", path.removeprefix("<")))["tags"] == ["b"]


def test_oras_and_cosign_see_that_no_fallback_tag_is_needed(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"{}")
    subject = descriptor(b"subject", OCI_MANIFEST)
    data = strictjson.canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(b"{}", OCI_EMPTY).as_json(),
            "layers": [],
            "subject": subject.as_json(),
        }
    )
    assert wire.ask("GET", f"/v2/{name}/referrers/{subject.digest}").status == 200  # never 404: the API is there
    answer = wire.push_manifest(name, data, str(Digest.of(data)))
    assert answer.headers["OCI-Subject"] == str(subject.digest)
