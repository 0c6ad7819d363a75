"""The distribution API's push side: manifests and deletes (end-7, end-9, end-10), and errors' form."""

from __future__ import annotations

import json

import pytest

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from tests.contracts.conftest import Wire, body, code
from tests.oci_samples import descriptor, image


def manifest(**parts: object) -> bytes:
    return strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []} | parts)


EMPTY_CONFIG = descriptor(b"{}", OCI_EMPTY).as_json()


def test_end_7a_a_manifest_is_stored_under_tag_and_digest(wire: Wire, name: str) -> None:
    sample = image()
    digest = wire.push_image(name, sample, "v1")
    answer = wire.push_manifest(name, sample.manifest, str(digest))
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v2/{name}/manifests/{digest}"
    assert answer.headers["Docker-Content-Digest"] == str(digest)


def test_end_7a_parameters_of_the_type_are_stripped(wire: Wire, name: str) -> None:
    sample = image()
    wire.push_image(name, sample, "v1")
    assert wire.push_manifest(name, sample.manifest, "v2", f"{OCI_MANIFEST}; charset=utf-8").status == 201
    assert wire.ask("HEAD", f"/v2/{name}/manifests/v2").headers["Content-Type"] == OCI_MANIFEST


def test_end_7b_digest_and_tags_are_set_at_once(wire: Wire, name: str) -> None:
    sample = image()
    digest = wire.push_image(name, sample, "first")
    tags = [f"t{number}" for number in range(12)]
    query = "&".join(f"tag={tag}" for tag in tags)
    answer = wire.push_manifest(name, sample.manifest, f"{digest}?{query}")
    assert answer.status == 201
    assert sorted(answer.headers.getlist("OCI-Tag")) == sorted(tags)
    assert set(tags) <= set(body(wire.ask("GET", f"/v2/{name}/tags/list"))["tags"])
    too_many = "&".join(f"tag=x{number}" for number in range(101))
    assert wire.push_manifest(name, sample.manifest, f"{digest}?{too_many}").status == 414


def test_a_manifest_pushed_by_sha512_comes_back_by_sha512(wire: Wire, name: str) -> None:
    sample = image()
    wire.push_image(name, sample, "v1")
    digest = Digest.of(sample.manifest, "sha512")
    answer = wire.push_manifest(name, sample.manifest, str(digest))
    assert answer.headers["Docker-Content-Digest"] == str(digest)
    got = wire.ask("GET", f"/v2/{name}/manifests/{digest}")
    assert (got.data, got.headers["Docker-Content-Digest"]) == (sample.manifest, str(digest))


def test_a_subject_need_not_exist_yet_and_is_named_in_the_answer(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"{}")
    subject = descriptor(b"later", OCI_MANIFEST)
    data = manifest(config=EMPTY_CONFIG, subject=subject.as_json())
    answer = wire.push_manifest(name, data, "signature")
    assert (answer.status, answer.headers["OCI-Subject"]) == (201, str(subject.digest))


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_may_name_children_that_are_not_carried(wire: Wire, name: str, media_type: str) -> None:
    child = descriptor(b"another platform", OCI_MANIFEST).as_json()
    data = strictjson.canonical({"schemaVersion": 2, "mediaType": media_type, "manifests": [child]})
    assert wire.push_manifest(name, data, "sparse", media_type).status == 201
    assert wire.ask("GET", f"/v2/{name}/manifests/sparse").data == data
    missing = wire.ask("GET", f"/v2/{name}/manifests/{child['digest']}")
    assert code(missing) == (404, "MANIFEST_UNKNOWN")
    assert "on purpose" in json.loads(missing.data)["errors"][0]["message"]


def test_docker_types_are_kept(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"{}")
    data = manifest(mediaType=DOCKER_MANIFEST, config=EMPTY_CONFIG)
    assert wire.push_manifest(name, data, "docker", DOCKER_MANIFEST).status == 201
    assert wire.ask("HEAD", f"/v2/{name}/manifests/docker").headers["Content-Type"] == DOCKER_MANIFEST


