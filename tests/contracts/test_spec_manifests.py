"""Manifests as the specification and hostile clients send them: kept to the byte, or refused and nothing changed."""

from __future__ import annotations

import base64
import json
import time

import pytest

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from tests.contracts.conftest import Wire, body, code
from tests.oci_samples import descriptor, image

CONFIG = descriptor(b"{}", OCI_EMPTY).as_json()
CHILD = descriptor(b"a child", OCI_MANIFEST).as_json()


def manifest(**parts: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": []} | parts).encode()


def index(**parts: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []} | parts).encode()


def without(*names: str) -> bytes:
    value = json.loads(manifest())
    return json.dumps({key: part for key, part in value.items() if key not in names}).encode()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (manifest(unknown={"a": [1, 2.5, None, True]}), OCI_MANIFEST),
        (manifest(config=CONFIG | {"data": base64.b64encode(b"{}").decode()}), OCI_MANIFEST),
        (manifest(config=CONFIG | {"mediaType": "application/vnd.unheard-of+json"}), OCI_MANIFEST),
        (manifest(artifactType="a/b", annotations={"ä": "ö\u2028"}), OCI_MANIFEST),
        (b" \n" + manifest() + b"\n\t", OCI_MANIFEST),
        (without("mediaType"), OCI_MANIFEST),
        (without("layers"), OCI_MANIFEST),
        (manifest(layers=[], config=CONFIG, subject=CHILD), OCI_MANIFEST),
        (manifest(mediaType=DOCKER_MANIFEST), DOCKER_MANIFEST),
        (index(), OCI_INDEX),
        (index(manifests=[CHILD, CHILD | {"mediaType": OCI_INDEX}]), OCI_INDEX),
        (index(manifests=[CHILD | {"platform": {"os": "linux", "architecture": "any"}}]), OCI_INDEX),
        (index(artifactType="a/b", subject=CHILD), OCI_INDEX),
        (index(mediaType=DOCKER_LIST), DOCKER_LIST),
    ],
)
def test_what_the_specification_allows_is_kept_to_the_byte(wire: Wire, name: str, data: bytes, media_type: str) -> None:
    wire.push_blob(name, b"{}")
    answer = wire.push_manifest(name, data, "kept", media_type)
    assert answer.status == 201, answer.data
    for reference in ("kept", str(Digest.of(data))):
        got = wire.ask("GET", f"/v2/{name}/manifests/{reference}")
        assert (got.data, got.headers["Content-Type"]) == (data, media_type)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + manifest(),
        manifest().replace(b"2", b"NaN", 1),
        manifest(annotations={"a": "b"}).replace(b'"b"', b"[]"),
        manifest(annotations=[]).replace(b"[]", b"[1]", 1),
        manifest(artifactType="\ud800"),
        manifest(artifactType=["a"]),
        manifest(subject=[]).replace(b"[]", b"[1]"),
        manifest(config=CONFIG | {"size": 2**63}),
        manifest(config=CONFIG | {"size": 2.0}),
        manifest(config=CONFIG | {"size": True}),
        manifest(config=CONFIG | {"size": "2"}),
        manifest(config=CONFIG | {"mediaType": ""}),
        manifest(config=CONFIG | {"data": base64.b64encode(b"{}{}").decode()}),
        manifest(config=CONFIG | {"data": base64.b64encode(b"[]").decode()}),
        manifest(config=CONFIG | {"data": "not base64"}),
        manifest(config=CONFIG | {"digest": CONFIG["digest"].upper()}),
        manifest(layers={}),
        manifest(layers=[None]),
        manifest(mediaType=7),
        manifest(unknown=10**25),
        manifest(x=1).replace(b'"x": 1', b'"x": 1e400'),
        b'{"schemaVersion":2,"x":' + b'{"a":' * 100_000,
        b"[" * (4 << 20),
        b'"' + b"\\" * (4 << 20),
    ],
)  # fmt: skip
def test_what_two_readers_could_read_differently_is_refused(wire: Wire, name: str, data: bytes) -> None:
    wire.push_blob(name, b"{}")
    began = time.monotonic()
    assert code(wire.push_manifest(name, data, "bad")) == (400, "MANIFEST_INVALID")
    assert time.monotonic() - began < 5
    assert body(wire.ask("GET", f"/v2/{name}/tags/list"))["tags"] == []


def test_a_manifest_of_100_001_layers_is_refused(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"{}")
    layer = b'{"mediaType":"a/b","size":2,"digest":"sha256:' + b"0" * 64 + b'"}'
    data = manifest().replace(b'"layers": []', b'"layers":[' + b",".join([layer] * 60_000) + b"]")
    assert code(wire.push_manifest(name, data, "bad"))[0] in (400, 404, 413)


def test_a_manifest_whose_type_is_not_what_it_was_sent_as_is_refused(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"{}")
    for data, media_type in ((manifest(), OCI_INDEX), (index(), OCI_MANIFEST), (manifest(), DOCKER_MANIFEST)):
        assert code(wire.push_manifest(name, data, "bad", media_type)) == (400, "MANIFEST_INVALID")


def test_tags_set_with_a_digest_are_all_set_or_none(wire: Wire, name: str) -> None:
    digest = wire.push_image(name, image(), "first")
    data = image().manifest
    assert code(wire.push_manifest(name, data, f"{digest}?tag=good&tag=.bad")) == (400, "MANIFEST_INVALID")
    wrong = Digest.of(b"other")
    assert code(wire.push_manifest(name, data, f"{wrong}?tag=good")) == (400, "DIGEST_INVALID")
    assert body(wire.ask("GET", f"/v2/{name}/tags/list"))["tags"] == ["first"]
    answer = wire.push_manifest(name, data, f"{digest}?tag=good&tag=good&tag=better")
    assert answer.headers.getlist("OCI-Tag") == ["good", "better"]
    assert body(wire.ask("GET", f"/v2/{name}/tags/list"))["tags"] == ["better", "first", "good"]


def test_tags_can_name_a_manifest_by_its_sha512(wire: Wire, name: str) -> None:
    wire.push_image(name, image(), "short")
    digest = Digest.of(image().manifest, "sha512")
    assert wire.push_manifest(name, image().manifest, f"{digest}?tag=long").headers.getlist("OCI-Tag") == ["long"]
    assert wire.ask("HEAD", f"/v2/{name}/manifests/long").headers["Docker-Content-Digest"] == str(digest)
    assert wire.ask("HEAD", f"/v2/{name}/manifests/short").headers["Docker-Content-Digest"].startswith("sha256:")


def test_an_index_of_itself_and_of_many_levels_is_only_bytes(wire: Wire, name: str) -> None:
    data = index()
    for _ in range(50):
        child = {"mediaType": OCI_INDEX, "digest": str(Digest.of(data)), "size": len(data)}
        data = index(manifests=[child] * 20)
        assert wire.push_manifest(name, data, str(Digest.of(data)), OCI_INDEX).status == 201
    assert wire.ask("GET", f"/v2/{name}/manifests/{Digest.of(data)}").data == data
    assert strictjson.loads(data)["manifests"]
