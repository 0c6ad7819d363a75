"""Reading a whole bundle and naming every damaged stretch of it, in one report.

Threads read and hash, one for each core and two at least, so that a disk is never waited for by all; each holds one
chunk. Neighbouring damaged chunks of a member are one finding.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bundles.archive.artifacts import owners
from bundles.archive.chunks import TableEntry
from bundles.archive.medium import Medium
from bundles.archive.reader import Archive
from registry.errors import MediaError
from registry.oci.digest import Digest
from registry.progress import Meter, Progress

THREADS = min(8, max(2, len(os.sched_getaffinity(0))))
"""Beyond eight no disk that bundles come on feeds them."""
_NAMED_REFS = 5


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of the file whose bytes are not the signed ones, or cannot be read."""

    member: TableEntry
    begin: int
    end: int
    """Offsets in the file; `end` is the first byte behind."""
    cause: str

    def error(self, medium: Medium, refs: list[str]) -> MediaError:
        """Return the finding: byte range, member, artefacts."""
        more = f" and {len(refs) - _NAMED_REFS} more" if len(refs) > _NAMED_REFS else ""
        used_by = f"{', '.join(refs[:_NAMED_REFS])}{more}" if refs else "a manifest that is damaged itself"
        return MediaError(
            "blob-damaged",
            self.cause,
            where=f"{medium.where(self.begin, self.end)}, in {self.member.name}, needed by {used_by}",
        )


def check_all(archive: Archive, progress: Progress) -> None:
    """Read every byte of the file. Raises MediaError `bundle-damaged` that holds every finding, largest first."""
    archive.check_structure()
    with progress.meter(f"verify {archive.medium.path.name}", sum(one.size for one in archive.entries)) as meter:
        damages = list(_merged(_damaged(archive, meter)))
    if not damages:
        return
    needed_by = owners(archive)
    findings = [one.error(archive.medium, needed_by.get(one.member.name, [])) for one in damages]
    affected = sorted({ref for one in damages for ref in needed_by.get(one.member.name, [])})
    raise MediaError(
        "bundle-damaged",
        f"{len(damages)} damaged stretch(es), {sum(one.end - one.begin for one in damages)} bytes in doubt",
        where=str(archive.medium.path),
        expected=f"the bundle with index {Digest.of(archive.head.index)}",
        seen=f"damage in {', '.join(affected[:_NAMED_REFS]) or 'unknown artefacts'}"
        + (f" and {len(affected) - _NAMED_REFS} more" if len(affected) > _NAMED_REFS else ""),
        findings=findings,
        hint="copy the bundle from its origin again, or use another medium; nothing of it was used",
    )


def _damaged(archive: Archive, meter: Meter) -> Iterator[Damage]:
    def check(job: tuple[TableEntry, int]) -> Damage | None:
        entry, number = job
        begin, length = entry.chunk_range(number)
        try:
            archive.read_chunk(entry, number)
        except MediaError as error:
            return Damage(entry, entry.offset + begin, entry.offset + begin + length, error.message)
        finally:
            meter.advance(length, entry.name)
        return None

    jobs = ((entry, number) for entry in archive.entries for number in range(len(entry.proofs)))
    with ThreadPoolExecutor(THREADS, thread_name_prefix="verify") as pool:
        # In batches: `map` over all chunks of a large bundle would queue them all at once.
        while batch := list(itertools.islice(jobs, 64)):
            yield from (found for found in pool.map(check, batch) if found)


def _merged(damages: Iterable[Damage]) -> Iterator[Damage]:
    last: Damage | None = None
    for one in damages:
        if last and last.member is one.member and last.end == one.begin and last.cause == one.cause:
            last = Damage(last.member, last.begin, one.end, last.cause)
            continue
        if last:
            yield last
        last = one
    if last:
        yield last
