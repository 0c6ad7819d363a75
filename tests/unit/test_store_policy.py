"""What a store's policy allows and keeps: read-only, immutable tags, deletes, sparse content, quotas, retention."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import SiteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_MANIFEST
from registry.store.faults import (
    BlobMissingError,
    DeletesForbiddenError,
    ImmutableTagError,
    PolicyError,
    QuotaExceededError,
    ReadOnlyError,
    TagExistsError,
)
from registry.store.policy import Policy
from registry.store.retention import retain
from registry.store.store import Store
from tests.oci_samples import descriptor, image
from tests.store_samples import ONE, TWO, allow, push, shown


def test_the_first_rule_that_names_a_repository_counts(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("rules: [{repositories: [a/*], quota_bytes: 1}, {repositories: ['*'], quota_bytes: 2}]")
    policy = Policy.read(path)
    assert [policy.for_repository(name).quota_bytes for name in ("a/b/c", "a", "b")] == [1, 2, 2]


@pytest.mark.parametrize(
    "text",
    [
        "rules: [{repositories: []}]",
        "rules: [{repositories: [a], quota: 1}]",
        "read_only: maybe",
        "- a",
        "a: [",
        "rules: [{repositories: [a], sparse: some}]",
        "rules: [{repositories: [a], keep: [{tags: '*', previous: -1}]}]",
    ],
)
def test_a_policy_that_is_none_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(SiteError) as caught:
        Policy.read(path)
    assert caught.value.where == str(path)


def test_a_read_only_store_takes_nothing_and_gives_everything(store: Store) -> None:
    digest = push(store, ONE, "1")
    session = store.uploads.begin("a", "me")
    writer = store.uploads.write("a", "me", session.id)
    writer.write([b"x"])
    (store.folder / "policy.yaml").write_text("read_only: true")  # in the middle of an upload
    with pytest.raises(ReadOnlyError):
        writer.commit(Digest.of(b"x"))
    writer.close()
    for act in (
        lambda: push(store, TWO),
        lambda: store.put_manifest("a", ONE.manifest, OCI_MANIFEST, ["2"]),
        lambda: store.link_blob("b", Digest.of(ONE.layer)),
        lambda: store.delete_manifest("a", digest),
        lambda: store.delete_tag("a", "1"),
        lambda: store.delete_blob("a", Digest.of(ONE.layer)),
        lambda: store.uploads.begin("a", "me"),
        lambda: store.uploads.write("a", "me", session.id),
    ):
        with pytest.raises(ReadOnlyError):
            act()
    assert shown(store) == {"a": {"1": str(digest)}}
    (store.folder / "policy.yaml").unlink()
    assert store.uploads.find("a", "me", session.id)
    assert push(store, TWO)


def test_an_immutable_tag_is_set_once_and_all_below_it_stays(store: Store) -> None:
    child = push(store, ONE)
    listed = [descriptor(ONE.manifest, OCI_MANIFEST).as_json()]
    data = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})
    index = store.put_manifest("a", data, OCI_INDEX, ["v1"])
    other = push(store, TWO, "latest")
    allow(store, "immutable_tags: ['v*']")
    for act in (
        lambda: store.put_manifest("a", TWO.manifest, OCI_MANIFEST, ["v1"]),
        lambda: store.put_manifest("a", TWO.manifest, OCI_MANIFEST, ["new", "v1"], digest=other),
        lambda: store.delete_tag("a", "v1"),
        lambda: store.delete_manifest("a", index),
        lambda: store.delete_manifest("a", child),
        lambda: store.delete_blob("a", Digest.of(ONE.layer)),
    ):
        with pytest.raises(ImmutableTagError):
            act()
    assert store.put_manifest("a", data, OCI_INDEX, ["v1"]) == index  # the same again is no change
    assert store.tags("a") == ["latest", "v1"]
    assert store.delete_manifest("a", other)
    assert store.has_blob("a", Digest.of(ONE.layer))


def test_who_may_only_make_new_tags_moves_none(store: Store) -> None:
    push(store, ONE, "latest")
    push(store, TWO)
    with pytest.raises(TagExistsError):
        store.put_manifest("a", TWO.manifest, OCI_MANIFEST, ["new", "latest"], only_new_tags=True)
    assert store.tags("a") == ["latest"]
    store.put_manifest("a", TWO.manifest, OCI_MANIFEST, ["new"], only_new_tags=True)


def test_where_deletes_are_forbidden_nothing_goes_by_any_way(store: Store) -> None:
    digest = push(store, ONE, "v1")
    push(store, TWO, "v2")
    allow(store, "deletes: false, keep: [{tags: '*', previous: 0}]")
    for act in (
        lambda: store.delete_tag("a", "v1"),
        lambda: store.delete_manifest("a", digest),
        lambda: store.delete_blob("a", Digest.of(ONE.layer)),
    ):
        with pytest.raises(DeletesForbiddenError):
            act()
    assert retain(store) == []
    assert store.tags("a") == ["v1", "v2"]


@pytest.mark.parametrize(
    ("sparse", "lacks_amd64", "lacks_arm64", "lacks_blobs"),
    [
        ("all", True, True, True),
        ("indexes", True, True, False),
        ("none", False, False, False),
        ("[linux/amd64]", False, True, False),
    ],
)
def test_what_may_be_absent_the_policy_says(
    store: Store, sparse: str, lacks_amd64: bool, lacks_arm64: bool, lacks_blobs: bool
) -> None:
    allow(store, f"sparse: {sparse}")

    def is_taken(data: bytes, media_type: str) -> bool:
        try:
            store.put_manifest("a", data, media_type, [])
        except BlobMissingError:
            return False
        return True

    def lacking(architecture: str) -> bytes:
        child = descriptor(architecture.encode(), OCI_MANIFEST).as_json()
        child["platform"] = {"os": "linux", "architecture": architecture, "variant": "v8"}
        return strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child]})

    assert is_taken(lacking("amd64"), OCI_INDEX) == lacks_amd64
    assert is_taken(lacking("arm64"), OCI_INDEX) == lacks_arm64
    assert is_taken(ONE.manifest, OCI_MANIFEST) == lacks_blobs


# Quotas


def test_uploads_together_cannot_pass_a_quota(store: Store) -> None:
    allow(store, "quota_bytes: 1000")
    first, second = (store.uploads.begin("a", "me") for _ in range(2))
    one = store.uploads.write("a", "me", first.id)
    one.write([b"x" * 900])
    with pytest.raises(QuotaExceededError):
        store.uploads.begin("a", "me", expected=200)
    with store.uploads.write("a", "me", second.id) as two, pytest.raises(QuotaExceededError):
        two.write([b"y" * 200])
    one.commit(Digest.of(b"x" * 900))
    with store.uploads.write("a", "me", second.id) as two:
        assert two.start == 0
        two.write([b"y" * 100])
        two.commit(Digest.of(b"y" * 100))
    for act in (
        lambda: store.put_blob("a", Digest.of(b"z"), [b"z"]),
        lambda: store.uploads.begin("a", "me"),
        lambda: push(store, ONE),
    ):
        with pytest.raises(QuotaExceededError):
            act()
    store.put_blob("b", Digest.of(b"z"), [b"z"])  # a quota is for each repository by itself
    with pytest.raises(QuotaExceededError):
        store.link_blob("a", Digest.of(b"z"))
    assert store.delete_blob("a", Digest.of(b"y" * 100))
    assert store.link_blob("a", Digest.of(b"z"))


def test_a_cancelled_upload_gives_its_quota_back(store: Store) -> None:
    allow(store, "quota_bytes: 1000")
    session = store.uploads.begin("a", "me", expected=1000)
    with pytest.raises(PolicyError):
        store.uploads.begin("a", "me")
    store.uploads.cancel("a", "me", session.id)
    store.put_blob("a", Digest.of(b"x" * 1000), [b"x" * 1000])


# Retention


def test_the_current_and_some_previous_releases_are_kept(store: Store) -> None:
    samples = [image(f"release {number}".encode()) for number in range(5)]
    for number, sample in enumerate(samples):
        push(store, sample, f"v{number}", "latest")
    push(store, samples[0], "v0")  # the same again makes it no newer
    allow(store, "keep: [{tags: 'v*', previous: 1}], immutable_tags: ['v1']")
    assert [one.tag for one in retain(store, dry_run=True)] == ["v2", "v0"]
    assert len(store.tags("a")) == 6
    assert [one.tag for one in retain(store)] == ["v2", "v0"]
    assert store.tags("a") == ["latest", "v1", "v3", "v4"]
    assert retain(store) == []
