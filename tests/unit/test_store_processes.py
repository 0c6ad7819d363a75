"""Several processes in one store at once: nobody loses, doubles or outlives what another one did."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

import pytest

from registry.errors import SiteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_EMPTY, OCI_MANIFEST
from registry.store import gc
from registry.store.faults import BlobMissingError, QuotaExceededError
from registry.store.gc import LOCK, alone, collect
from registry.store.retention import retain
from registry.store.store import Store
from registry.store.sweep import sweep, sweep_strays
from tests.oci_samples import descriptor, image
from tests.store_samples import ONE, TWO, Clock, allow, push

PROCESSES = 3
SUBJECT = descriptor(b"subject", OCI_MANIFEST)
DATA = b"mounted" * 1000
MOUNTED = Digest.of(DATA)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as processes:
        [*processes.map(time.sleep, [0.2] * PROCESSES)]  # all of them are there
        yield processes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Store.open(tmp_path / "store").close()
    return tmp_path / "store"


# A mount while its source goes


def mount(folder: Path, rounds: int) -> tuple[int, int]:
    """Put a blob into one repository and mount it in another, again and again; return how often, how often whole."""
    mounted = whole = 0
    with Store.open(folder) as store:
        for number in range(rounds):
            store.put_blob("source", MOUNTED, [DATA])
            if store.link_blob(f"target{number}", MOUNTED, "source"):
                mounted += 1
                content = store.blob(f"target{number}", MOUNTED)
                if content:
                    with closing(content):
                        whole += content.read(0, content.size) == DATA
    return mounted, whole


def take_away(folder: Path, until: float) -> int:
    """Delete the blob from its source and remove what nobody holds, leases or not."""
    removed = 0
    with Store.open(folder) as store:
        while time.time() < until:
            store.delete_blob("source", MOUNTED)
            removed += sweep(store, -1).removed + sweep_strays(store, -1).removed
    return removed


def test_a_mount_while_its_source_is_deleted_and_swept_is_whole_or_is_none(
    pool: ProcessPoolExecutor, folder: Path
) -> None:
    takers = [pool.submit(take_away, folder, time.time() + 3) for _ in range(2)]
    seen: list[Future[tuple[int, int]]] = [pool.submit(mount, folder, 40)]
    mounted, whole = seen[0].result(120)
    assert mounted == whole > 0
    assert all(taker.result(120) >= 0 for taker in takers)
    with Store.open(folder) as store:
        assert store.files.path(MOUNTED).read_bytes() == DATA


def test_a_mount_whose_source_is_swept_between_the_look_and_the_row_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(folder) as store, Store.open(folder) as other:
        store.put_blob("source", MOUNTED, [DATA])
        holds = store.files.holds

        def then_swept(digest: Digest, size: int) -> bool:
            seen = holds(digest, size)
            assert other.delete_blob("source", MOUNTED)
            assert sweep(other, -1).removed == 1
            return seen

        monkeypatch.setattr(store.files, "holds", then_swept)
        assert not store.link_blob("target", MOUNTED, "source")
        assert not other.has_blob("target", MOUNTED)


# Two collections


def gather(folder: Path, rounds: int) -> tuple[int, int, int]:
    """Collect again and again; return how often it was done, how often another one was at it, and what it freed."""
    done = busy = freed = 0
    with Store.open(folder) as store:
        for _ in range(rounds):
            try:
                freed += collect(store, lease=-1, grace=-1).freed
                done += 1
            except SiteError as error:
                busy += error.reference == "store-busy"
    return done, busy, freed


def test_collections_of_several_processes_keep_out_of_each_others_way(pool: ProcessPoolExecutor, folder: Path) -> None:
    with Store.open(folder) as store:
        push(store, ONE, "1")
        garbage = [b"%d" % number * 1000 for number in range(50)]
        for data in garbage:
            store.put_blob("a", Digest.of(data), [data])
        seen = [*pool.map(gather, [folder] * PROCESSES, [6] * PROCESSES)]
        assert all(done + busy == 6 for done, busy, _ in seen)
        collect(store, lease=-1, grace=-1)
        assert {path.name for path in (folder / "blobs/sha256").iterdir()} == {
            digest.hex for digest in (*ONE.blobs, Digest.of(ONE.manifest))
        }
    assert sum(freed for *_, freed in seen) <= sum(map(len, garbage))


def test_a_collection_that_was_killed_keeps_nobody_out(folder: Path) -> None:
    child = os.fork()
    if child == 0:
        with alone(folder / LOCK):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with Store.open(folder) as store:
        collect(store)


# Pushes of several processes


def put(folder: Path, data: bytes, rounds: int) -> int:
    with Store.open(folder) as store:
        for _ in range(rounds):
            store.put_blob("a", Digest.of(data), [data])
    return rounds


def test_one_digest_put_by_all_is_one_file_and_each_is_told_that_it_is_there(
    pool: ProcessPoolExecutor, folder: Path
) -> None:
    assert [*pool.map(put, [folder] * PROCESSES, [DATA] * PROCESSES, [10] * PROCESSES)] == [10] * PROCESSES
    with Store.open(folder) as store:
        assert [path.name for path in (folder / "blobs/sha256").iterdir()] == [MOUNTED.hex]
        assert store.has_blob("a", MOUNTED)
        with store.database.reading() as connection:
            assert connection.exec_driver_sql("SELECT used FROM repositories").scalar_one() == len(DATA)


def fill(folder: Path, number: int) -> int:
    """Put blobs until the quota refuses one; return how many bytes were taken."""
    taken = 0
    with Store.open(folder) as store, suppress(QuotaExceededError):
        for turn in range(100):
            data = b"%d %d " % (number, turn) * 100
            if turn % 2:
                store.put_blob("a", Digest.of(data), [data])
            else:
                session = store.uploads.begin("a", "me")
                with store.uploads.write("a", "me", session.id) as writer:
                    writer.write([data])
                    writer.commit(Digest.of(data))
            taken += len(data)
    return taken


def test_several_processes_together_do_not_pass_a_quota(pool: ProcessPoolExecutor, folder: Path) -> None:
    (folder / "policy.yaml").write_text("rules: [{repositories: ['*'], quota_bytes: 20000}]")
    taken = sum(pool.map(fill, [folder] * PROCESSES, range(PROCESSES)))
    assert 15_000 < taken <= 20_000
    with Store.open(folder) as store:
        assert store.fullness("a") == taken / 20_000


def refer(folder: Path, number: int, count: int) -> list[str]:
    with Store.open(folder) as store:
        store.put_blob("a", Digest.of(b"{}"), [b"{}"])
        return [str(store.put_manifest("a", about(f"{number} {turn}"), OCI_MANIFEST, [])) for turn in range(count)]


def about(text: str) -> bytes:
    return strictjson.canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(b"{}", OCI_EMPTY).as_json(),
            "layers": [],
            "subject": SUBJECT.as_json(),
            "annotations": {"text": text},
        }
    )


def test_referrers_that_several_processes_push_are_all_listed(pool: ProcessPoolExecutor, folder: Path) -> None:
    pushed = pool.map(refer, [folder] * PROCESSES, range(PROCESSES), [34] * PROCESSES)
    expected = sorted(digest for some in pushed for digest in some)
    with Store.open(folder) as store:
        assert [str(item.digest) for item in store.referrers("a", SUBJECT.digest)] == expected


def tag(folder: Path, number: int, count: int) -> int:
    with Store.open(folder) as store:
        for turn in range(count):
            store.put_manifest("a", ONE.manifest, OCI_MANIFEST, [f"new-{turn:03}-{number}"])
            store.delete_tag("a", f"new-{turn - 1:03}-{number}")
    return count


def page_after(store: Store, last: str) -> list[str]:
    with closing(store.tags_after("a", last)) as found:
        return list(islice(found, 7))


def test_pages_of_tags_are_sorted_and_without_doubles_while_others_push(
    pool: ProcessPoolExecutor, folder: Path
) -> None:
    kept = [f"kept-{number:03}" for number in range(40)] + [f"old-{number:03}" for number in range(40)]
    with Store.open(folder) as store:
        push(store, ONE, *kept)
        busy = [pool.submit(tag, folder, number, 40) for number in range(2)]
        rounds = 0
        while rounds < 3 or not all(one.done() for one in busy):
            seen: list[str] = []
            while page := page_after(store, seen[-1] if seen else ""):
                seen += page
            assert seen == sorted(set(seen))
            assert [name for name in seen if not name.startswith("new-")] == kept
            rounds += 1
        assert [one.result() for one in busy] == [40, 40]


def come_and_go(folder: Path, number: int, rounds: int) -> int:
    """Push an image and delete all of the repository; return how often the push was whole."""
    whole = 0
    sample = image(b"%d" % number)
    with Store.open(folder) as store:
        for _ in range(rounds):
            with suppress(BlobMissingError):
                digest = push(store, sample, f"t{number}", repository="shared")
                whole += 1
                store.delete_manifest("shared", digest)
            for blob in sample.blobs:
                store.delete_blob("shared", blob)
    return whole


def test_a_repository_that_is_emptied_and_forgotten_during_pushes_comes_back_with_each(
    pool: ProcessPoolExecutor, folder: Path
) -> None:
    gatherer = pool.submit(gather, folder, 15)
    pushers = [pool.submit(come_and_go, folder, number, 15) for number in range(2)]
    assert all(pusher.result(120) > 0 for pusher in pushers)
    assert gatherer.result(120)[0] > 0
    with Store.open(folder) as store:
        push(store, ONE, "1", repository="shared")
        collect(store, lease=-1, grace=-1)
        assert store.resolve("shared", "1")
        assert all(store.has_blob("shared", digest) for digest in ONE.blobs)


def test_a_clock_that_goes_back_between_a_look_and_a_mark_takes_nothing(tmp_path: Path) -> None:
    clock = Clock()
    with Store.open(tmp_path, clock) as store:
        for digest, data in ONE.blobs.items():
            store.put_blob("a", digest, [data])
        clock.pass_(gc.LEASE_SECONDS + 1)
        assert all(store.has_blob("a", digest) for digest in ONE.blobs)  # so the client skips its uploads
        clock.pass_(-10 * 86400)
        for _ in range(3):
            collect(store)
            clock.pass_(gc.LEASE_SECONDS / 4)
        assert store.put_manifest("a", ONE.manifest, OCI_MANIFEST, ["1"])


def test_the_order_of_tags_is_that_of_their_setting_whatever_the_clock_says(tmp_path: Path) -> None:
    clock = Clock()
    with Store.open(tmp_path, clock) as store:
        push(store, ONE, "v1")
        clock.pass_(-10 * 86400)
        push(store, TWO, "v2")
        allow(store, "keep: [{tags: 'v*', previous: 0}]")
        assert [one.tag for one in retain(store)] == ["v1"]
