"""What `registry status` says of a store's waste, uploads, quotas, policy and upkeep is what then happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installer.cli.main import main
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.progress import Silent
from registry.store.condition import Garbage, Uploads, condition
from registry.store.gc import GRACE_SECONDS, LEASE_SECONDS, collect
from registry.store.runs import COLLECTION, last
from registry.store.scrub import scrub
from registry.store.store import Store
from registry.store.uploads import IDLE_SECONDS
from tests.oci_samples import Image, image

HOUR = 3600.0
KEPT, GARBAGE = image(b"kept"), b"nobody names this"


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with Store.open(tmp_path / "store", clock) as opened:
        yield opened


def push(store: Store, sample: Image, *tags: str, repository: str = "team/app") -> None:
    for digest, data in sample.blobs.items():
        store.put_blob(repository, digest, [data])
    store.put_manifest(repository, sample.manifest, OCI_MANIFEST, tags)


def begin(store: Store, data: bytes) -> None:
    session = store.uploads.begin("team/app", "ann")
    writer = store.uploads.write("team/app", "ann", session.id)
    writer.write([data])
    writer.save()


def size_of(sample: Image) -> int:
    return sum(map(len, sample.blobs.values())) + len(sample.manifest)


def told(capsys: pytest.CaptureFixture[str], store: Path, *more: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["registry", "status", "--store", str(store), *more])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_garbage_is_told_at_each_of_its_stations_and_freed_as_it_was_told(store: Store, clock: Clock) -> None:
    push(store, KEPT, "1")
    store.put_blob("team/app", Digest.of(GARBAGE), [GARBAGE])
    size = len(GARBAGE)
    assert condition(store).garbage == Garbage(0, 0, 0)
    clock.now += LEASE_SECONDS + 1
    assert condition(store).garbage == Garbage(markable=size, waiting=0, freeable=0)
    collect(store)
    assert condition(store).garbage == Garbage(markable=0, waiting=size, freeable=0)
    clock.now += GRACE_SECONDS + 1
    assert condition(store).garbage == Garbage(markable=0, waiting=0, freeable=size)
    assert collect(store, dry_run=True).freed == size
    assert collect(store).freed == size
    assert condition(store).garbage == Garbage(0, 0, 0)


def test_what_another_repository_shows_is_no_garbage(store: Store, clock: Clock) -> None:
    push(store, KEPT, "1", repository="other")
    for digest in KEPT.blobs:
        store.link_blob("team/app", digest, "other")
    clock.now += LEASE_SECONDS + 1
    collect(store)
    clock.now += GRACE_SECONDS + 1
    assert condition(store).garbage == Garbage(0, 0, 0)


def test_an_untagged_image_is_told_with_all_that_it_alone_names(store: Store, clock: Clock) -> None:
    push(store, KEPT)
    clock.now += 14 * 24 * HOUR + 1
    assert condition(store).garbage.markable == size_of(KEPT)


def test_uploads_are_told_and_the_expired_among_them(store: Store, clock: Clock) -> None:
    begin(store, b"old")
    clock.now += IDLE_SECONDS + 1
    begin(store, b"recent")
    assert condition(store).uploads == Uploads(open=2, bytes=9, expired=1, expired_bytes=3)


def test_the_last_collection_and_scrub_are_remembered_and_looking_is_none(store: Store, clock: Clock) -> None:
    push(store, KEPT, "1")
    seen = condition(store)
    assert (seen.collected, seen.scrubbed) == (None, None)
    collect(store, dry_run=True)
    scrub(store, [], Silent(), repair=False)
    assert condition(store).collected == condition(store).scrubbed is None
    collect(store)
    clock.now += HOUR
    scrub(store, [], Silent())
    clock.now += HOUR
    seen = condition(store)
    assert seen.collected
    assert seen.scrubbed
    assert (clock.now - seen.collected.ended, clock.now - seen.scrubbed.ended) == (2 * HOUR, HOUR)
    assert seen.scrubbed.result == {"files": 3, "bytes": size_of(KEPT), "damaged": 0, "lost": 0}
    store.close()
    with Store.open(store.folder, clock) as again:
        assert last(again, COLLECTION) == seen.collected


def test_status_tells_all_of_it_to_people_and_programs(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    push(store, KEPT, "1")
    push(store, image(b"free"), "1", repository="free/app")
    (tmp_path / "store/policy.yaml").write_text(
        "rules:\n"
        f"  - {{repositories: [team/*], quota_bytes: {2 * size_of(KEPT)}, immutable_tags: ['v*'], deletes: false,\n"
        "     keep: [{tags: 'v*', previous: 2}], untagged_days: null, sparse: [linux/amd64]}\n"
        "  - {repositories: [a, b]}\n"
    )
    before = json.loads(told(capsys, tmp_path / "store", "--json"))
    assert (before["collected"], before["scrubbed"], before["uploads"]["open"]) == (None, None, 0)
    assert before["garbage"] == {"markable": 0, "waiting": 0, "freeable": 0}
    assert before["policy"]["rules"][0]["quota_bytes"] == 2 * size_of(KEPT)
    rows: dict[str, Any] = {one["name"]: one for one in before["repositories"]}
    assert (rows["team/app"]["bytes"], rows["team/app"]["quota"]) == (size_of(KEPT), 2 * size_of(KEPT))
    assert rows["free/app"]["quota"] is None
    text = told(capsys, tmp_path / "store")
    rule = "team/*: immutable v*; no deletes; keep v* and 2 before; quota"
    assert rule in text
    for part in ("sparse linux/amd64; untagged for ever", "a, b: the defaults", "(50 %)", "never, as far as is known"):
        assert part in text
    with pytest.raises(SystemExit):
        main(["registry", "scrub", "--store", str(tmp_path / "store")])
    with pytest.raises(SystemExit):
        main(["registry", "gc", "--store", str(tmp_path / "store")])
    after = json.loads(told(capsys, tmp_path / "store", "--json"))
    assert after["scrubbed"]["lost"] == 0
    assert 0 <= after["collected"]["ageSeconds"] < 60
    assert "s ago, 0 B freed" in told(capsys, tmp_path / "store")
