"""A delta carries what changed, is judged like its full bundle, and is of use only where its base is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bundles.archive.artifacts import carried_lock
from bundles.archive.chunks import blob_name
from bundles.archive.reader import read_head
from bundles.archive.volumes import LEAST_BYTES
from bundles.delta import of_store
from bundles.repair import repair
from bundles.verify import Verified, look, verify
from registry.errors import DryportError, MediaError, SiteError, TrustError, UsageError
from registry.mirror.copy import copy
from registry.mirror.target import StoreTarget
from registry.oci.digest import Digest
from registry.progress import Silent
from registry.store.store import Store
from tests.attacks.publisher import NOW, Publisher
from tests.delta_samples import (
    NEW_LAYERS,
    OLD_LAYERS,
    blobs_of,
    release_and_delta,
    sign_delta,
    signed_delta,
    two_releases,
    unsigned_delta,
)
from tests.sample_bundles import Sample, noise

PUBLISHER = Publisher(product="sample")
WEB = "registry.example.org/quickstart/web"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The older bundle, the newer one, and the delta from one to the other."""
    return release_and_delta(tmp_path_factory.mktemp("delta"), PUBLISHER)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def opened(path: Path) -> closing[Verified]:
    return closing(verify(path, PUBLISHER.begin(), now=NOW))


def take(path: Path, store: Store) -> int:
    with opened(path) as verified:
        return copy(verified.content(of_store(store)), StoreTarget(store), Silent()).bytes_copied


def test_it_holds_what_changed_and_all_documents(made: tuple[Path, Path, Path]) -> None:
    old, new, path = made
    with opened(path) as delta, opened(new) as full:
        delta.check_all(Silent())
        assert delta.release == full.release
        assert delta.archive.table == full.archive.table
        same = (OLD_LAYERS["base"], OLD_LAYERS["tip"], b"carried\n")
        assert set(delta.archive.left_out) == {blob_name(Digest.of(data)) for data in same}
        changed = {
            entry.digest: entry.size for entry in full.archive.table.members if entry.digest not in blobs_of(old)
        }
        kept = sum(entry.size for entry in delta.archive.entries)
        assert sum(changed.values()) <= kept <= sum(changed.values()) * 1.01
        assert carried_lock(delta.archive) == carried_lock(full.archive)


def test_with_its_base_in_the_store_it_gives_what_the_full_bundle_gives(
    made: tuple[Path, Path, Path], store: Store, tmp_path: Path
) -> None:
    old, new, path = made
    take(old, store)
    assert take(path, store) < len(NEW_LAYERS["app"]) + 50_000
    with Store.open(tmp_path / "other") as other:
        take(old, other)
        take(new, other)
        assert sorted(store.blobs()) == sorted(other.blobs())
        for name in other.repositories():
            assert sorted(store.tags(name)) == sorted(other.tags(name))
            for tag in other.tags(name):
                assert store.resolve(name, tag) == other.resolve(name, tag)


def test_without_its_base_nothing_is_taken_and_what_is_absent_is_named(
    made: tuple[Path, Path, Path], store: Store
) -> None:
    with pytest.raises(MediaError) as caught:
        take(made[2], store)
    assert caught.value.reference == "delta-base-missing"
    assert "sample 1.0.0, sequence 1" in caught.value.expected
    named = " ".join(finding.where for finding in caught.value.findings)
    assert all(Digest.of(OLD_LAYERS[name]).hex in named for name in ("base", "tip"))
    assert not store.repositories()


def test_a_part_of_its_base_is_not_enough(made: tuple[Path, Path, Path], store: Store) -> None:
    store.put_blob(WEB, Digest.of(OLD_LAYERS["base"]), [OLD_LAYERS["base"]])
    with pytest.raises(MediaError) as caught:
        take(made[2], store)
    named = " ".join(finding.where for finding in caught.value.findings)
    assert Digest.of(OLD_LAYERS["tip"]).hex in named
    assert Digest.of(OLD_LAYERS["base"]).hex not in named


def test_it_is_served_in_place_together_with_the_store(made: tuple[Path, Path, Path], store: Store) -> None:
    old, _, path = made
    take(old, store)
    with opened(path) as verified:
        source = verified.content(of_store(store))
        for data in NEW_LAYERS.values():
            blob = source.blob(WEB, Digest.of(data))
            assert blob
            with closing(blob):
                assert blob.read(0, len(data)) == data


