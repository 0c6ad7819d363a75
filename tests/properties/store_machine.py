"""Histories of one store, against a model that knows what must be there: pushes, mounts, looks that let a client skip
its upload, tags, deletions, single steps of collection, time, crashes, failed commits and lost indexes, in any order.

Always: what a tag reaches is there and whole; what a client was told within its lease lets it push; nothing goes that
may not; the counters are right; the ledger says what the index says. At the end: after enough time, the disk holds
exactly what the tags reach.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import event, text

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from registry.progress import Silent
from registry.store.faults import BlobMissingError
from registry.store.gc import GRACE_SECONDS, LEASE_SECONDS, collect, mark
from registry.store.rebuild import rebuild
from registry.store.retention import retain
from registry.store.store import Store
from registry.store.sweep import forget_empty, purge, sweep, sweep_strays
from tests.oci_samples import descriptor

UNTAGGED_DAYS = 0.25
UNTAGGED = UNTAGGED_DAYS * 86400
REPOSITORIES = ("a", "b/c")
BLOBS = [f"blob {number}".encode() * (number + 1) for number in range(4)]
DIGESTS = [Digest.of(data) for data in BLOBS]


def _manifest(*blobs: int, subject: bytes = b"", mark: str = "") -> bytes:
    layers = [descriptor(BLOBS[number], OCI_LAYER).as_json() for number in blobs]
    body: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": layers}
    if subject:
        body["subject"] = descriptor(subject, OCI_MANIFEST).as_json()
    return strictjson.canonical(body | {"annotations": {"mark": mark}})


def _index(*children: bytes, subject: bytes = b"") -> bytes:
    listed = [descriptor(child, OCI_MANIFEST).as_json() for child in children]
    body: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
    if subject:
        body["subject"] = descriptor(subject, OCI_MANIFEST).as_json()
    return strictjson.canonical(body)


FIRST, SECOND = _manifest(0, 1), _manifest(1, 2)
SIGNATURE = _manifest(3, subject=FIRST, mark="signature")
Pushed = tuple[bytes, str, tuple[int, ...], tuple[bytes, ...], bytes]
"""Body, media type, numbers of its blobs, children, subject."""
MANIFESTS: list[Pushed] = [
    (FIRST, OCI_MANIFEST, (0, 1), (), b""),
    (SECOND, OCI_MANIFEST, (1, 2), (), b""),
    (SIGNATURE, OCI_MANIFEST, (3,), (), FIRST),
    (_manifest(subject=SIGNATURE, mark="of a signature"), OCI_MANIFEST, (), (), SIGNATURE),
    (_index(FIRST, SECOND), OCI_INDEX, (), (FIRST, SECOND), b""),
    (_index(FIRST, subject=FIRST), OCI_INDEX, (), (FIRST,), FIRST),  # each keeps the other: garbage all the same
]
BELOW = {Digest.of(data): {Digest.of(child) for child in children} for data, _, _, children, _ in MANIFESTS}
PARTS = {Digest.of(data): {DIGESTS[number] for number in blobs} for data, _, blobs, _, _ in MANIFESTS}
ABOUT = {Digest.of(data): Digest.of(subject) for data, _, _, _, subject in MANIFESTS if subject}
places = st.sampled_from(REPOSITORIES)
numbers = st.integers(0, len(BLOBS) - 1)


class StoreMachine(RuleBasedStateMachine):
    """One history."""

    @initialize()
    def begin(self) -> None:
        shared = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
        (self.folder / "policy.yaml").write_text(
            f"rules: [{{repositories: ['*'], untagged_days: {UNTAGGED_DAYS}, keep: [{{tags: 'k*', previous: 0}}]}}]"
        )
        self.now = 1_000_000_000.0
        self.store = Store.open(self.folder, lambda: self.now)
        self.tags: dict[tuple[str, str], Digest] = {}
        self.manifests: dict[str, set[Digest]] = {name: set() for name in REPOSITORIES}
        self.blobs: dict[str, set[Digest]] = {name: set() for name in REPOSITORIES}
        self.used: dict[Digest, float] = {}
        """When content was last stored or looked at."""
        self.pending: list[tuple[str, Pushed, list[str]]] = []
        self.told: dict[tuple[str, Digest], float] = {}
        """When a client was last told that a blob is there."""

    # What clients do

    @rule(name=places, number=numbers)
    def upload(self, name: str, number: int) -> None:
        self.store.put_blob(name, DIGESTS[number], [BLOBS[number]])
        self._has_blob(name, DIGESTS[number])

    @rule(name=places, number=numbers)
    def upload_in_pieces(self, name: str, number: int) -> None:
        session = self.store.uploads.begin(name, "me")
        writer = self.store.uploads.write(name, "me", session.id)
        writer.write([BLOBS[number][:3]])
        writer.save()
        writer = self.store.uploads.write(name, "me", session.id)
        writer.write([BLOBS[number][3:]])
        writer.commit(DIGESTS[number])
        self._has_blob(name, DIGESTS[number])

    @rule(name=places, number=numbers)
    def look(self, name: str, number: int) -> None:
        if self.store.has_blob(name, DIGESTS[number]):
            self._has_blob(name, DIGESTS[number])

    @rule(name=places)
    def look_at_all(self, name: str) -> None:
        for number in range(len(BLOBS)):
            self.look(name, number)
        for which in MANIFESTS:
            self.pull(name, which)

    @rule(name=places, number=numbers)
    def mount(self, name: str, number: int) -> None:
        (source,) = set(REPOSITORIES) - {name}
        is_there = self.store.link_blob(name, DIGESTS[number], source)
        assert is_there == (DIGESTS[number] in self.blobs[source])
        if is_there:
            self._has_blob(name, DIGESTS[number])

    @rule(name=places, which=st.sampled_from(MANIFESTS), tags=st.lists(st.sampled_from(["t", "k1", "k2"]), max_size=1))
    def push(self, name: str, which: Pushed, tags: list[str]) -> None:
        data, media_type, blobs, _, _ = which
        digest = Digest.of(data)
        parts = {DIGESTS[number] for number in blobs}
        try:
            self.store.put_manifest(name, data, media_type, tags)
        except BlobMissingError as error:
            told = self.told.get((name, error.digest), 0.0)
            assert self.now - told > LEASE_SECONDS, "a client that was told of a blob could not push"
            return
        self.manifests[name].add(digest)
        self.blobs[name] |= parts
        self.used[digest] = self.now
        self.tags |= {(name, tag): digest for tag in tags}
        self._see_revived(name)

    @rule(name=places, which=st.sampled_from(MANIFESTS), tags=st.lists(st.sampled_from(["t", "k1", "k2"]), max_size=1))
    def begin_push(self, name: str, which: Pushed, tags: list[str]) -> None:
        """Look for every blob and upload those that are not there; the manifest comes later."""
        for number in which[2]:
            self.look(name, number)
            if DIGESTS[number] not in self.blobs[name]:
                self.upload(name, number)
        self.pending.append((name, which, tags))

    @precondition(lambda self: self.pending)
    @rule()
    def end_push(self) -> None:
        self.push(*self.pending.pop(0))

    @rule(name=places, which=st.sampled_from(MANIFESTS), tags=st.lists(st.sampled_from(["t", "k1", "k2"]), max_size=1))
    def push_whole(self, name: str, which: Pushed, tags: list[str]) -> None:
        for number in which[2]:
            self.upload(name, number)
        self.push(name, which, tags)

    @rule(name=places, which=st.sampled_from(MANIFESTS))
    def pull(self, name: str, which: Pushed) -> None:
        digest = Digest.of(which[0])
        found = self.store.manifest(name, digest)
        assert (found is not None) == (digest in self.manifests[name])
        if found:
            assert found == (which[0], which[1])
            self.used[digest] = self.now

    @rule(name=places, tag=st.sampled_from(["t", "k1", "k2"]))
    def untag(self, name: str, tag: str) -> None:
        assert self.store.delete_tag(name, tag) == (self.tags.pop((name, tag), None) is not None)

    @rule(name=places, which=st.sampled_from(MANIFESTS))
    def delete_manifest(self, name: str, which: Pushed) -> None:
        digest = Digest.of(which[0])
        assert self.store.delete_manifest(name, digest) == (digest in self.manifests[name])
        self.manifests[name].discard(digest)
        self.tags = {key: named for key, named in self.tags.items() if (key[0], named) != (name, digest)}

    @precondition(lambda self: not self.tags)
    @rule(name=places, number=numbers)
    def delete_blob(self, name: str, number: int) -> None:
        assert self.store.delete_blob(name, DIGESTS[number]) == (DIGESTS[number] in self.blobs[name])
        self.blobs[name].discard(DIGESTS[number])
        self.told.pop((name, DIGESTS[number]), None)
        # Manifests that name it are not whole from here on: out of the model, by its owner's will.
        for digest in [one for one in self.manifests[name] if DIGESTS[number] in PARTS[one]]:
            self.store.delete_manifest(name, digest)
            self.manifests[name].discard(digest)

    # What the keeper does

    @rule(seconds=st.sampled_from([60.0, 1900.0, LEASE_SECONDS + 1, GRACE_SECONDS + 1, UNTAGGED + 1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=places)
    def mark(self, name: str) -> None:
        mark(self.store, name)
        self._see_dead(name)

    @rule(seconds=st.sampled_from([0.6 * LEASE_SECONDS, LEASE_SECONDS + 1, 0.6 * UNTAGGED, UNTAGGED + 1]))
    def wait_and_mark(self, seconds: float) -> None:
        self.now += seconds
        for name in REPOSITORIES:
            self.mark(name)

    @rule()
    def sweep(self) -> None:
        purge(self.store, GRACE_SECONDS)
        sweep(self.store, LEASE_SECONDS)
        sweep_strays(self.store, LEASE_SECONDS)
        forget_empty(self.store)

    @rule()
    def collect(self) -> None:
        collect(self.store)
        for name in REPOSITORIES:
            self._see_dead(name)

    @rule()
    def retain(self) -> None:
        for one in retain(self.store):
            assert one.tag.startswith("k")
            del self.tags[one.repository, one.tag]

    # What goes wrong

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = Store.open(self.folder, lambda: self.now)

    @rule(number=numbers)
    def crash_between_file_and_row(self, number: int) -> None:
        with self.store.files.storing(DIGESTS[number], [BLOBS[number]]):
            pass
        self.used[DIGESTS[number]] = self.now

    @rule(which=st.sampled_from(MANIFESTS))
    def crash_before_a_manifest_has_its_row(self, which: Pushed) -> None:
        digest = Digest.of(which[0])
        with self.store.files.storing(digest, [which[0]]):
            pass
        self.used[digest] = self.now

    @rule()
    def lose_the_index(self) -> None:
        """Make it anew: what waited for collection is back, and blobs that no manifest names are not."""
        self.store.close()
        for suffix in ("", "-wal", "-shm"):
            (self.folder / f"index.sqlite{suffix}").unlink(missing_ok=True)
        assert rebuild(self.folder, Silent()).lost == ()
        shutil.rmtree(self.folder / "quarantine", ignore_errors=True)
        self.store = Store.open(self.folder, lambda: self.now)
        for name in REPOSITORIES:
            self._see_revived(name)
            for digest in [one for one in self.blobs[name] if self.store._index.size(one, name) is None]:
                self.blobs[name].discard(digest)
                self.told.pop((name, digest), None)

    @rule(which=st.sampled_from(MANIFESTS), name=places, tag=st.sampled_from(["t", "k1"]))
    def fail_to_commit(self, which: Pushed, name: str, tag: str) -> None:
        """Push or untag what the disk then refuses."""

        def refuse(_: object) -> None:
            raise OSError(28, "No space left on device")

        event.listen(self.store.database._engine, "commit", refuse)
        try:
            with suppress(OSError, BlobMissingError):
                if self.tags.get((name, tag)):
                    self.store.delete_tag(name, tag)
                else:
                    self.store.put_manifest(name, which[0], which[1], [tag])
        finally:
            event.remove(self.store.database._engine, "commit", refuse)

    # What always holds

    @invariant()
    def what_tags_reach_is_whole(self) -> None:
        if not hasattr(self, "store"):
            return
        for name in REPOSITORIES:
            assert {key[1] for key in self.tags if key[0] == name} == set(self.store.tags(name))
            for digest in self._reached(name):
                assert self.store._index.manifest(name, digest), f"{digest} is reached and not there"
                assert digest.matches(self.store.files.path(digest).read_bytes())
                for part in PARTS[digest]:
                    assert self.store._index.size(part, name) is not None, f"{part} is named and not held"
            for digest in self.blobs[name]:
                assert self.store._index.size(digest, name) is not None
                assert digest.matches(self.store.files.path(digest).read_bytes())

    @invariant()
    def the_counters_are_right(self) -> None:
        if not hasattr(self, "store"):
            return
        with self.store.database.reading() as connection:
            for number, used in connection.execute(text("SELECT id, used FROM repositories")).all():
                seen = connection.execute(text(_USED), {"number": number}).scalar_one()
                assert used == seen

    @invariant()
    def the_ledger_says_what_the_index_says_once_somebody_wrote(self) -> None:
        if not hasattr(self, "store"):
            return
        self.store.ledger.agree(self.store.database, self.folder / "quarantine")
        told = self.store.ledger.read()
        assert self.tags == {(name, tag): digest for name, one in told.items() for tag, digest in one.tags.items()}
        for name in REPOSITORIES:
            assert self.manifests[name] <= told[name].manifests.keys() if self.manifests[name] else True

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        try:
            for _ in range(3):
                self.now += UNTAGGED + GRACE_SECONDS + 1
                self.collect()
            self.what_tags_reach_is_whole()
            kept = {digest for name in REPOSITORIES for digest in self._reached(name)}
            kept |= {part for digest in kept for part in PARTS[digest]}
            assert {path.name for path in (self.folder / "blobs/sha256").iterdir()} == {one.hex for one in kept}
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    # The model

    def _has_blob(self, name: str, digest: Digest) -> None:
        self.blobs[name].add(digest)
        self.told[name, digest] = self.used[digest] = self.now

    def _reached(self, name: str) -> set[Digest]:
        roots = {digest for (place, _), digest in self.tags.items() if place == name}
        return self._from(name, roots)

    def _from(self, name: str, roots: set[Digest]) -> set[Digest]:
        seen: set[Digest] = set()
        todo = list(roots)
        while todo:
            digest = todo.pop()
            if digest in seen or digest not in self.manifests[name]:
                continue
            seen.add(digest)
            todo += BELOW[digest]
            todo += [one for one in self.manifests[name] if ABOUT.get(one) == digest]
        return seen

    def _see_dead(self, name: str) -> None:
        """Take over what a mark declared dead, if it was allowed to."""
        recent = {one for one in self.manifests[name] if self.now - self.used.get(one, 0.0) < UNTAGGED - 300}
        kept = self._reached(name) | self._from(name, recent)
        for digest in list(self.manifests[name]):
            if self.store._index.manifest(name, digest) is None:
                assert digest not in kept, f"{digest} died, and should not have"
                self.manifests[name].discard(digest)
        named = {part for digest in self.manifests[name] for part in PARTS[digest]}
        for digest in list(self.blobs[name]):
            if self.store._index.size(digest, name) is None:
                assert digest not in named
                assert self.now - self.used.get(digest, 0.0) >= LEASE_SECONDS - 300
                self.blobs[name].discard(digest)

    def _see_revived(self, name: str) -> None:
        """Take over what a push brought back to life: it may be there, as nothing of it was freed."""
        for data, *_ in MANIFESTS:
            if self.store._index.manifest(name, Digest.of(data)):
                self.manifests[name].add(Digest.of(data))
        for digest in DIGESTS:
            if self.store._index.size(digest, name) is not None:
                self.blobs[name].add(digest)


_USED = """
SELECT (SELECT coalesce(sum(size), 0) FROM manifests WHERE repository = :number AND dead IS NULL)
     + (SELECT coalesce(sum(size), 0) FROM holdings JOIN contents ON contents.digest = holdings.digest
        WHERE repository = :number AND dead IS NULL)
"""
