"""A whole bundle out of damaged copies: each chunk from whichever copy has it, as the signed table proves.

The copies are opened read-only and stay as they are. Of a bundle in volumes only those that are damaged or missing are
written anew; everything but content follows from the signed head, so that one good head among the copies will do.

>>> mended = repair(Path("plane.tar"), [Path("/mnt/other/plane.tar")], state, Path("mended/plane.tar"), now=now, ...)
>>> mended.taken
8388608
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bundles.archive.layout import LAYOUT_DATA
from bundles.archive.medium import Medium
from bundles.archive.reader import Archive
from bundles.archive.region import pack_region
from bundles.archive.volumes import HEADER_BYTES, Cut, Header
from bundles.trust.verify import TrustState
from bundles.verify import Look, look
from registry.errors import DryportError, MediaError
from registry.oci.digest import Digest
from registry.progress import Meter, Progress
from registry.store import durable


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was written, and how much of it the damaged bundle itself did not have."""

    files: tuple[Path, ...]
    """None, if nothing was damaged."""
    taken: int
    """Bytes of content that came from other copies."""


def repair(
    bundle: Path, others: Sequence[Path], state: TrustState, out: Path, *, now: datetime, progress: Progress
) -> Repaired:
    """Write what is damaged of a bundle anew: the file itself to `out`, or its volumes into that folder.

    Raises MediaError `repair-incomplete`, with every stretch that no copy has, and then nothing has been written;
    TrustError if no copy's head is one that the site trusts.
    """
    with ExitStack() as stack:
        seen = _trusted([bundle, *others], state, now, stack)
        archive = seen.archive
        media = [stack.enter_context(closing(one)) for path in (bundle, *others) if (one := _opened(path))]
        own = next((one for one in media if one.path == bundle), None)
        cut = own.volumes.cut if own and own.volumes else None
        pieces = _Pieces(archive, media, own)
        spans = cut.slices if cut else ((0, archive.layout.size),)
        with progress.meter(f"look through {bundle.name}", archive.layout.size) as meter:
            damaged = [number for number, span in enumerate(spans, 1) if pieces.is_damaged(*span, meter)]
        if own and cut is None and own.size != archive.layout.size:
            damaged = [1]
        if own and cut:
            index = Digest.of(archive.head.index)
            damaged = sorted({*damaged, *own.unexpected(index, archive.layout.size)})
        files = [_place(own, cut, out, number) for number in damaged]
        with progress.meter("mend", sum(spans[number - 1][1] - spans[number - 1][0] for number in damaged)) as meter:
            _write(archive, pieces, cut, list(zip(damaged, files, strict=True)), meter)
        return Repaired(tuple(files), pieces.taken)


def _trusted(paths: Sequence[Path], state: TrustState, now: datetime, stack: ExitStack) -> Look:
    """Return the first copy whose head is signed by whom the site trusts, and whose table is whole."""
    faults: list[DryportError] = []
    for path in paths:
        try:
            return stack.enter_context(closing(look(path, state, now=now, is_whole=False)))
        except DryportError as error:
            faults.append(error)
    raise faults[0]


def _opened(path: Path) -> Medium | None:
    try:
        return Medium(path, is_whole=False)
    except MediaError:
        return None


def _place(own: Medium | None, cut: Cut | None, out: Path, number: int) -> Path:
    return out / cut.name(own.volumes.base, number) if cut and own and own.volumes else out


def _write(
    archive: Archive, pieces: _Pieces, cut: Cut | None, wanted: Sequence[tuple[int, Path]], meter: Meter
) -> None:
    """Write files whole, and publish them when all of them are right."""
    size = archive.layout.size
    with ExitStack() as stack:
        parts = []
        for number, path in wanted:
            begin, end = cut.slice(number) if cut else (0, size)
            before = HEADER_BYTES if cut else 0
            part = stack.enter_context(durable.Preallocated(path, before + end - begin))
            part.clear()
            if cut:
                part.write(0, Header.of(cut, number, Digest.of(archive.head.index)).encode())
            for at, data in pieces.between(begin, end, meter):
                part.write(before + at - begin, data)
            parts.append(part)
        if pieces.lost:
            for part in parts:
                part.part.unlink(missing_ok=True)
            raise MediaError(
                "repair-incomplete",
                f"{len(pieces.lost)} stretch(es) are damaged in every copy",
                findings=pieces.lost,
                hint="name another copy: --from OTHER; nothing was written",
            )
        for part in parts:
            part.publish()


