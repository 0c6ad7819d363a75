"""Building a bundle: every blob goes straight to its final place, once.

The file grows sparse under `<name>.part` and gets its name when all of it is checked and on disk. A build that was
killed goes on: what lies in the part is hashed again, what is right stays, the rest is fetched. Nothing is believed
because of its size or its name.

>>> report = build(lock, Path("quickstart-1.0.0.tar"), Fetcher(inputs), progress)
>>> sign_in_place(report.bundle, sign_release(...))
"""

from __future__ import annotations

import errno
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bundles.archive import tar
from bundles.archive.chunks import CHUNK_BYTES, ChunkHasher, blob_name
from bundles.archive.layout import LAYOUT_DATA, Layout, Member, carried, index_json
from bundles.archive.parts import Part, finals, opened, require_room
from bundles.archive.reader import Archive, read_head
from bundles.archive.region import REGION_BYTES, pack_region
from bundles.archive.volumes import Cut
from bundles.lock import Inline, Lock, LockedBlob
from bundles.sources.fetch import described
from registry.errors import DefinitionError, DryportError, MediaError, SiteError
from registry.oci.digest import Digest
from registry.progress import Meter, Progress
from registry.store import durable

Fetch = Callable[[LockedBlob, int], AbstractContextManager[Iterator[bytes]]]
"""Gives a blob's bytes from its origin, from a byte on; whoever calls it checks them."""

READ_BYTES = 1 << 20
PARALLEL = 4
"""Blobs in flight: waiting for sources overlaps with hashing, and a disk is still written in long stretches."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did."""

    bundle: Path
    index: Digest
    size: int
    content: int
    """Bytes of distinct blobs, the carried lock among them."""
    fetched: int
    """Bytes taken from sources by this run; the rest of the content was in the part of an earlier one."""
    unchanged: bool
    """The destination already was the bundle of this lock; nothing was written."""


def build(
    lock: Lock, destination: Path, fetch: Fetch, progress: Progress, *, volume_bytes: int | None = None
) -> BuildReport:
    """Make the bundle that `lock` describes at `destination`, as one file or as volumes of at most so many bytes.

    Raises DefinitionError `source-changed` if a blob is not what was locked, SiteError `bundle-exists`, `space-short`,
    `build-running` or `write-failed`, and whatever `fetch` raises. The part stays for the next run.
    """
    lock = carried(lock)
    layout = Layout.of_lock(lock)
    content = sum(member.size for member in layout.blobs)
    if index := _already_there(lock, layout, destination, volume_bytes):
        return BuildReport(destination, index, layout.size, content, 0, unchanged=True)
    with _on_this_machine(destination):
        require_room(destination, finals(destination, layout.size, volume_bytes), hole=REGION_BYTES)
    with _on_this_machine(destination), opened(destination, layout.size, volume_bytes) as part:
        builder = _Builder(lock, layout, part, fetch, destination)
        builder.prepare()
        with progress.meter(f"build {destination.name}", content) as meter:
            chunks = builder.place_all(meter)
        table = layout.table(chunks).encode()
        index = Digest.of(index_bytes := index_json(lock, Digest.of(table)))
        final = layout.renamed(Digest.of(table))
        for member, data in (
            (final.members[0], LAYOUT_DATA),
            (final.index, index_bytes),
            (final.sums, final.sums_bytes(index_bytes)),
            (final.table_member, table),
        ):
            if len(data) != member.size:
                raise RuntimeError(f"{member.name} was planned with another size")
            part.write(member.offset, data)
        builder.write_gaps(final)
        part.publish(index)
    return BuildReport(destination, index, layout.size, content, builder.fetched, unchanged=False)


def sign_in_place(bundle: Path, files: Mapping[str, bytes]) -> None:
    """Put the signed metadata into the bundle's region; nothing else of the file is touched.

    A crash in between leaves a region that no reader accepts, and that can be signed again. Raises MediaError if the
    file is no bundle, TrustError `region-full`.
    """
    region = pack_region(files)
    with read_head(bundle, judge_region=False) as head, _on_this_machine(bundle):
        head.region.update(files)  # a delta's own says what lies where
        Archive(head)
        file, at = head.medium.file_at(head.region_offset)
        durable.overwrite(file, at, region)


