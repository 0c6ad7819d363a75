"""What keeps a store whole over years: policy, quotas, retention, scrub, backup, and an index made anew."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.errors import MediaError, SiteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_MANIFEST
from registry.progress import Silent
from registry.store.backup import backup, restore
from registry.store.faults import (
    BlobMissingError,
    DeletesForbiddenError,
    ImmutableTagError,
    PolicyError,
    QuotaExceededError,
    ReadOnlyError,
    TagExistsError,
)
from registry.store.gc import collect
from registry.store.ledger import Ledger
from registry.store.policy import Policy
from registry.store.rebuild import rebuild
from registry.store.retention import retain
from registry.store.scrub import scrub
from registry.store.store import Store
from tests.oci_samples import Image, descriptor, image

ONE, TWO = image(b"one"), image(b"two")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def push(store: Store, sample: Image, *tags: str, repository: str = "a") -> Digest:
    for digest, data in sample.blobs.items():
        store.put_blob(repository, digest, [data])
    return store.put_manifest(repository, sample.manifest, OCI_MANIFEST, tags)


def allow(store: Store, rule: str) -> None:
    (store.folder / "policy.yaml").write_text(f"rules: [{{repositories: ['*'], {rule}}}]")


def shown(store: Store) -> dict[str, dict[str, str]]:
    """Every repository's tags with what they name, as far as it can be read whole."""
    return {
        name: {tag: str(found.digest) for tag in store.tags(name) if (found := store.resolve(name, tag))}
        for name in store.repositories()
    }


# Policy


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


# Scrub


