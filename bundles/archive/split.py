"""A bundle that is there, cut into volumes: every byte proven on its way, the bundle itself untouched.

>>> split(Path("plane-1.0.0.tar"), Path("/mnt/sticks"), 4 << 30, progress)
[PosixPath('/mnt/sticks/plane-1.0.0.tar.001-of-003'), ...]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from bundles.archive.layout import HEAD_MEMBERS
from bundles.archive.parts import finals, opened, require_room
from bundles.archive.reader import Archive, read_head
from bundles.archive.region import REGION_BYTES
from bundles.archive.volumes import Cut
from registry.oci.digest import Digest
from registry.progress import Progress


def split(
    bundle: Path, folder: Path, volume_bytes: int, progress: Progress, *, folders: Iterable[Path] = ()
) -> list[Path]:
    """Write the volumes of a bundle, which itself may lie in others, and return their files. Raises MediaError."""
    with read_head(bundle, folders) as head:
        archive = Archive(head)
        base = archive.medium.volumes.base if archive.medium.volumes else bundle.name
        total = archive.layout.size
        cut = Cut.of(total, volume_bytes)
        require_room(folder / base, finals(folder / base, total, volume_bytes))
        with (
            opened(folder / base, total, volume_bytes) as part,
            progress.meter(f"split {bundle.name}", total) as meter,
        ):
            for offset, data in _everything(archive):
                part.write(offset, data)
                meter.advance(len(data))
            part.publish(Digest.of(head.index))
    return [folder / cut.name(base, number) for number in range(1, cut.count + 1)]


def _everything(archive: Archive) -> Iterator[tuple[int, bytes]]:
    """Yield all stretches of the tar with their places; content as its chunks prove it, the rest as it was compared."""
    for offset, data, _ in archive.layout.gaps():
        yield offset, data
    region = archive.layout.region_offset
    yield region, archive.medium.read(region, REGION_BYTES)
    for member in archive.layout.members[:HEAD_MEMBERS]:
        yield member.offset, archive.medium.read(member.offset, member.size)
    for entry in archive.entries:
        for number in range(len(entry.proofs)):
            yield entry.offset + entry.chunk_range(number)[0], archive.read_chunk(entry, number)
