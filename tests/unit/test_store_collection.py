"""Collection: what goes, what stays, when, and what comes back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from registry.errors import SiteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_MANIFEST
from registry.store import durable, garbage, gc
from registry.store.faults import BlobMissingError, ReadOnlyError
from registry.store.garbage import Garbage
from registry.store.gc import GRACE_SECONDS, LEASE_SECONDS, LOCK, alone, collect, mark
from registry.store.policy import Rules
from registry.store.retention import retain
from registry.store.store import RESERVE, Store
from registry.store.sweep import sweep_strays
from tests.oci_samples import Image, descriptor, image
from tests.store_samples import Clock

HOUR = 3600.0
LATER = LEASE_SECONDS + 1
AFTER_GRACE = GRACE_SECONDS + 1
UNTAGGED = 14 * 86400 + 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with Store.open(tmp_path / "store", clock) as opened:
        yield opened


def blobs(store: Store, sample: Image, repository: str = "a") -> None:
    for digest, data in sample.blobs.items():
        store.put_blob(repository, digest, [data])


def push(store: Store, sample: Image, *tags: str, repository: str = "a") -> Digest:
    blobs(store, sample, repository)
    return store.put_manifest(repository, sample.manifest, OCI_MANIFEST, tags)


def referrer(store: Store, subject: bytes, content: bytes) -> Digest:
    store.put_blob("a", Digest.of(content), [content])
    body = strictjson.loads(image(content).manifest)
    body |= {"config": descriptor(content, "text/plain").as_json(), "layers": []}
    body["subject"] = descriptor(subject, OCI_MANIFEST).as_json()
    return store.put_manifest("a", strictjson.canonical(body), OCI_MANIFEST, [])


def index(store: Store, *children: bytes, tags: tuple[str, ...] = ()) -> Digest:
    listed = [descriptor(child, OCI_MANIFEST).as_json() for child in children]
    data = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed})
    return store.put_manifest("a", data, OCI_INDEX, tags)


def disk(store: Store) -> set[str]:
    return {path.name for path in (store.folder / "blobs/sha256").iterdir()}


def everything(store: Store, clock: Clock) -> None:
    """Let all the time pass that garbage has."""
    clock.pass_(UNTAGGED)
    collect(store)
    clock.pass_(AFTER_GRACE + LATER)
    collect(store)


def test_an_upload_without_manifest_is_freed_after_its_lease_and_grace(store: Store, clock: Clock) -> None:
    sample = image(b"orphan")
    blobs(store, sample)
    assert collect(store).marked_blobs == 0
    clock.pass_(LATER)
    done = collect(store)
    assert (done.marked_blobs, done.freed) == (2, 0)
    assert not any(store.has_blob("a", digest) for digest in sample.blobs)
    assert len(disk(store)) == 2
    clock.pass_(AFTER_GRACE)
    done = collect(store)
    assert done.freed == sum(map(len, sample.blobs.values()))
    assert disk(store) == set()
    assert store.repositories() == []


def test_a_look_at_a_blob_renews_its_lease(store: Store, clock: Clock) -> None:
    sample = image(b"looked at")
    blobs(store, sample)
    first, second = sample.blobs
    clock.pass_(LATER - 1000)
    assert store.has_blob("a", first)
    clock.pass_(2000)
    assert collect(store).marked_blobs == 1
    assert store.has_blob("a", first)
    assert not store.has_blob("a", second)


def test_a_push_that_names_a_dead_blob_brings_it_back(store: Store, clock: Clock) -> None:
    sample = image(b"back")
    blobs(store, sample)
    clock.pass_(LATER)
    assert collect(store).marked_blobs == 2
    store.put_manifest("a", sample.manifest, OCI_MANIFEST, ["1"])  # the client was told once that they are there
    everything(store, clock)
    assert all(store.has_blob("a", digest) for digest in sample.blobs)


def test_after_the_grace_a_push_that_skipped_its_uploads_is_refused(store: Store, clock: Clock) -> None:
    sample = image(b"too late")
    blobs(store, sample)
    clock.pass_(LATER)
    collect(store)
    clock.pass_(AFTER_GRACE)
    collect(store)
    with pytest.raises(BlobMissingError):
        store.put_manifest("a", sample.manifest, OCI_MANIFEST, ["1"])


def test_what_a_tag_reaches_stays_by_every_way(store: Store, clock: Clock) -> None:
    child, other = image(b"child"), image(b"other")
    names = {push(store, child), push(store, other)}
    names |= {
        index(store, child.manifest, other.manifest, tags=("all",)),
        referrer(store, child.manifest, b"signature"),
    }
    before = disk(store)
    everything(store, clock)
    assert disk(store) == before
    assert all(store.manifest("a", name) for name in names)


def test_an_absent_child_is_no_hindrance(store: Store, clock: Clock) -> None:
    there, absent = image(b"there"), image(b"absent")
    push(store, there)
    index(store, there.manifest, absent.manifest, tags=("sparse",))
    everything(store, clock)
    assert store.manifest("a", Digest.of(there.manifest))
    assert store.is_absent("a", Digest.of(absent.manifest))


def test_what_no_tag_reaches_is_freed_with_all_below_it(store: Store, clock: Clock) -> None:
    child = image(b"child")
    push(store, child)
    index(store, child.manifest, tags=("moving",))
    referrer(store, child.manifest, b"signature")
    kept = image(b"kept")
    push(store, kept, "moving")
    everything(store, clock)
    assert disk(store) == {Digest.of(data).hex for data in (kept.config, kept.layer, kept.manifest)}
    assert store.tags("a") == ["moving"]


def test_an_untagged_manifest_that_is_pulled_stays(store: Store, clock: Clock) -> None:
    pinned = push(store, image(b"pinned"))
    for _ in range(4):
        clock.pass_(UNTAGGED - HOUR)
        assert store.manifest("a", pinned)
        collect(store)
    assert store.manifest("a", pinned)


def test_untagged_manifests_stay_for_ever_where_the_policy_says_so(store: Store, clock: Clock) -> None:
    (store.folder / "policy.yaml").write_text("rules: [{repositories: ['*'], untagged_days: null}]")
    pinned = push(store, image(b"pinned"))
    everything(store, clock)
    assert store.manifest("a", pinned)


def test_a_dead_manifest_comes_back_with_all_below_it_and_all_that_refers_to_it(store: Store, clock: Clock) -> None:
    child = image(b"child")
    push(store, child)
    signature = referrer(store, child.manifest, b"signature")
    clock.pass_(UNTAGGED)
    assert collect(store).marked_manifests == 2
    assert store.manifest("a", signature) is None
    index(store, child.manifest, tags=("again",))
    clock.pass_(AFTER_GRACE)
    collect(store)
    assert store.manifest("a", signature)
    assert [one.digest for one in store.referrers("a", Digest.of(child.manifest))] == [signature]
    assert all(store.has_blob("a", digest) for digest in child.blobs)


def test_only_repositories_that_may_have_garbage_are_looked_into(store: Store) -> None:
    push(store, image(b"tagged"), "1", repository="all/tagged")
    push(store, image(b"untagged"), repository="un/tagged")
    blobs(store, image(b"orphan"), "orp/han")
    with store.database.reading() as connection:
        assert garbage.suspects(connection) == ["orp/han", "un/tagged"]


def test_a_blob_of_one_repository_dies_there_alone(store: Store, clock: Clock) -> None:
    sample = image(b"shared")
    push(store, sample, "1", repository="keeps")
    blobs(store, sample, "a")
    everything(store, clock)
    assert store.repositories() == ["keeps"]
    assert all(store.has_blob("keeps", digest) for digest in sample.blobs)


def test_what_was_deleted_is_freed(store: Store, clock: Clock) -> None:
    digest = push(store, image(b"deleted"), "1")
    store.delete_manifest("a", digest)
    everything(store, clock)
    assert disk(store) == set()


def test_a_dry_run_tells_what_would_go_and_takes_nothing(store: Store, clock: Clock) -> None:
    blobs(store, image(b"orphan"))
    clock.pass_(LATER)
    told = collect(store, dry_run=True)
    assert told.marked_blobs == 2
    assert all(store.has_blob("a", digest) for digest in image(b"orphan").blobs)
    clock.pass_(LATER)
    assert collect(store).marked_blobs == told.marked_blobs
    clock.pass_(AFTER_GRACE)
    assert collect(store, dry_run=True).purged == 2
    assert len(disk(store)) == 2


def test_files_that_no_row_knows_are_removed_after_a_lease(store: Store, clock: Clock) -> None:
    with store.files.storing(Digest.of(b"stray"), [b"stray"]):
        pass  # killed here
    assert collect(store).strays == 0
    clock.pass_(LATER)
    assert collect(store).strays == 1
    assert disk(store) == set()


def test_a_file_is_not_removed_between_its_name_and_its_row(store: Store) -> None:
    digest = Digest.of(b"just now")
    with ThreadPoolExecutor(1) as pool:
        with store.files.storing(digest, [b"just now"]) as size:
            os.utime(store.files.path(digest), (0, 0))  # not even with its lease over
            swept = pool.submit(sweep_strays, store, LEASE_SECONDS)
            with pytest.raises(TimeoutError):
                swept.result(timeout=0.3)
            store._show("a", digest, size, Rules())
        assert swept.result(timeout=10).strays == 0
    assert store.has_blob("a", digest)


def test_two_collections_do_not_run_at_once(store: Store) -> None:
    with alone(store.folder / LOCK), pytest.raises(SiteError) as caught:
        collect(store)
    assert caught.value.reference == "store-busy"


def test_nothing_is_collected_from_a_read_only_store(store: Store) -> None:
    (store.folder / "policy.yaml").write_text("read_only: true")
    with pytest.raises(ReadOnlyError):
        collect(store)
    with pytest.raises(ReadOnlyError):
        retain(store)
    assert collect(store, dry_run=True).freed == 0


def test_the_mark_sees_what_happened_while_it_looked(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = image(b"raced")
    push(store, sample)
    clock.pass_(UNTAGGED)

    def found_then_tagged(*arguments: Any) -> Garbage:  # noqa: ANN401 - as those of `find`
        monkeypatch.undo()
        found = garbage.find(*arguments)
        assert len(found.manifests) == 1
        store.put_manifest("a", sample.manifest, OCI_MANIFEST, ["1"])
        return found

    monkeypatch.setattr(gc, "find", found_then_tagged)
    assert mark(store, "a").is_empty
    assert store.resolve("a", "1")
    assert all(store.has_blob("a", digest) for digest in sample.blobs)


def test_a_clock_that_is_set_back_neither_frees_nor_keeps_for_ever(store: Store, clock: Clock) -> None:
    blobs(store, image(b"orphan"))
    clock.pass_(LATER)
    collect(store)
    clock.pass_(-10 * 86400)
    assert collect(store).purged == 0
    clock.pass_(AFTER_GRACE)
    assert collect(store).purged == 2
    assert (store.folder / RESERVE).exists()


def test_what_a_clock_of_the_future_stored_is_freed_once_its_time_is_over_by_the_right_one(
    store: Store, clock: Clock
) -> None:
    clock.pass_(50 * 365 * 86400)
    blobs(store, image(b"orphan"))
    untagged = push(store, image(b"untagged"))
    clock.pass_(-50 * 365 * 86400)
    assert collect(store).marked_blobs == 0  # its lease begins again
    assert store.manifest("a", untagged)
    for _ in range(2):  # what the manifest kept begins its lease when that is gone
        everything(store, clock)
    assert disk(store) == set()


def test_a_dry_run_leaves_even_what_the_dead_left(store: Store) -> None:
    left = store.folder / "incoming" / f"{durable.TEMPORARY}0123456789abcdef"
    left.write_bytes(b"x")
    os.utime(left, (0, 0))
    collect(store, dry_run=True)
    assert left.exists()
    collect(store)
    assert not left.exists()


def test_a_manifest_that_names_a_blob_whose_file_is_lost_is_refused(store: Store) -> None:
    sample = image(b"lost")
    blobs(store, sample)
    store.files.path(Digest.of(sample.layer)).unlink()
    with pytest.raises(BlobMissingError):
        store.put_manifest("a", sample.manifest, OCI_MANIFEST, ["1"])
    push(store, sample, "1")
