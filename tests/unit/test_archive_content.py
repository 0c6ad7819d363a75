"""A verified bundle answers like a registry, from its place, and gives no byte that it has not proven."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bundles.archive.artifacts import carried_lock
from bundles.archive.chunks import CHUNK_BYTES, blob_name
from bundles.content import BundleContent
from bundles.lock import LockedArtifact
from bundles.sources.artifact import inline
from bundles.verify import Verified, verify
from registry.content import ContentSource
from registry.errors import MediaError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, INDEXES, OCI_EMPTY, OCI_MANIFEST
from registry.store import durable
from tests.attacks.publisher import NOW, Publisher
from tests.sample_bundles import Sample, noise

WEB, API = "registry.example.org/quickstart/web", "registry.example.org/quickstart/api"


@pytest.fixture(scope="module")
def publisher() -> Publisher:
    return Publisher(product="sample")


@pytest.fixture
def verified(tmp_path: Path, publisher: Publisher) -> Iterator[Verified]:
    path = tmp_path / "sample.tar"
    Sample.large().publish(path, publisher)
    found = verify(path, publisher.begin(), now=NOW)
    yield found
    found.close()


def test_it_serves_every_artefact_under_its_name(verified: Verified):
    source: ContentSource = verified.content()
    assert list(source.repositories()) == ["dryport/file/note", "dryport/lock/sample", API, WEB]
    assert {name: list(source.tags(name)) for name in source.repositories()} == {
        "dryport/file/note": ["1.0.0"],
        "dryport/lock/sample": ["1.0.0"],
        API: ["2.1.0"],
        WEB: ["1.0.0"],
    }


def test_a_tag_leads_to_the_manifest_and_on_to_every_blob(verified: Verified):
    source = verified.content()
    root = source.resolve(WEB, "1.0.0")
    assert root is not None
    found = source.manifest(WEB, root.digest)
    assert found is not None
    data, media_type = found
    assert media_type == OCI_MANIFEST
    assert root.digest.matches(data)
    for layer in strictjson.loads(data)["layers"]:
        blob = source.blob(WEB, Digest.parse(layer["digest"]))
        assert blob is not None
        assert Digest.parse(layer["digest"]).matches(blob.read(0, blob.size))
        blob.close()


def test_a_platform_left_out_is_absent_on_purpose_and_nothing_else_is(verified: Verified):
    source = verified.content()
    root = source.resolve(API, "2.1.0")
    assert root is not None
    assert root.media_type in INDEXES
    assert source.is_absent(API, Digest.of(b"arm"))
    assert source.manifest(API, Digest.of(b"arm")) is None
    assert not source.is_absent(WEB, Digest.of(b"arm"))
    assert not source.is_absent(API, root.digest)
    assert not source.is_absent("nowhere", Digest.of(b"arm"))


def test_unknown_names_give_nothing(verified: Verified):
    source = verified.content()
    assert list(source.tags("nowhere")) == []
    assert source.resolve("nowhere", "1.0.0") is None
    assert source.resolve(WEB, "2.0.0") is None
    assert source.manifest(WEB, Digest.of(b"x")) is None
    assert source.manifest("nowhere", Digest.of(b"x")) is None
    assert source.blob(WEB, Digest.of(b"x")) is None
    assert source.blob("nowhere", Digest.of(b"x")) is None
    assert source.referrers("nowhere", Digest.of(b"x")) == []


def test_a_blob_of_another_repository_is_not_visible(verified: Verified):
    source = verified.content()
    tip = Digest.of(noise("tip", 700))
    assert source.blob(WEB, tip) is not None
    assert source.blob(API, tip) is None
    manifest = source.resolve(WEB, "1.0.0")
    assert manifest is not None
    assert source.manifest(API, manifest.digest) is None


def test_any_range_of_a_blob_is_what_it_was(verified: Verified):
    whole = noise("base", (9 << 20) + 17)
    blob = verified.content().blob(WEB, Digest.of(whole))
    assert blob is not None
    assert blob.size == len(whole)
    edges = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, len(whole) - 1, len(whole)]
    for begin in edges:
        for end in [*edges, len(whole) + 5]:
            if end >= begin:
                assert blob.read(begin, end - begin) == whole[begin:end]
    for wrong in ((-1, 1), (0, -1)):
        with pytest.raises(ValueError, match="not negative"):
            blob.read(*wrong)


def test_many_threads_may_read_one_blob(verified: Verified):
    whole = noise("base", (9 << 20) + 17)
    blob = verified.content().blob(WEB, Digest.of(whole))
    assert blob is not None
    starts = random.Random(1).choices(range(len(whole)), k=200)  # noqa: S311 - places, no secrets
    with ThreadPoolExecutor(8) as pool:
        pieces = list(pool.map(lambda begin: blob.read(begin, 70_000), starts))
    assert pieces == [whole[begin : begin + 70_000] for begin in starts]


def test_a_byte_that_changes_after_verification_does_not_leave(verified: Verified):
    whole = noise("base", (9 << 20) + 17)
    digest = Digest.of(whole)
    source = verified.content()
    entry = verified.archive.members[blob_name(digest)]
    at = entry.offset + CHUNK_BYTES + 5
    durable.overwrite(verified.archive.medium.path, at, bytes([whole[CHUNK_BYTES + 5] ^ 1]))
    blob = source.blob(WEB, digest)
    assert blob is not None
    assert blob.read(0, CHUNK_BYTES) == whole[:CHUNK_BYTES]
    with pytest.raises(MediaError) as caught:
        blob.read(CHUNK_BYTES - 1, 2)
    assert caught.value.reference == "blob-damaged"
    chunk = entry.offset + CHUNK_BYTES
    assert f"bytes {chunk}-{chunk + CHUNK_BYTES - 1}" in caught.value.where


def test_a_file_put_in_its_place_later_is_not_looked_at(verified: Verified):
    path = verified.archive.medium.path
    durable.replace(path, b"something else")
    blob = verified.content().blob(WEB, Digest.of(noise("tip", 700)))
    assert blob is not None
    assert blob.read(0, 700) == noise("tip", 700)


def test_a_signature_attached_to_an_image_is_listed_with_it(tmp_path: Path, publisher: Publisher):
    sample = Sample.small()
    web = sample.lock.artifacts[0]
    subject = {"mediaType": web.root.media_type, "digest": str(web.root.digest), "size": web.root.size}
    empty = inline(EMPTY_BYTES.decode(), OCI_EMPTY)
    described = {"mediaType": OCI_EMPTY, "digest": str(empty.digest), "size": empty.size}
    signature = strictjson.canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.signature",
            "config": described,
            "layers": [described],
            "subject": subject,
            "annotations": {"org.example": "yes"},
        }
    )
    attached = LockedArtifact(
        kind="image", ref=f"{WEB}:sig", root=inline(signature.decode(), OCI_MANIFEST), blobs=[empty]
    )
    lock = sample.lock.model_copy(update={"artifacts": [*sample.lock.artifacts, attached]})
    path = tmp_path / "b.tar"
    Sample(lock, sample.sources).publish(path, publisher)
    source = verify(path, publisher.begin(), now=NOW).content()
    (found,) = source.referrers(WEB, web.root.digest)
    assert found.digest == attached.root.digest
    assert found.artifact_type == "application/vnd.example.signature"
    assert found.annotations == {"org.example": "yes"}
    assert source.referrers(API, web.root.digest) == []


def test_the_carried_lock_is_the_one_it_was_built_from(verified: Verified):
    assert carried_lock(verified.archive).encode() == Sample.large().lock.encode()


def test_only_verify_makes_a_verified(verified: Verified):
    with pytest.raises(TypeError, match="verify alone"):
        Verified(verified.release, (), verified.state, verified.archive)


def test_two_artefacts_under_one_served_name_are_refused(tmp_path: Path, publisher: Publisher):
    sample = Sample.small()
    web, api, *rest = sample.lock.artifacts
    clash = [
        web.model_copy(update={"ref": "registry.example.org/a:1"}),
        api.model_copy(update={"ref": "Registry.example.org/a:1"}),
    ]
    path = tmp_path / "b.tar"
    Sample(sample.lock.model_copy(update={"artifacts": [*clash, *rest]}), sample.sources).publish(path, publisher)
    found = verify(path, publisher.begin(), now=NOW)
    with pytest.raises(MediaError) as caught:
        BundleContent(found.archive)
    assert caught.value.reference == "names-collide"
