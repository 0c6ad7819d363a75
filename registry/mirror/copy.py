"""Fills a store from any content source: a mounted bundle, another store, a registry over HTTPS.

* The graph is walked once per repository, digests are joined over all of them, the largest blobs go first, several at
  a time; then manifests, children before parents; tags last, so that nobody sees half an image.
* The store checks every byte before it shows it, and shares the disk of what lies on its own file system, where that
  can be. What it holds already, whole, is not moved again: a second run moves no blob byte, and a run after a kill
  goes on with the blobs that are missing.
* Faults are collected: what can be copied is copied, and the error at the end names all the rest.

>>> copy(verified.content(), store, console).bytes_copied
73400320
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy.exc import OperationalError

from registry.client.remote import RemoteRegistry
from registry.content import Content, ContentSource
from registry.errors import DryportError, MediaError, RemoteError, SiteError
from registry.mirror.graph import Fault, Graph, Node, Walk, selected
from registry.mirror.report import CopyReport
from registry.mirror.space import check_space
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.progress import Meter, Progress
from registry.store.faults import DigestMismatchError
from registry.store.store import Store

THREADS = 4
_HOPELESS = frozenset({"registry-unreachable", "registry-certificate", "registry-denied"})
"""Faults that every further request would only repeat."""


@dataclass
class Blob:
    """A blob that is to move once, and the repositories that are to show it."""

    descriptor: Descriptor
    repositories: list[str] = field(default_factory=list)


@dataclass
class Tally:
    """What the report will say."""

    counts: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str, amount: int = 1) -> None:
        """Count."""
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + amount

    def report(self) -> CopyReport:
        """Return the counts as report."""
        return CopyReport(**self.counts)


def copy(source: ContentSource, store: Store, progress: Progress, *, repositories: Sequence[str] = ()) -> CopyReport:
    """Copy all repositories, or those that match `repositories`, into the store.

    Raises MediaError or RemoteError (by where the source is) that lists everything that could not be copied, and
    SiteError if the store has no room (`space-short`, before anything moves) or cannot take it; the same call again
    goes on.
    """
    fault: Fault = RemoteError if isinstance(source, RemoteRegistry) else MediaError
    return _Copy(source, store, fault).run(progress, repositories)


class _Copy:
    def __init__(self, source: ContentSource, store: Store, fault: Fault) -> None:
        self.source, self.store, self.fault = source, store, fault
        self.faults: list[DryportError] = []
        self.failed: set[Digest] = set()
        self.tally = Tally()

    def run(self, progress: Progress, patterns: Sequence[str]) -> CopyReport:
        names = selected(self.source, patterns)
        walk = Walk(self.source, self.store, self.fault)
        with ThreadPoolExecutor(THREADS) as pool:
            graphs = list(pool.map(walk.graph, names))
        for graph in graphs:
            self.faults += graph.faults
            self.failed |= graph.missing
            self.tally.add("absent", len(graph.absent))
            if not graph.nodes and not graph.faults and graph.repository in patterns:
                self.faults.append(self.fault("repository-missing", "nothing by this name", where=graph.repository))
        try:
            missing = [blob for blob in self._blobs(graphs) if not self._is_present(blob)]
            missing.sort(key=lambda blob: -blob.descriptor.size)
            self._check_space([blob for blob in missing if not blob.descriptor.is_foreign])
            self._move(missing, progress)
            self._manifests(graphs, progress)
        except (OSError, OperationalError) as error:  # the latter is the index on a full disk
            raise _cannot_store(self.store, error) from error
        self._raise_faults()
        return self.tally.report()

    def _blobs(self, graphs: Sequence[Graph]) -> Sequence[Blob]:
        blobs: dict[Digest, Blob] = {}
        for graph in graphs:
            for digest, descriptor in graph.blobs().items():
                blobs.setdefault(digest, Blob(descriptor)).repositories.append(graph.repository)
        return list(blobs.values())

    def _is_present(self, blob: Blob) -> bool:
        """Say whether no byte has to move; where one repository of the store has it, the others get to see it."""
        digest = blob.descriptor.digest
        lacking = [name for name in blob.repositories if not self.store.has_blob(name, digest)]
        if not lacking:
            self.tally.add("blobs_present")
        elif self.store.link_blob(lacking[0], digest):
            self._link(digest, lacking[1:])
            self.tally.add("blobs_linked", len(lacking))
        else:
            return False
        self.tally.add("bytes_present", blob.descriptor.size)
        return True

    def _check_space(self, blobs: Sequence[Blob]) -> None:
        contents = (self.source.blob(blob.repositories[0], blob.descriptor.digest) for blob in blobs)
        check_space(self.store, [blob.descriptor.size for blob in blobs], contents)

    def _link(self, digest: Digest, repositories: Sequence[str]) -> None:
        for name in repositories:
            self.store.link_blob(name, digest)

    def _move(self, blobs: Sequence[Blob], progress: Progress) -> None:
        if not blobs:
            return
        total = sum(blob.descriptor.size for blob in blobs)
        with progress.meter("copying blobs", total) as meter, ThreadPoolExecutor(THREADS) as pool:
            running = {pool.submit(self._send, blob, meter): blob for blob in blobs}
            try:
                done, _ = wait(running, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _send(self, blob: Blob, meter: Meter) -> None:
        """Move one blob; a fault is remembered, one that would only repeat ends the copy."""
        descriptor, where = blob.descriptor, f"{blob.repositories[0]}@{blob.descriptor.digest}"
        try:
            content = self.source.blob(blob.repositories[0], descriptor.digest)
            if content is None:
                if descriptor.is_foreign:
                    return  # carried as a descriptor
                raise self.fault("blob-missing", "a manifest names content that is not at the source", where=where)
            try:
                self._store(blob, content, meter)
            finally:
                content.close()
        except DigestMismatchError as error:
            differs = "the source gave other bytes than their name promises"
            self._remember(
                self.fault("content-differs", differs, where=where, expected=error.expected, seen=error.seen),
                descriptor,
            )
        except DryportError as error:
            if isinstance(error, SiteError) or error.reference in _HOPELESS:
                raise
            self._remember(error, descriptor)

    def _store(self, blob: Blob, content: Content, meter: Meter) -> None:
        first, *others = blob.repositories
        descriptor = blob.descriptor
        if content.size != descriptor.size:
            raise self.fault(
                "size-differs",
                "the source has another size than the manifest says",
                where=f"{first}@{descriptor.digest}",
                expected=str(descriptor.size),
                seen=str(content.size),
            )
        taken = self.store.take_blob(first, descriptor.digest, content, partial(meter.advance, item=first))
        self._link(descriptor.digest, others)
        self.tally.add("blobs_copied")
        self.tally.add("blobs_linked", len(others))
        self.tally.add("bytes_copied", taken.size - taken.shared)
        self.tally.add("bytes_shared", taken.shared)

    def _remember(self, error: DryportError, descriptor: Descriptor) -> None:
        self.faults.append(error)
        self.failed.add(descriptor.digest)

    def _manifests(self, graphs: Sequence[Graph], progress: Progress) -> None:
        nodes = [(graph.repository, node) for graph in graphs for node in graph.nodes.values()]
        for _, node in nodes:
            if self.failed & {part.digest for part in (*node.manifest.blobs, *node.manifest.children)}:
                self.failed.add(node.digest)
        nodes = [(repository, node) for repository, node in nodes if node.digest not in self.failed]
        # A stable sort keeps children before parents, and puts everything with a tag behind everything without.
        nodes.sort(key=lambda pair: bool(pair[1].tags))
        self.tally.add("repositories", sum(bool(graph.nodes) for graph in graphs))
        with progress.meter("recording manifests", len(nodes), "manifests") as meter:
            for repository, node in nodes:
                self._put(repository, node)
                meter.advance(1, repository)

    def _put(self, repository: str, node: Node) -> None:
        self.tally.add("tags", len(node.tags))
        is_new = self.store.manifest(repository, node.digest) is None
        tags = [tag for tag in node.tags if is_new or not self._names(repository, tag, node.digest)]
        if is_new or tags:
            try:
                self.store.put_manifest(
                    repository, node.manifest.data, node.manifest.media_type, tags, digest=node.digest
                )
            except MediaError as error:
                self.faults.append(self.fault(error.reference, error.message, where=f"{repository}@{node.digest}"))
                return
        self.tally.add("tags_set", len(tags))
        self.tally.add("manifests_copied" if is_new else "manifests_present")

    def _names(self, repository: str, tag: str, digest: Digest) -> bool:
        named = self.store.resolve(repository, tag)
        return named is not None and named.digest == digest

    def _raise_faults(self) -> None:
        if self.faults:
            raise self.fault(
                "copy-incomplete",
                f"{len(self.faults)} thing(s) could not be copied; the rest is in the store",
                findings=self.faults,
                hint="mend the source; then the same command again goes on",
            )


def _cannot_store(store: Store, error: OSError | OperationalError) -> SiteError:
    return SiteError(
        "store-not-writable",
        "the store cannot take it",
        where=str(store.folder),
        seen=str(error.orig if isinstance(error, OperationalError) else error),
        hint="make room or mend the disk; then the same command again goes on",
    )