def damage(store: Store, digest: Digest) -> None:
    path = store.files.path(digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


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


# Backup


def test_a_backup_of_a_running_store_is_restored_whole(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1", "latest")
    allow(store, "immutable_tags: ['1']")
    session = store.uploads.begin("a", "me")
    with store.uploads.write("a", "me", session.id) as writer:
        writer.write([b"running"])
        assert backup(store, tmp_path / "backup", Silent()).copied == 3
    push(store, TWO, "2", repository="b")
    done = backup(store, tmp_path / "backup", Silent())
    assert (done.contents, done.copied) == (6, 3)
    assert restore(tmp_path / "backup", tmp_path / "restored", Silent()).copied == 6
    with Store.open(tmp_path / "restored") as restored:
        assert shown(restored) == shown(store)
        assert scrub(restored, [], Silent()).damages == []
        assert restored.policy == store.policy
        assert {name: one.tags for name, one in restored.ledger.read().items()} == {
            name: one.tags for name, one in store.ledger.read().items()
        }


def test_a_backup_forgets_what_the_store_forgot(store: Store, tmp_path: Path) -> None:
    digest = push(store, ONE, "1")
    backup(store, tmp_path / "backup", Silent())
    store.delete_manifest("a", digest)
    collect(store, lease=-1, grace=-1)
    done = backup(store, tmp_path / "backup", Silent())
    assert (done.contents, done.removed) == (0, 3)


def test_a_backup_that_is_none_is_refused(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1")
    folder = tmp_path / "backup"
    with pytest.raises(MediaError):
        restore(folder, tmp_path / "restored", Silent())
    backup(store, folder, Silent())
    with pytest.raises(SiteError):
        restore(folder, store.folder, Silent())
    with (folder / "index.sqlite").open("ab") as file:
        file.write(b"x")
    with pytest.raises(MediaError) as caught:
        restore(folder, tmp_path / "restored", Silent())
    assert caught.value.reference == "backup-damaged"
    with pytest.raises(SiteError):
        backup(store, store.folder / "inside", Silent())


def test_damage_in_a_store_is_told_by_its_backup_and_not_copied(store: Store, tmp_path: Path) -> None:
    push(store, ONE, "1")
    damage(store, Digest.of(ONE.layer))
    assert backup(store, tmp_path / "backup", Silent()).damaged == (str(Digest.of(ONE.layer)),)
    assert not (tmp_path / "backup/blobs/sha256" / Digest.of(ONE.layer).hex).exists()


# The index


def test_a_lost_index_is_never_replaced_by_an_empty_one(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        push(store, ONE, "1")
    (tmp_path / "index.sqlite").unlink()
    with pytest.raises(SiteError) as caught:
        Store.open(tmp_path)
    assert caught.value.reference == "store-index-lost"
    assert "rebuild" in caught.value.hint


@pytest.mark.parametrize("how", ["lost", "damaged", "whole"])
def test_an_index_is_made_anew_from_the_ledger_and_the_files(tmp_path: Path, how: str) -> None:
    with Store.open(tmp_path) as store:
        push(store, ONE, "1", "latest")
        push(store, TWO, "2", "latest")
        gone = push(store, image(b"gone"), "gone", "too", repository="b/c")
        push(store, TWO, "stays", "dropped", repository="b/c")
        store.delete_manifest("b/c", gone)
        store.delete_tag("b/c", "dropped")
        before = shown(store)
        if how == "damaged":
            collect(store)  # which writes the ledger anew
        with pytest.raises(SiteError) as caught:
            rebuild(tmp_path, Silent())
        assert caught.value.reference == "store-in-use"
    if how == "lost":
        (tmp_path / "index.sqlite").unlink()
    elif how == "damaged":
        (tmp_path / "index.sqlite").write_bytes(b"no database" * 100)
    with (tmp_path / "index.ledger").open("ab") as file:
        file.write(b'\n{"put":"cut sho')
    done = rebuild(tmp_path, Silent())
    assert (done.repositories, done.manifests, done.tags, done.lost) == (2, 3, 4, ())
    with Store.open(tmp_path) as store:
        assert shown(store) == before
        for sample, name in ((ONE, "a"), (TWO, "a"), (TWO, "b/c")):
            assert all(store.has_blob(name, digest) for digest in sample.blobs)
        allow(store, "keep: [{tags: '*', previous: 0}]")
        assert [one.tag for one in retain(store)] == ["1"]  # the order in which tags were set is known still


def test_a_rebuild_tells_what_is_lost(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        digest = push(store, ONE, "1")
        push(store, TWO, "2")
        damage(store, digest)
    assert rebuild(tmp_path, Silent()).lost == (f"a@{digest}",)
    with Store.open(tmp_path) as store:
        assert store.tags("a") == ["2"]


def test_a_line_that_was_cut_short_spoils_no_other(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.put("a", Digest.of(b"1"), OCI_MANIFEST, ["1"])
    whole = ledger.path.read_bytes()
    for length in range(len(whole)):
        ledger.path.write_bytes(whole[:length])
        ledger.put("b", Digest.of(b"2"), OCI_MANIFEST, ["2"])
        assert ledger.read()["b"].tags == {"2": Digest.of(b"2")}


def test_a_store_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        push(store, ONE, "1")
        used = sum(map(len, (ONE.config, ONE.layer, ONE.manifest)))
    shutil.copy(tmp_path / "index.sqlite", tmp_path / "now")
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in (
            "DROP INDEX manifests_by_digest",
            "DROP INDEX uploads_by_repository",
            "ALTER TABLE repositories DROP COLUMN used",
            "ALTER TABLE repositories DROP COLUMN generation",
            "ALTER TABLE holdings DROP COLUMN dead",
            "ALTER TABLE manifests DROP COLUMN dead",
            "ALTER TABLE tags DROP COLUMN sequence",
            "ALTER TABLE uploads DROP COLUMN reserved",
            "ALTER TABLE uploads DROP COLUMN seen",
            "UPDATE facts SET value = '1'",
        ):
            connection.execute(statement)
    connection.close()
    (tmp_path / "index.ledger").unlink()
    with Store.open(tmp_path) as store:
        push(store, TWO, "1")
        collect(store)
        assert list(store.ledger.read()["a"].tags) == ["1"]
    with sqlite3.connect(tmp_path / "index.sqlite") as connection:
        now = connection.execute("SELECT used FROM repositories").fetchone()[0]
    assert now == used + sum(map(len, (TWO.config, TWO.layer, TWO.manifest)))