def test_layers_that_only_their_maker_may_distribute_are_not_required(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"{}")
    foreign = descriptor(b"theirs", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip").as_json()
    data = manifest(config=EMPTY_CONFIG, layers=[foreign | {"urls": ["https://example.org/layer"]}])
    assert wire.push_manifest(name, data, "foreign").status == 201


def test_a_manifest_of_nearly_four_mebibytes_is_taken_and_one_of_nine_refused(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"{}")
    data = manifest(config=EMPTY_CONFIG, annotations={f"k{number}": "x" * 10_000 for number in range(390)})
    assert wire.push_manifest(name, data, "large").status == 201
    assert wire.ask("GET", f"/v2/{name}/manifests/large").data == data
    assert code(wire.push_manifest(name, b" " * (9 << 20), "huge")) == (413, "SIZE_INVALID")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"[]",
        b"\xff\xfe",
        b'{"schemaVersion":1}',
        b"[" * 100_000,
        manifest(config=EMPTY_CONFIG, manifests=[]),
        manifest(mediaType=OCI_INDEX),
        manifest(config=EMPTY_CONFIG | {"size": -1}),
        manifest(config=EMPTY_CONFIG | {"size": 3}),
        manifest(config=EMPTY_CONFIG | {"digest": "sha256:../../etc/passwd"}),
        manifest(config=EMPTY_CONFIG).replace(b'"layers":[]', b'"layers":[],"layers":[]'),
        manifest(config=EMPTY_CONFIG) + b"trailing",
    ],
)
def test_what_is_no_manifest_is_refused(wire: Wire, name: str, data: bytes) -> None:
    wire.push_blob(name, b"{}")
    assert code(wire.push_manifest(name, data, "bad")) == (400, "MANIFEST_INVALID")
    assert code(wire.ask("GET", f"/v2/{name}/manifests/bad")) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("media_type", ["application/vnd.docker.distribution.manifest.v1+prettyjws", "text/plain", ""])
def test_other_types_of_manifest_are_refused(wire: Wire, name: str, media_type: str) -> None:
    assert code(wire.push_manifest(name, manifest(), "bad", media_type)) == (400, "MANIFEST_INVALID")


def test_a_manifest_that_names_a_missing_blob_is_refused(wire: Wire, name: str) -> None:
    answer = wire.push_manifest(name, image().manifest, "early")
    assert code(answer) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_naming_a_blob_of_another_repository_does_not_link_it(wire: Wire, name: str) -> None:
    sample = image(b"somebody else's")
    wire.push_image(f"{name}-theirs", sample, "1")
    assert code(wire.push_manifest(name, sample.manifest, "1")) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_a_manifest_under_another_digest_is_refused(wire: Wire, name: str) -> None:
    wire.push_blob(name, b"{}")
    wrong = Digest.of(b"something else")
    assert code(wire.push_manifest(name, manifest(config=EMPTY_CONFIG), str(wrong))) == (400, "DIGEST_INVALID")
    assert code(wire.ask("GET", f"/v2/{name}/manifests/{wrong}")) == (404, "MANIFEST_UNKNOWN")


def test_the_last_push_of_a_tag_wins_and_both_digests_stay(wire: Wire, name: str) -> None:
    first, second = image(b"1"), image(b"2")
    one, two = wire.push_image(name, first, "latest"), wire.push_image(name, second, "latest")
    assert wire.ask("HEAD", f"/v2/{name}/manifests/latest").headers["Docker-Content-Digest"] == str(two)
    assert wire.ask("HEAD", f"/v2/{name}/manifests/{one}").status == 200


def test_end_9_deleting_a_tag_leaves_the_manifest(wire: Wire, name: str) -> None:
    digest = wire.push_image(name, image(), "gone")
    assert wire.ask("DELETE", f"/v2/{name}/manifests/gone").status == 202
    assert code(wire.ask("GET", f"/v2/{name}/manifests/gone")) == (404, "MANIFEST_UNKNOWN")
    assert wire.ask("HEAD", f"/v2/{name}/manifests/{digest}").status == 200
    assert code(wire.ask("DELETE", f"/v2/{name}/manifests/gone")) == (404, "MANIFEST_UNKNOWN")


def test_end_9_deleting_a_manifest_takes_its_tags_along(wire: Wire, name: str) -> None:
    digest = wire.push_image(name, image(), "a")
    wire.push_manifest(name, image().manifest, "b")
    assert wire.ask("DELETE", f"/v2/{name}/manifests/{digest}").status == 202
    assert wire.ask("HEAD", f"/v2/{name}/manifests/{digest}").status == 404
    assert body(wire.ask("GET", f"/v2/{name}/tags/list"))["tags"] == []


def test_end_10_a_deleted_blob_is_gone_at_once_and_can_be_pushed_again(wire: Wire, name: str) -> None:
    digest = wire.push_blob(name, b"short-lived")
    assert wire.ask("DELETE", f"/v2/{name}/blobs/{digest}").status == 202
    assert wire.ask("HEAD", f"/v2/{name}/blobs/{digest}").status == 404
    assert code(wire.ask("DELETE", f"/v2/{name}/blobs/{digest}")) == (404, "BLOB_UNKNOWN")
    wire.push_blob(name, b"short-lived")
    assert wire.ask("GET", f"/v2/{name}/blobs/{digest}").data == b"short-lived"
