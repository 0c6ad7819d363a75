"""Every state in which a power cut can leave a disk, for each way in which content gets its name and its row.

The calls of one real push are written down. Then, for a cut after each of them, every combination of what was not yet
synced is tried: bytes may be missing, a new name may be. Whatever the combination, a file under its final name is
whole, and once the row is committed the file is there and the ledger has its line. Leaving out any of the syncs must
make some state break that: otherwise this test would prove nothing.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.store.ledger import NAME as LEDGER
from registry.store.store import Store
from tests.oci_samples import image

SAMPLE = image(b"states")


@dataclass(frozen=True)
class Call:
    """One call that matters: what it does to which file (by inode) or folder."""

    kind: str
    inode: int = 0
    name: str = ""
    folder: str = ""


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Call]]:
    """Write down what reaches the disk."""
    calls: list[Call] = []

    def place(handle: int) -> str:
        return str(Path(f"/proc/self/fd/{handle}").readlink())

    def noted(call: Callable[..., Any], note: Callable[..., Call]) -> Callable[..., Any]:
        def run(*arguments: object) -> Any:  # noqa: ANN401 - whatever the call returns
            made = note(*arguments)
            done = call(*arguments)
            calls.append(made)
            return done

        return run

    def synced(handle: int) -> Call:
        if os.path.isdir(place(handle)):  # noqa: PTH112 - a handle's place
            return Call("sync folder", folder=place(handle))
        return Call("sync", os.fstat(handle).st_ino, place(handle))

    def written(handle: int, *_: object) -> Call:
        return Call("write", os.fstat(handle).st_ino, place(handle))

    def renamed(path: Path, final: Path) -> Call:
        return Call("rename", path.stat().st_ino, str(final), str(final.parent))

    def committed(_: object) -> None:
        calls.append(Call("commit"))

    monkeypatch.setattr(os, "write", noted(os.write, written))
    monkeypatch.setattr(os, "fsync", noted(os.fsync, synced))
    monkeypatch.setattr(os, "fdatasync", noted(os.fdatasync, synced))
    monkeypatch.setattr(Path, "rename", noted(Path.rename, renamed))
    event.listen(Engine, "commit", committed)
    yield calls
    event.remove(Engine, "commit", committed)


def put_blob(store: Store) -> Digest:
    digest = Digest.of(SAMPLE.layer)
    store.put_blob("a", digest, [SAMPLE.layer[:50], SAMPLE.layer[50:]])
    return digest


def upload(store: Store) -> Digest:
    digest = Digest.of(SAMPLE.layer)
    session = store.uploads.begin("a", "me")
    for part in (SAMPLE.layer[:50], SAMPLE.layer[50:]):
        writer = store.uploads.write("a", "me", session.id)
        writer.write([part])
        writer.save()
    writer = store.uploads.write("a", "me", session.id)
    writer.commit(digest)
    return digest


def put_manifest(store: Store) -> Digest:
    return store.put_manifest("a", SAMPLE.manifest, OCI_MANIFEST, ["1"])


def states(calls: Sequence[Call], final: str) -> Iterator[tuple[bool, bool, bool]]:
    """Give, for every state that a cut can leave: is the file there, is it whole, is its row (the last) committed."""
    inode = next(call.inode for call in calls if call.kind == "rename" and call.name == final)
    folder = str(Path(final).parent)
    last = max(number for number, call in enumerate(calls) if call.kind == "commit")
    for cut in range(len(calls) + 1):
        done = calls[:cut]
        unsynced_bytes = named = unsynced_name = False
        for call in done:
            if call.kind == "write" and call.inode == inode:
                unsynced_bytes = True
            elif call.kind == "sync" and call.inode == inode:
                unsynced_bytes = False
            elif call.kind == "rename" and call.name == final:
                named = unsynced_name = True
            elif call.kind == "sync folder" and call.folder == folder:
                unsynced_name = False
        for has_bytes, has_name in itertools.product(
            (True, False) if unsynced_bytes else (True,), (True, False) if unsynced_name else (True,)
        ):
            yield named and has_name, has_bytes, cut > last


def violations(calls: Sequence[Call], final: str) -> int:
    """Count the states in which a file is torn under its name, or acknowledged and not there."""
    return sum((there and not whole) or (row and not there) for there, whole, row in states(calls, final))


@pytest.mark.parametrize("act", [put_blob, upload, put_manifest])
def test_no_state_after_a_power_cut_breaks_a_promise_and_each_sync_is_needed(
    tmp_path: Path, tape: list[Call], act: Callable[[Store], Digest]
) -> None:
    with Store.open(tmp_path) as store:
        for digest, data in SAMPLE.blobs.items() if act is put_manifest else ():
            store.put_blob("a", digest, [data])
        tape.clear()
        final = str(store.files.path(act(store)))
    assert len(list(states(tape, final))) > len(tape)
    assert violations(tape, final) == 0
    inode = next(call.inode for call in tape if call.kind == "rename" and call.name == final)
    for without in (
        [call for call in tape if call.kind != "sync" or call.inode != inode],
        [call for call in tape if call.kind != "sync folder" or call.folder != str(Path(final).parent)],
    ):
        assert len(without) < len(tape)
        assert violations(without, final) > 0


def test_the_ledger_has_its_line_before_a_manifest_is_acknowledged(tmp_path: Path, tape: list[Call]) -> None:
    with Store.open(tmp_path) as store:
        for digest, data in SAMPLE.blobs.items():
            store.put_blob("a", digest, [data])
        tape.clear()
        put_manifest(store)
    kinds = [call.kind for call in tape if call.kind == "commit" or call.name.endswith(LEDGER)]
    assert kinds == ["write", "sync", "commit"]
