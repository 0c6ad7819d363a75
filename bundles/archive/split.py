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
from bundles.archive.volumes import find
from registry.errors import SiteError
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
        files = finals(folder / base, total, volume_bytes)
        for path in files:
            _require_free(path, archive, Digest.of(head.index))
        require_room(folder / base, files)
        with (
            opened(folder / base, total, volume_bytes) as part,
            progress.meter(f"split {bundle.name}", total) as meter,
        ):
            for offset, data in _everything(archive):
                part.write(offset, data)
                meter.advance(len(data))
            part.publish(Digest.of(head.index))
    return list(files)


def _require_free(path: Path, archive: Archive, index: Digest) -> None:
    """Raise SiteError for a file that is part of the medium itself, or of another bundle: it would be replaced.

    A volume of this very bundle is what a split that was cut off left; it is written again.
    """
    if not path.exists():
        return
    is_source = any(path.samefile(one) for one in archive.medium.files)
    if is_source or (found := find(path, is_whole=False)) is None or found.index != str(index):
        raise SiteError(
            "out-is-source" if is_source else "bundle-exists",
            "a medium is not changed while it is read" if is_source else "there is something else already",
            where=str(path),
            expected="nothing, or what an earlier split of this bundle left",
            hint="give another --out-dir",
        )


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
