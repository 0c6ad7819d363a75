"""Scrub: what is damaged is found, mended from where it is whole, or put aside and told."""

from __future__ import annotations

from pathlib import Path

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.progress import Silent
from registry.store.scrub import scrub
from registry.store.store import Store
from tests.store_samples import ONE, damage, push


def test_what_is_damaged_is_mended_from_where_it_is_whole(store: Store, tmp_path: Path) -> None:
    digest = push(store, ONE, "1")
    with Store.open(tmp_path / "mirror") as mirror:
        push(mirror, ONE, "1")
        damage(store, digest)
        damage(store, Digest.of(ONE.layer))
        store.files.path(Digest.of(ONE.config)).unlink()
        seen = scrub(store, [mirror], Silent())
    assert len(seen.damages) == 3
    assert not seen.lost
    assert store.manifest("a", digest) == (ONE.manifest, OCI_MANIFEST)
    assert scrub(store, [], Silent()).damages == []


def test_what_cannot_be_mended_is_put_aside_told_and_mended_by_the_next_push(store: Store) -> None:
    push(store, ONE, "1")
    layer = Digest.of(ONE.layer)
    damage(store, layer)
    assert scrub(store, [], Silent(), repair=False).lost
    assert store.has_blob("a", layer)
    seen = scrub(store, [], Silent())
    assert [(one.digest, one.repositories) for one in seen.lost] == [(layer, ["a"])]
    assert not store.has_blob("a", layer)
    assert [path.name for path in (store.folder / "quarantine").iterdir()] == [f"sha256-{layer.hex}"]
    push(store, ONE)
    assert scrub(store, [], Silent()).damages == []


def test_a_damaged_source_mends_nothing(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1")
    with Store.open(tmp_path / "mirror") as mirror:
        push(mirror, ONE, "1")
        damage(mirror, Digest.of(ONE.layer))
        damage(store, Digest.of(ONE.layer))
        assert len(scrub(store, [mirror], Silent()).lost) == 1
