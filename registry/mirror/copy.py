"""Copies from any content source to any target: a store, an OCI layout, a registry somewhere else.

* The graph is walked once, digests are joined over all repositories, the largest blobs go first, several at a time;
  then manifests, children before parents and subjects before what refers to them; tags last, so that nobody sees half
  an image.
* The target verifies what it gets before it shows it. What it holds already, whole, is not moved again, and what one
  of its repositories holds is shown in the others: a second run moves no blob byte, and a run after a kill goes on,
  also inside blobs where the target can.
* Faults are collected: what can be copied is copied, and the error at the end names all the rest.

>>> copy(verified.content(), StoreTarget(store), console).bytes_copied
73400320
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from registry.client.remote import RemoteRegistry
from registry.content import Content, ContentSource
from registry.errors import DryportError, MediaError, RemoteError, SiteError
from registry.mirror.graph import Fault, Graph, Node, Walk
from registry.mirror.journal import Journal
from registry.mirror.planned import Blob, Plan
from registry.mirror.report import CopyReport, Tally
from registry.mirror.selection import EVERYTHING, Selection
from registry.mirror.target import Moved, Passage, Target
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.progress import Meter, Progress
from registry.store.faults import DigestMismatchError

STREAMS = 8
_HOPELESS = frozenset({"registry-unreachable", "registry-certificate", "registry-denied", "token-realm-elsewhere"})
"""Faults that every further request would only repeat."""
Item = TypeVar("Item")
Place = Callable[[str], str]
"""The repository at the target for one of the source."""


def same(repository: str) -> str:
    """Return the name itself: what is copied keeps its place."""
    return repository


def fault_of(source: ContentSource) -> Fault:
    """Return the family of what is wrong with a source, by where it is."""
    return RemoteError if isinstance(source, RemoteRegistry) else MediaError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done, and the error that lists what could not be."""

    report: CopyReport
    refusal: DryportError | None


@dataclass(frozen=True, slots=True)
class Terms:
    """How a copy goes about it."""

    place: Place = same
    is_same_registry: bool = False
    """Whether source and target are one registry: then blobs are mounted from where they are."""
    streams: int = STREAMS


def copy(
    source: ContentSource,
    target: Target,
    progress: Progress,
    *,
    selection: Selection = EVERYTHING,
    terms: Terms = Terms(),
    journal: Journal | None = None,
) -> CopyReport:
    """Copy what the selection takes.

    Raises MediaError or RemoteError (by where the source is) that lists everything that could not be copied; SiteError
    if the target has no room (`space-short`, before anything moves) or cannot take it. The same call again goes on.
    """
    outcome = attempt(source, target, progress, selection=selection, terms=terms, journal=journal)
    if outcome.refusal:
        raise outcome.refusal
    return outcome.report


def attempt(
    source: ContentSource,
    target: Target,
    progress: Progress,
    *,
    selection: Selection = EVERYTHING,
    terms: Terms = Terms(),
    journal: Journal | None = None,
) -> Outcome:
    """Copy what the selection takes, and return what was done together with what could not be. Raises SiteError."""
    work = _Copy(source, target, terms, journal or Journal.none())
    with work.pool:
        return work.execute(work.plan(selection), progress)


def plan(source: ContentSource, target: Target, *, selection: Selection = EVERYTHING, terms: Terms = Terms()) -> Plan:
    """Return what `copy` would do; nothing is changed but leases and counters of requests.

    Raises what `copy` raises for a source of which not everything can be copied.
    """
    work = _Copy(source, target, terms, Journal.none(), is_dry=True)
    with work.pool:
        found = work.plan(selection)
    if refusal := work.refusal():
        raise refusal
    return found


