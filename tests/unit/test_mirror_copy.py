"""Copies between real sources and stores: what is moved, what is not moved again, and what a fault leaves behind."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.trust.verify import TrustState, fingerprint
from bundles.verify import verify
from registry.errors import MediaError, SiteError
from registry.mirror.copy import copy
from registry.mirror.inventory import inventory
from registry.mirror.report import CopyReport
from registry.mirror.selection import Selection
from registry.mirror.target import StoreTarget
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Manifest
from registry.progress import Silent
from registry.store.store import Store
from tests.attacks.publisher import NOW, Publisher
from tests.contracts.content_source import APP, LARGE, OTHER, REPOSITORY
from tests.contracts.test_content_source import fill
from tests.oci_samples import descriptor, image
from tests.sample_bundles import Sample


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "origin") as store:
        yield fill(store)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


def moved(report: CopyReport) -> int:
    """Return how many bytes came, copied or shared: which of the two is the file system's matter."""
    return report.bytes_copied + report.bytes_shared


def blob_file(store: Store, digest: Digest) -> Path:
    (found,) = store.folder.rglob(digest.hex)
    return found


def test_everything_is_copied_once_and_the_second_run_moves_nothing(origin: Store, store: Store) -> None:
    first = copy(origin, StoreTarget(store), Silent())
    assert (first.repositories, first.tags, first.manifests_copied, first.absent) == (2, 4, 4, 1)
    assert first.blobs_copied == 4
    assert moved(first) == len(LARGE) + len(APP.layer) + len(APP.config) + 2
    assert inventory(store).missing == []
    second = copy(origin, StoreTarget(store), Silent())
    assert (second.copied, moved(second)) == (0, 0)
    assert (second.bytes_present, second.manifests_present) == (moved(first), 4)


def test_what_two_repositories_share_moves_once(origin: Store, store: Store) -> None:
    report = copy(origin, StoreTarget(store), Silent())
    assert report.blobs_linked == 1  # the empty config, seen from both
    assert store.has_blob(REPOSITORY, Digest.of(b"{}"))
    assert store.has_blob(OTHER, Digest.of(b"{}"))


def test_a_verified_bundle_is_imported_whole(tmp_path: Path, store: Store) -> None:
    publisher = Publisher()
    Sample.large().publish(tmp_path / "b.tar", publisher)
    root = publisher.roots[0]
    verified = verify(tmp_path / "b.tar", TrustState.begin(root, fingerprint(root)), now=NOW)
    report = copy(verified.content(), StoreTarget(store), Silent())
    assert report.blobs_linked == 3  # a layer and the config of both images, and the empty config of two artifacts
    assert report.absent == 1
    assert inventory(store).missing == []
    assert sorted(store.repositories()) == sorted(verified.content().repositories())
    assert copy(verified.content(), StoreTarget(store), Silent()).copied == 0
    verified.close()


def test_only_what_is_asked_for_is_copied(origin: Store, store: Store) -> None:
    copy(origin, StoreTarget(store), Silent(), selection=Selection.of(["*/team/oth*"]))
    assert store.repositories() == [OTHER]
    copy(origin, StoreTarget(store), Silent(), selection=Selection.of([REPOSITORY]))
    assert store.repositories() == [REPOSITORY, OTHER]


def test_a_repository_that_is_not_there_is_named(origin: Store, store: Store) -> None:
    with pytest.raises(MediaError) as caught:
        copy(origin, StoreTarget(store), Silent(), selection=Selection.of(["team/typo"]))
    assert [finding.where for finding in caught.value.findings] == ["team/typo"]


def test_a_tag_that_moved_at_the_source_moves_here_too(origin: Store, store: Store) -> None:
    copy(origin, StoreTarget(store), Silent())
    newer = image(b"newer")
    for digest, data in newer.blobs.items():
        origin.put_blob(REPOSITORY, digest, [data])
    origin.put_manifest(REPOSITORY, newer.manifest, OCI_MANIFEST, ["1.0"])
    report = copy(origin, StoreTarget(store), Silent())
    assert (report.tags_set, report.manifests_copied, report.blobs_copied) == (1, 1, 2)
    assert store.resolve(REPOSITORY, "1.0") == origin.resolve(REPOSITORY, "1.0")