class _Pieces:
    """All bytes of the tar, each from what proves it."""

    def __init__(self, archive: Archive, media: Sequence[Medium], own: Medium | None) -> None:
        self._archive, self._media, self._own = archive, media, own
        self.lost: list[MediaError] = []
        self.taken = 0

    def is_damaged(self, begin: int, end: int, meter: Meter) -> bool:
        """Say whether the bundle itself lacks anything between two places."""
        found = False
        for at, data in self._fixed():
            low, high = max(at, begin), min(at + len(data), end)
            if low < high and _read(self._own, low, high - low) != data[low - at : high - at]:
                found = True
        for at, length, proof in self._chunks():
            low, high = max(at, begin), min(at + length, end)
            if low >= high:
                continue
            meter.advance(high - low)
            if _proves(proof, _read(self._own, at, length)):
                continue
            # A chunk may lie across the edge of two volumes: one of them may still be right.
            right, _ = self._proven(at, length, proof)
            found = found or right is None or _read(self._own, low, high - low) != right[low - at : high - at]
        return found

    def between(self, begin: int, end: int, meter: Meter) -> Iterator[tuple[int, bytes]]:
        """Yield every byte between two places; what no copy has is noted in `lost`."""
        for at, data in self._fixed():
            low, high = max(at, begin), min(at + len(data), end)
            if low < high:
                yield low, data[low - at : high - at]
        for at, length, proof in self._chunks():
            low, high = max(at, begin), min(at + length, end)
            if low >= high:
                continue
            found, is_own = self._proven(at, length, proof)
            meter.advance(high - low)
            if found is None:
                self.lost.append(_lost(at, length))
                continue
            self.taken += 0 if is_own else high - low
            yield low, found[low - at : high - at]

    def _fixed(self) -> Iterator[tuple[int, bytes]]:
        """Yield what follows from the signed head: headers, gaps, the head's members, the region."""
        archive, layout = self._archive, self._archive.layout
        for offset, data, _ in layout.gaps():
            yield offset, data
        yield layout.region_offset, pack_region(archive.head.region)
        yield layout.members[0].offset, LAYOUT_DATA
        yield layout.index.offset, archive.head.index
        yield layout.sums.offset, layout.sums_bytes(archive.head.index)
        yield layout.table_member.offset, archive.table.encode()

    def _chunks(self) -> Iterator[tuple[int, int, str]]:
        """Yield place, length and sha256 of every chunk of content."""
        for entry in self._archive.entries:
            for number, proof in enumerate(entry.proofs):
                begin, length = entry.chunk_range(number)
                yield entry.offset + begin, length, proof

    def _proven(self, at: int, length: int, proof: str) -> tuple[bytes | None, bool]:
        """Return a chunk from whichever copy has it, and whether that is the bundle itself."""
        for medium in self._media:
            data = _read(medium, at, length)
            if _proves(proof, data):
                return data, medium is self._own
        return None, False


def _lost(at: int, length: int) -> MediaError:
    return MediaError(
        "chunk-lost",
        "no copy has these bytes",
        where=f"bytes {at}-{at + length - 1} of the bundle",
        hint="name another copy: --from OTHER",
    )


def _proves(proof: str, data: bytes | None) -> bool:
    return data is not None and Digest.of(data).hex == proof


def _read(medium: Medium | None, at: int, length: int) -> bytes | None:
    try:
        return medium.read(at, length) if medium else None
    except MediaError:
        return None
