"""Every state in which a power cut can leave a store that is being mended."""

from __future__ import annotations

from pathlib import Path

from registry.oci.digest import Digest
from registry.progress import Silent
from registry.store.scrub import scrub
from registry.store.store import Store
from tests.crash.powercut import needless, unbroken
from tests.crash.tape import recorded
from tests.store_samples import ONE, damage, push

BYTES = ("files.publishing: os.fdatasync", "durable.publish: os.fsync")
"""Content is synced before its lock is taken, and again, for almost nothing, before its name is."""


def test_a_scrub_that_is_cut_off_leaves_content_damaged_as_it_was_or_whole_or_aside(tmp_path: Path) -> None:
    config, layer = Digest.of(ONE.config), Digest.of(ONE.layer)
    first = left_out(tmp_path / "first", mended=config, lost=layer)
    second = left_out(tmp_path / "second", mended=layer, lost=config)
    assert not first & second, "what came last in one of both is needed there"


def left_out(folder: Path, mended: Digest, lost: Digest) -> set[str]:
    """Mend one content and put another aside; return the syncs that were not needed for it."""
    disk, whole = folder / "disk", ONE.blobs[mended]
    with Store.open(disk) as store, Store.open(folder / "mirror") as mirror:
        digest = push(store, ONE, "1")
        push(mirror, ONE, "1")
        damage(mirror, lost)
        for one in (mended, lost):
            damage(store, one)
        torn = {one: store.files.path(one).read_bytes() for one in (mended, lost)}
        with recorded(disk, [disk / "index.sqlite", disk / "index.sqlite-wal"]) as tape:
            seen = scrub(store, [mirror], Silent())
            assert [one.digest for one in seen.lost] == [lost]
            tape.say("done")

    def judge(place: Path, said: frozenset[str]) -> None:
        now = (place / f"blobs/sha256/{mended.hex}").read_bytes()
        assert now == whole or (now == torn[mended] and not said)
        if (place / f"blobs/sha256/{lost.hex}").exists():
            assert (place / f"blobs/sha256/{lost.hex}").read_bytes() == torn[lost]
            assert not said
        else:
            assert (place / f"quarantine/sha256-{lost.hex}").read_bytes() == torn[lost]
        with Store.open(place) as store:
            assert store.manifest("a", digest)
            if said:
                assert [one.digest for one in scrub(store, [], Silent()).damages] == [lost]
            push(store, ONE)
            assert scrub(store, [], Silent()).damages == []

    looked = unbroken(tape, judge)
    assert len(looked) > 10
    return needless(tape, looked, BYTES)