def test_two_deltas_in_either_order_give_the_same_where_the_base_is(store: Store, tmp_path: Path) -> None:
    old, new = two_releases(tmp_path, PUBLISHER)
    third = tmp_path / "third.tar"
    Sample.of({**OLD_LAYERS, "tip": noise("another tip", 80_000)}, version="1.2.0").publish(third, PUBLISHER, 3)
    signed_delta(PUBLISHER, new, blobs_of(old), tmp_path / "2.tar")
    unsigned_delta(PUBLISHER, third, blobs_of(old), tmp_path / "3.tar")
    sign_delta(PUBLISHER, tmp_path / "3.tar", 3, "1.2.0")
    take(old, store)
    take(tmp_path / "3.tar", store)
    take(tmp_path / "2.tar", store)
    assert blobs_of(new) | blobs_of(third) <= {*store.blobs(), *_manifests(new), *_manifests(third)}


def _manifests(path: Path) -> set[Digest]:
    with opened(path) as verified:
        return {digest for one in verified.content(lambda _: None).artifacts for digest in one.manifests}


def test_a_head_is_enough_to_look_at_it(made: tuple[Path, Path, Path]) -> None:
    with closing(look(made[2], None, now=NOW)) as seen:
        assert seen.archive.delta
        assert seen.archive.delta.base.name == "sample 1.0.0, sequence 1"
        assert carried_lock(seen.archive).version == "1.1.0"


def test_every_byte_of_it_that_changes_is_refused(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    data = made[2].read_bytes()
    copied = tmp_path / "changed.tar"
    for at in (*range(0, 12_000, 997), *range(12_000, len(data), 99_991), len(data) - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        copied.write_bytes(changed)
        with pytest.raises(DryportError), opened(copied) as verified:
            verified.check_all(Silent())


def test_it_can_lie_in_volumes_and_be_mended(tmp_path: Path) -> None:
    full = tmp_path / "full.tar"
    large = {**NEW_LAYERS, "large": noise("large", 2 * LEAST_BYTES)}
    Sample.of(large, version="1.1.0").publish(full, PUBLISHER, 2)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        held = [Digest.of(NEW_LAYERS["base"])]
        unsigned_delta(PUBLISHER, full, held, tmp_path / name / "d.tar", volume_bytes=LEAST_BYTES)
        sign_delta(PUBLISHER, next((tmp_path / name).glob("d.tar.001*")), 2)
    volumes = sorted((tmp_path / "one").iterdir())
    assert len(volumes) > 1
    data = bytearray(volumes[1].read_bytes())
    data[-5000] ^= 1
    volumes[1].write_bytes(data)
    others = [next((tmp_path / "other").glob("d.tar.001*"))]
    (tmp_path / "out").mkdir()
    done = repair(volumes[0], others, PUBLISHER.begin(), tmp_path / "out", now=NOW, progress=Silent())
    assert [one.name for one in done.files] == [volumes[1].name]
    assert done.files[0].read_bytes() == (tmp_path / "other" / volumes[1].name).read_bytes()


def test_it_is_made_from_a_full_bundle_for_a_site_that_has_something_of_it(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    old, new, path = made
    with pytest.raises(UsageError) as caught:
        unsigned_delta(PUBLISHER, path, blobs_of(old), tmp_path / "d.tar")
    assert caught.value.reference == "delta-of-delta"
    with pytest.raises(UsageError) as caught:
        unsigned_delta(PUBLISHER, new, (), tmp_path / "d.tar")
    assert caught.value.reference == "delta-empty"
    with pytest.raises(SiteError) as refused:
        unsigned_delta(PUBLISHER, new, blobs_of(old), path)
    assert refused.value.reference == "bundle-exists"
    assert not list(tmp_path.iterdir())


def test_before_it_is_signed_nobody_takes_it(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    old, new, _ = made
    unsigned_delta(PUBLISHER, new, blobs_of(old), tmp_path / "d.tar")
    with read_head(tmp_path / "d.tar") as head:
        assert not head.is_signed
    with pytest.raises(TrustError, match="nobody signed"), opened(tmp_path / "d.tar"):
        pass


def test_a_build_does_not_take_a_delta_for_its_bundle(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    old, new, _ = made
    unsigned_delta(PUBLISHER, new, blobs_of(old), tmp_path / "d.tar")
    report = Sample.of(NEW_LAYERS, version="1.1.0").build(tmp_path / "d.tar")
    assert not report.unchanged
    with read_head(tmp_path / "d.tar") as head:
        assert not head.region