def test_a_damaged_blob_is_named_and_spoils_only_what_needs_it(origin: Store, store: Store) -> None:
    file = blob_file(origin, Digest.of(LARGE))
    file.chmod(0o600)
    file.write_bytes(LARGE[:-1] + b"?")
    with pytest.raises(MediaError) as caught:
        copy(origin, StoreTarget(store), Silent())
    assert [(finding.reference, finding.where) for finding in caught.value.findings] == [
        ("content-differs", f"{OTHER}@{Digest.of(LARGE)}")
    ]
    assert store.tags(OTHER) == []
    assert store.tags(REPOSITORY) == ["1.0", "Latest", "multi"]
    file.write_bytes(LARGE)
    assert moved(copy(origin, StoreTarget(store), Silent())) == len(LARGE)
    assert store.tags(OTHER) == ["big"]


def test_a_missing_child_leaves_its_index_out(store: Store) -> None:
    # Not absent on purpose, but lost: this source never says why.
    class Forgetful(Store):
        def is_absent(self, repository: str, digest: Digest) -> bool:  # noqa: ARG002
            return False

    with Forgetful.open(store.folder.parent / "forgetful") as origin, pytest.raises(MediaError) as caught:
        copy(fill(origin), StoreTarget(store), Silent())
    assert [finding.reference for finding in caught.value.findings] == ["manifest-missing"]
    assert store.tags(REPOSITORY) == ["1.0", "Latest"]


def test_a_blob_that_was_cut_short_here_is_fetched_again(origin: Store, store: Store) -> None:
    copy(origin, StoreTarget(store), Silent())
    file = blob_file(store, Digest.of(LARGE))
    file.chmod(0o600)
    file.write_bytes(LARGE[:100])
    assert inventory(store).missing == [f"{OTHER}@{Digest.of(LARGE)}"]
    assert moved(copy(origin, StoreTarget(store), Silent())) == len(LARGE)
    assert inventory(store).missing == []


def test_children_come_before_their_index_and_tags_last(origin: Store, store: Store) -> None:
    child = image(b"child")
    for digest, data in child.blobs.items():
        origin.put_blob("deep", digest, [data])
    digest = origin.put_manifest("deep", child.manifest, OCI_MANIFEST, [])
    for level in range(5):
        _, kind = origin.manifest("deep", digest) or (b"", "")
        data = (origin.manifest("deep", digest) or (b"",))[0]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(data, kind).as_json()]}
        digest = origin.put_manifest("deep", strictjson.canonical(index), OCI_INDEX, ["top"] if level == 4 else [])
    report = copy(origin, StoreTarget(store), Silent(), selection=Selection.of(["deep"]))
    assert (report.manifests_copied, report.tags) == (6, 1)
    assert store.resolve("deep", "top").digest == digest  # type: ignore[union-attr]


def test_a_foreign_layer_that_the_source_lacks_is_carried_as_a_descriptor(origin: Store, store: Store) -> None:
    foreign = descriptor(b"its maker alone gives it", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    here = descriptor(b"here", OCI_LAYER)
    data = strictjson.canonical(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [foreign.as_json(), here.as_json()]}
    )
    origin.put_blob("windows", here.digest, [b"here"])
    origin.put_manifest("windows", data, OCI_MANIFEST, ["1"])
    copy(origin, StoreTarget(store), Silent(), selection=Selection.of(["windows"]))
    assert store.manifest("windows", Manifest.parse(data, OCI_MANIFEST).digest) == (data, OCI_MANIFEST)
    assert inventory(store).missing == []


def test_a_store_that_cannot_take_more_is_the_sites_matter_and_can_go_on(origin: Store, store: Store) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))  # Python ignores SIGXFSZ: writes fail instead
    try:
        with pytest.raises(SiteError) as caught:
            copy(origin, StoreTarget(store), Silent())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.reference == "store-not-writable"
    assert not store.has_blob(OTHER, Digest.of(LARGE))
    assert store.tags(OTHER) == []
    copy(origin, StoreTarget(store), Silent())
    assert inventory(store).missing == []