class _Builder:
    """One run over one part; `place_all` works on several blobs at a time."""

    def __init__(self, lock: Lock, layout: Layout, part: Part, fetch: Fetch, destination: Path) -> None:
        self.layout, self.part, self.fetch, self.destination = layout, part, fetch, destination
        self.fetched = 0
        self._blobs = {blob_name(blob.digest): blob for blob in lock.blobs()}
        self._refs: dict[Digest, str] = {}
        for artifact in lock.artifacts:
            for blob in (artifact.root, *artifact.manifests, *artifact.blobs):
                self._refs.setdefault(blob.digest, artifact.ref)
        self._stop = threading.Event()
        self._counting = threading.Lock()

    def prepare(self) -> None:
        """Make the region empty; a part whose region holds anything else came from elsewhere and is begun anew."""
        empty = pack_region({})
        seen = self.part.read(self.layout.region_offset, REGION_BYTES)
        if any(seen[tar.BLOCK :]):
            self.part.clear()
        self.part.write(self.layout.region_offset, empty[: tar.BLOCK])
        self.write_gaps(self.layout)

    def write_gaps(self, layout: Layout) -> None:
        """Write all headers and paddings that are not there yet."""
        for offset, data, _ in layout.gaps():
            if self.part.read(offset, len(data)) != data:
                self.part.write(offset, data)

    def place_all(self, meter: Meter) -> dict[str, tuple[str, ...]]:
        """Bring every blob to its place and return the chunk digests of those that are larger than a chunk."""
        largest_first = sorted(self.layout.blobs, key=lambda member: -member.size)
        chunks: dict[str, tuple[str, ...]] = {}
        failures: list[DryportError] = []
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="build") as pool:
            jobs = {pool.submit(self._place, member, meter): member for member in largest_first}
            try:
                for job in as_completed(jobs):
                    try:
                        found = job.result()
                    except DefinitionError as error:  # the other blobs are still worth having: the part keeps them
                        failures.append(error)
                    else:
                        if found is not None:
                            chunks[jobs[job].name] = found
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        if len(failures) > 1:
            raise DefinitionError(
                "sources-failed",
                f"{len(failures)} blobs could not be taken from their sources",
                findings=sorted(failures, key=lambda one: one.where),
                hint="mend the sources or lock again; what was right is kept for the next build",
            )
        if failures:
            raise failures[0]
        return chunks

    def _place(self, member: Member, meter: Meter) -> tuple[str, ...] | None:
        blob = self._blobs[member.name]
        ref = self._refs[blob.digest]
        hasher = self._kept(member)
        meter.advance(hasher.count, ref)
        if hasher.count < member.size or hasher.digest != blob.digest:
            try:
                hasher = self._fetch(member, blob, hasher, meter)
            except _OtherBytesError:
                if not hasher.count:
                    raise
                # What an earlier run left was not the blob's beginning: begin anew, once.
                meter.advance(-member.size, ref)
                hasher = self._fetch(member, blob, ChunkHasher(member.size), meter)
        return hasher.chunks

    def _kept(self, member: Member) -> ChunkHasher:
        """Return the hashes of what an earlier run left in the member's place: all of it, or a number of whole chunks.

        Nothing tells whether a beginning is the right one before the end is there: the blob's digest judges both. The
        last chunk that holds anything may be half written; a run of zeros behind it was never written.
        """
        hasher = ChunkHasher(member.size)
        sound = hasher.copy()
        for begin in range(0, member.size, CHUNK_BYTES):
            if not self._holds(member.offset + begin, member.end):
                break
            before, is_written = hasher.copy(), False
            for at in range(begin, min(begin + CHUNK_BYTES, member.size), READ_BYTES):
                self._check_stop()
                length = min(READ_BYTES, begin + CHUNK_BYTES - at, member.size - at)
                with _on_this_machine(self.destination):
                    data = self.part.read(member.offset + at, length)
                is_written = is_written or data.count(0) < length
                hasher.update(data)
            if is_written:
                sound = before
        is_whole = hasher.count == member.size and blob_name(hasher.digest) == member.name
        return hasher if is_whole else sound

    def _holds(self, begin: int, end: int) -> bool:
        """Say whether anything was written there, but for headers: those share the blocks at a member's ends."""
        inner = -(-begin // tar.ALIGNMENT) * tar.ALIGNMENT, end // tar.ALIGNMENT * tar.ALIGNMENT
        return inner[0] >= inner[1] or self.part.has_data(inner[0], inner[1] - inner[0])

    def _fetch(self, member: Member, blob: LockedBlob, begun: ChunkHasher, meter: Meter) -> ChunkHasher:
        hasher, start = begun.copy(), begun.count
        ref = self._refs[blob.digest]
        try:
            with self._open(blob, start) as blocks:
                for block in blocks:
                    self._check_stop()
                    if hasher.count + len(block) > blob.size:
                        raise self._changed(blob, f"more than {blob.size} bytes")
                    with _on_this_machine(self.destination):
                        self.part.write(member.offset + hasher.count, block)
                    hasher.update(block)
                    meter.advance(len(block), ref)
        except DefinitionError as error:  # a source tells of itself; which artefact it was for is known here
            raise _for(ref, error) from error
        except OSError as error:
            raise DefinitionError(
                "source-unreadable",
                f"a source does not give its bytes: {error}",
                where=self._origin(blob),
                hint="see that the source is there and readable, then build again: it goes on where this one stopped",
            ) from error
        with self._counting:
            self.fetched += hasher.count - start
        if hasher.count != blob.size or hasher.digest != blob.digest:
            raise self._changed(blob, f"{hasher.digest}, {hasher.count} bytes")
        return hasher

    @contextmanager
    def _open(self, blob: LockedBlob, start: int) -> Iterator[Iterator[bytes]]:
        if isinstance(blob.origin, Inline):
            yield iter([blob.origin.text.encode()[start:]])
        else:
            with self.fetch(blob, start) as blocks:
                yield blocks

    def _origin(self, blob: LockedBlob) -> str:
        return f"{self._refs[blob.digest]}: {described(blob)}"

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise SiteError("build-stopped", "another blob's failure stopped the build")

    def _changed(self, blob: LockedBlob, seen: str) -> _OtherBytesError:
        return _OtherBytesError(
            "source-changed",
            "a source no longer has the bytes that were locked",
            where=self._origin(blob),
            expected=f"{blob.digest}, {blob.size} bytes",
            seen=seen,
            hint="if the change is meant, lock again: dryport bundle lock bundle.yaml; if not, restore the source",
        )


class _OtherBytesError(DefinitionError):
    """All bytes came, and they are not the blob's."""


def _for(ref: str, error: DefinitionError) -> DefinitionError:
    where = error.where if error.where.startswith(ref) else f"{ref}: {error.where}"
    return type(error)(
        error.reference,
        error.message,
        where=where,
        expected=error.expected,
        seen=error.seen,
        hint=error.hint,
        findings=error.findings,
    )


def _already_there(lock: Lock, layout: Layout, destination: Path, volume_bytes: int | None) -> Digest | None:
    """Return the index digest if the destination is whole in all but blob bytes, and made from this very lock.

    Raises SiteError if another build could not bring back what is there: a signed bundle, or no bundle at all.
    """
    is_replaceable, seen = False, "a signed bundle of another lock"
    try:
        with read_head(destination) as head:
            is_hidden = (
                volume_bytes is not None and head.medium.volumes is None
            )  # by volumes, which no reader would see
            is_replaceable = not head.is_signed and not is_hidden
            seen = "a bundle in one file" if is_hidden else seen
            archive = Archive(head)
            same = [(entry.name, entry.size, entry.offset) for entry in archive.table.members] == [
                (member.name, member.size, member.offset) for member in layout.blobs
            ]
            is_cut_so = head.medium.slices == (Cut.of(layout.size, volume_bytes).slices if volume_bytes else None)
            if same and archive.delta is None and is_cut_so and head.index == index_json(lock, archive.table_digest):
                return Digest.of(head.index)
    except MediaError as error:
        if error.reference == "bundle-missing":
            return None
        if error.reference == "medium-unreadable":
            hint = "give another --out, or run it as the user whom this one belongs to"
            raise SiteError("write-failed", error.message, where=str(destination), hint=hint) from error
        seen = error.message
    if not is_replaceable:
        raise SiteError(
            "bundle-exists",
            "there is something else already, and a build does not replace it",
            where=str(destination),
            expected="nothing, an unsigned bundle, or the bundle of this lock",
            seen=seen,
            hint=f"give another --out; or, if nobody needs it: rm {shlex.quote(str(destination))}",
        )
    return None


@contextmanager
def _on_this_machine(destination: Path) -> Iterator[None]:
    """Turn what the operating system says while writing into the error of this machine."""
    try:
        yield
    except BlockingIOError as error:
        raise SiteError(
            "build-running",
            "another build writes the same file",
            where=str(destination),
            hint="wait for it, or give another --out",
        ) from error
    except OSError as error:
        short = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        raise SiteError(
            "space-short" if short else "write-failed",
            f"the bundle cannot be written: {error.strerror}",
            where=str(destination),
            hint="make room or give another --out; the next build goes on where this one stopped",
        ) from error
