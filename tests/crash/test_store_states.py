"""Every state in which a power cut can leave a store that is begun, pushed to, and taken from."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from registry.errors import SiteError
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.progress import Silent
from registry.store.ledger import Ledger
from registry.store.scrub import scrub
from registry.store.store import Store
from tests.crash.powercut import judged
from tests.crash.tape import recorded
from tests.store_samples import ONE, TWO, push

MAKING_A_FOLDER = ("durable.make_folder", "files.__init__", "store.__init__")
"""Who made a folder syncs the one above it; so does who finds one that another process may have just made."""
BYTES = ("files.publishing: os.fdatasync", "durable.publish: os.fsync")
"""Content is synced before its lock is taken, and again, for almost nothing, before its name is."""
CONFIG, LAYER, MANIFEST = (Digest.of(data) for data in (ONE.config, ONE.layer, ONE.manifest))


def index(folder: Path) -> list[Path]:
    return [folder / "index.sqlite", folder / "index.sqlite-wal"]


def look(store: Store) -> None:
    """See that nothing is half there, and that ledger and index say the same."""
    assert scrub(store, [], Silent()).damages == []
    for name in store.repositories():
        for tag in store.tags(name):
            assert store.resolve(name, tag)
    told = {name: {tag: str(digest) for tag, digest in one.tags.items()} for name, one in store.ledger.read().items()}
    tags = {
        name: {tag: str(named.digest) for tag in store.tags(name) if (named := store.resolve(name, tag))}
        for name in told
    }
    assert told == tags


def test_a_store_that_is_cut_off_while_it_is_begun_can_be_begun_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with recorded(disk, index(disk / "store")) as tape, Store.open(disk / "store") as store:
        store.put_blob("a", LAYER, [ONE.layer])
        tape.say("blob")

    def judge(place: Path, said: frozenset[str]) -> None:
        try:
            store = Store.open(place / "store")
        except SiteError:
            assert not said
            return
        with store:
            look(store)
            assert store.has_blob("a", LAYER) or not said
            push(store, ONE, "1")

    assert judged(tape, judge, MAKING_A_FOLDER, BYTES) > 30


def test_a_push_that_is_cut_off_leaves_what_was_acknowledged_and_nothing_half(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with Store.open(disk) as store:
        push(store, TWO, "1", "2")
        with recorded(disk, index(disk)) as tape:
            store.put_blob("a", CONFIG, [ONE.config])
            tape.say("config")
            store.put_blob("a", LAYER, [ONE.layer[:50], ONE.layer[50:]])
            tape.say("layer")
            store.put_manifest("a", ONE.manifest, OCI_MANIFEST, ["1"])
            tape.say("manifest")
            store.delete_tag("a", "2")
            tape.say("untagged")
            store.delete_manifest("a", Digest.of(TWO.manifest))
            tape.say("deleted")

    def judge(place: Path, said: frozenset[str]) -> None:
        told = Ledger(place).read()["a"].tags  # all that is left, if the index is lost, too
        assert told["1"] == MANIFEST or "manifest" not in said
        assert not ("untagged" in said and "2" in told)
        with Store.open(place) as store:
            look(store)
            assert store.has_blob("a", CONFIG) or "config" not in said
            assert store.has_blob("a", LAYER) or "layer" not in said
            now = store.resolve("a", "1")
            assert now
            assert now.digest == MANIFEST or "manifest" not in said
            assert not ("untagged" in said and store.resolve("a", "2"))
            assert not ("deleted" in said and store.manifest("a", Digest.of(TWO.manifest)))
            assert "manifest" in said or store.manifest("a", Digest.of(TWO.manifest))

    assert judged(tape, judge, BYTES) > 30


def test_an_upload_that_is_cut_off_goes_on_at_what_was_acknowledged(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    sizes = (40, 90)
    with Store.open(disk) as store:
        session = store.uploads.begin("a", "me")
        with recorded(disk, index(disk)) as tape:
            for start, end in zip((0, *sizes), sizes, strict=False):
                with store.uploads.write("a", "me", session.id) as writer:
                    writer.write([ONE.layer[start:end]])
                    writer.save()
                tape.say(f"{end}")
            with store.uploads.write("a", "me", session.id) as writer:
                writer.write([ONE.layer[sizes[-1] :]])
                writer.commit(LAYER)
            tape.say("blob")

    def judge(place: Path, said: frozenset[str]) -> None:
        with Store.open(place) as store:
            look(store)
            if store.has_blob("a", LAYER):
                return
            assert "blob" not in said
            if (place / f"blobs/sha256/{LAYER.hex}").exists():
                push(store, ONE)  # its session is over; a client that asks again begins anew
                return
            acknowledged = max([0, *(size for size in sizes if f"{size}" in said)])
            with closing(store.uploads.write("a", "me", session.id)) as writer:
                assert writer.start >= acknowledged
                writer.write([ONE.layer[writer.start :]])
                writer.commit(LAYER)
            look(store)

    assert judged(tape, judge, BYTES) > 20