class _Copy:
    def __init__(
        self, source: ContentSource, target: Target, terms: Terms, journal: Journal, *, is_dry: bool = False
    ) -> None:
        self.source, self.target, self.terms, self.journal = source, target, terms, journal
        self.is_dry = is_dry
        self.fault = fault_of(source)
        self.faults: list[DryportError] = []
        self.failed: set[Digest] = set()
        self.withheld: set[Digest] = set()
        """Blobs that their makers alone may give away."""
        self.tally = Tally()
        self.pool = ThreadPoolExecutor(terms.streams, "copy")

    # What there is to do

    def plan(self, selection: Selection) -> Plan:
        names = selection.repositories(self.source.repositories)
        walk = Walk(self.source, self.fault, known=self.target.known, selection=selection, each=self.pool.map)
        graphs = walk.graphs(names)
        named = {one.repository for one in selection.wanted}
        for graph in graphs:
            self.faults += graph.faults
            self.failed |= graph.missing
            self.tally.add("absent", len(graph.absent))
            self.tally.add("left_out", len(graph.left_out))
            if not graph.nodes and not graph.faults and graph.repository in named:
                self.faults.append(self.fault("repository-missing", "nothing by this name", where=graph.repository))
        if unfit := self.target.check_fitness(graphs):
            raise RemoteError(
                "target-unfit",
                f"the target does not take {len(unfit)} thing(s) of this; nothing was sent",
                where=str(self.target),
                findings=unfit,
                hint="dryport mirror probe shows what it takes",
            )
        with _told(self.target):
            blobs = self._blobs(graphs)
            asked = [(name, blob.descriptor) for blob in blobs for name in blob.repositories]
            held = self.pool.map(lambda pair: self.target.holds(*pair), asked)
            holds = {(name, one.digest) for (name, one), is_held in zip(asked, held, strict=True) if is_held}
            there = self.pool.map(lambda blob: self._is_present(blob, holds), blobs)
            missing = [blob for blob, is_there in zip(blobs, there, strict=True) if not is_there]
        missing.sort(key=lambda blob: -blob.descriptor.size)
        return Plan(graphs, missing, self.tally)

    def _blobs(self, graphs: Sequence[Graph]) -> Sequence[Blob]:
        blobs: dict[Digest, Blob] = {}
        for graph in graphs:
            for digest, descriptor in graph.blobs().items():
                blob = blobs.setdefault(digest, Blob(descriptor, graph.repository))
                blob.repositories.append(self.terms.place(graph.repository))
        return list(blobs.values())

    def _is_present(self, blob: Blob, holds: set[tuple[str, Digest]]) -> bool:
        """Say whether no byte has to move; where one repository of the target has it, the others get to see it."""
        descriptor = blob.descriptor
        lacking = [name for name in blob.repositories if (name, descriptor.digest) not in holds]
        if not lacking:
            self.tally.add("blobs_present")
        elif self.is_dry:
            if len(lacking) == len(blob.repositories):
                return False
            self.tally.add("blobs_linked", len(lacking))
        elif not self._is_shared(blob, lacking):
            return False
        else:
            self.tally.add("blobs_linked", len(lacking))
        self.tally.add("bytes_present", descriptor.size)
        return True

    def _is_shared(self, blob: Blob, lacking: Sequence[str]) -> bool:
        """Say whether all that lack a blob could be shown that of another repository there."""
        holders = [name for name in blob.repositories if name not in lacking]
        holder = blob.source if self.terms.is_same_registry else holders[0] if holders else None
        return all(self.target.share(name, blob.descriptor, holder) for name in lacking)

    # Doing it

    def execute(self, plan: Plan, progress: Progress) -> Outcome:
        with _told(self.target):
            self._check_room([blob for blob in plan.missing if not blob.descriptor.is_foreign])
            self._move(plan.missing, progress)
            self._manifests(plan.graphs, progress)
            self.target.finish()
        refusal = self.refusal()
        if refusal is None:
            self.journal.done()
        return Outcome(self.tally.report(), refusal)

    def refusal(self) -> DryportError | None:
        """Return one error that lists all, if there are any."""
        if not self.faults:
            return None
        return self.fault(
            "copy-incomplete",
            f"{len(self.faults)} thing(s) could not be copied; the rest is at its place",
            findings=self.faults,
            hint="mend what is named; then the same command again goes on",
        )

    def _check_room(self, blobs: Sequence[Blob]) -> None:
        contents = (self.source.blob(blob.source, blob.descriptor.digest) for blob in blobs)
        self.target.check_room([blob.descriptor.size for blob in blobs], contents)

    def _move(self, blobs: Sequence[Blob], progress: Progress) -> None:
        if not blobs:
            return
        total = sum(blob.descriptor.size for blob in blobs)
        with progress.meter("copying blobs", total) as meter:
            self._all(partial(self._send, meter=meter), blobs)
            moved = [blob for blob in blobs if blob.descriptor.digest not in self.failed | self.withheld]
            further = [(blob, name) for blob in moved for name in blob.repositories[1:]]
            self._all(partial(self._show, meter=meter), further)

    def _all(self, work: Callable[[Item], None], items: Iterable[Item]) -> None:
        """Do a piece of work for each item, several at a time; the first that fails for good ends the others."""
        running = [self.pool.submit(work, item) for item in items]
        try:
            done, _ = wait(running, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            for future in running:
                future.cancel()
            wait(running)

    def _send(self, blob: Blob, meter: Meter) -> None:
        """Move one blob into the first of its repositories."""
        with self._remembering(blob):
            moved = self._put(blob, blob.repositories[0], meter)
            if moved is None:
                self.withheld.add(blob.descriptor.digest)
                return
            self.tally.add("blobs_copied")
            self.tally.add("bytes_copied", moved.sent)
            self.tally.add("bytes_shared", moved.shared)

    def _show(self, pair: tuple[Blob, str], meter: Meter) -> None:
        """Let a further repository have a blob that was moved."""
        blob, name = pair
        with self._remembering(blob):
            if not self.target.share(name, blob.descriptor, blob.repositories[0]):
                again = self._put(blob, name, meter)
                self.tally.add("bytes_copied", again.sent if again else 0)
            self.tally.add("blobs_linked")

    @contextmanager
    def _remembering(self, blob: Blob) -> Iterator[None]:
        """Remember a fault; one that would only repeat ends the copy."""
        descriptor, where = blob.descriptor, f"{blob.source}@{blob.descriptor.digest}"
        try:
            yield
        except DigestMismatchError as error:
            differs = "the source gave other bytes than their name promises"
            fault = self.fault("content-differs", differs, where=where, expected=error.expected, seen=error.seen)
            self._remember(fault, descriptor)
        except DryportError as error:
            if isinstance(error, SiteError) or error.reference in _HOPELESS:
                raise
            self._remember(error, descriptor)

    def _put(self, blob: Blob, name: str, meter: Meter) -> Moved | None:
        """Put a blob into one repository; None stands for what its maker alone may give away, and the source lacks."""
        descriptor, where = blob.descriptor, f"{blob.source}@{blob.descriptor.digest}"
        content = self._opened(blob)
        if content is None:
            if descriptor.is_foreign:
                return None
            raise self.fault("blob-missing", "a manifest names content that is not at the source", where=where)
        try:
            if content.size != descriptor.size:
                raise self.fault(
                    "size-differs",
                    "the source has another size than the manifest says",
                    where=where,
                    expected=str(descriptor.size),
                    seen=str(content.size),
                )
            with self.journal.upload(name, descriptor.digest) as kept:
                passage = Passage(partial(meter.advance, item=name), kept.session, kept.keep)
                return self.target.put(name, descriptor, content, passage)
        finally:
            content.close()

    def _opened(self, blob: Blob) -> Content | None:
        """Open a blob at the source; a registry is not asked before it is known from which byte on."""
        descriptor = blob.descriptor
        if isinstance(self.source, RemoteRegistry) and not descriptor.is_foreign:
            return self.source.blob_of(blob.source, descriptor)
        return self.source.blob(blob.source, descriptor.digest)

    def _remember(self, error: DryportError, descriptor: Descriptor) -> None:
        self.faults.append(error)
        self.failed.add(descriptor.digest)

    # Manifests, then tags

    def _manifests(self, graphs: Sequence[Graph], progress: Progress) -> None:
        pairs = [(graph.repository, node) for graph in graphs for node in graph.nodes.values()]
        for _, node in sorted(pairs, key=lambda pair: pair[1].level):
            if self.failed & {part.digest for part in (*node.manifest.blobs, *node.manifest.children)}:
                self.failed.add(node.digest)
        pairs = [(repository, node) for repository, node in pairs if node.digest not in self.failed]
        self.tally.add("repositories", sum(bool(graph.nodes) for graph in graphs))
        with progress.meter("recording manifests", len(pairs), "manifests") as meter:
            for level in sorted({node.level for _, node in pairs}):
                self._each(self._record, [pair for pair in pairs if pair[1].level == level], meter)
        tagged = [(repository, node) for repository, node in pairs if node.tags and node.digest not in self.failed]
        self._each(self._tag, tagged, None)

    def _each(self, work: Callable[[str, Node], None], pairs: Sequence[tuple[str, Node]], meter: Meter | None) -> None:
        def one(pair: tuple[str, Node]) -> None:
            repository, node = pair
            try:
                work(self.terms.place(repository), node)
            except DryportError as error:
                if isinstance(error, SiteError) or error.reference in _HOPELESS:
                    raise
                where = f"{repository}@{node.digest}"
                fault = self.fault(error.reference, error.message, where=where, seen=error.seen, hint=error.hint)
                self._remember(fault, node.manifest.descriptor)
                self.failed.add(node.digest)
            if meter:
                meter.advance(1, repository)

        list(self.pool.map(one, pairs))

    def _record(self, repository: str, node: Node) -> None:
        if self.failed & {part.digest for part in node.manifest.children}:
            self.failed.add(node.digest)
            return
        if self.target.named(repository, node.digest) == node.digest:
            self.tally.add("manifests_present")
            return
        self.target.record(repository, node.manifest, node.digest)
        self.tally.add("manifests_copied")

    def _tag(self, repository: str, node: Node) -> None:
        self.tally.add("tags", len(node.tags))
        tags = [tag for tag in node.tags if self.target.named(repository, tag) != node.digest]
        if tags:
            self.target.tag(repository, node.manifest, node.digest, tags)
            self.tally.add("tags_set", len(tags))


@contextmanager
def _told(target: Target) -> Iterator[None]:
    """Tell what a target's disk refuses as the site's fault."""
    try:
        yield
    except target.refusals as error:
        raise SiteError(
            "store-not-writable",
            "the target cannot take it",
            where=str(target),
            seen=str(getattr(error, "orig", error)),
            hint="make room or mend the disk; then the same command again goes on",
        ) from error
