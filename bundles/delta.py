"""A delta: a release without the blobs that its site has already, and the proof before use that the site has them.

All metadata and documents go along, so it is judged, listed and compared like its full bundle. It is written unsigned;
`dryport bundle sign` signs what it leaves out beside index.json, under the release's own sequence.

>>> report = make(full, Base(kind="Release", ...), lambda digest: digest in held, Path("delta.tar"), progress)
>>> report.left_out
9437201
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bundles.archive.artifacts import carried_artifacts
from bundles.archive.chunks import blob_name, digest_in
from bundles.archive.delta import Base, Delta
from bundles.archive.layout import LAYOUT_DATA, Layout
from bundles.archive.parts import opened
from bundles.archive.reader import Archive
from bundles.archive.region import DELTA, pack_region
from registry.content import Content
from registry.errors import MediaError, SiteError, UsageError
from registry.oci.digest import Digest
from registry.progress import Progress

if TYPE_CHECKING:
    from registry.store.store import Store

Find = Callable[[Digest], Content | None]
"""Opens a blob that a site holds, None if it does not."""


@dataclass(frozen=True, slots=True)
class DeltaReport:
    """What a delta came to."""

    size: int
    """Of the file."""
    carried: int
    """Bytes of the blobs in it."""
    left_out: int
    """Bytes of the blobs that are not."""
    count: int
    """How many are not."""


def make(
    full: Archive,
    base: Base,
    holds: Callable[[Digest], bool],
    out: Path,
    progress: Progress,
    *,
    volume_bytes: int | None = None,
) -> DeltaReport:
    """Write what `full` has and a site does not, every byte proven on its way.

    Raises UsageError `delta-of-delta` or `delta-empty`, SiteError `bundle-exists`, MediaError for a damaged bundle.
    """
    if full.delta is not None:
        hint = "give the full bundle of the release"
        raise UsageError("delta-of-delta", "a delta is made from a full bundle", where=str(full.medium.path), hint=hint)
    if out.exists():
        hint = "give another --out, or remove it if nobody needs it"
        raise SiteError("bundle-exists", "there is something else already", where=str(out), hint=hint)
    names = {name for name in _layers(full) if holds(digest_in(name))}
    if not names:
        hint = "carry the full bundle"
        raise UsageError("delta-empty", "the base has no blob of this release", where=base.name, hint=hint)
    left = tuple(sorted(digest_in(name).hex for name in names))
    list_bytes = Delta(index=str(Digest.of(full.head.index)), base=base, leftOut=left).encode()
    region = pack_region({DELTA: list_bytes})
    kept = [entry for entry in full.table.members if entry.name not in names]
    table = full.table.encode()
    layout = Layout.of_table(
        len(full.head.index), blob_name(full.table_digest), len(table), [(entry.name, entry.size) for entry in kept]
    )
    carried = sum(entry.size for entry in kept)
    with opened(out, layout.size, volume_bytes) as part, progress.meter(f"write {out.name}", carried) as meter:
        part.clear()
        for offset, data, _ in layout.gaps():
            part.write(offset, data)
        part.write(layout.region_offset, region.rstrip(b"\0"))  # the pad stays a hole
        for member, data in (
            (layout.members[0], LAYOUT_DATA),
            (layout.index, full.head.index),
            (layout.sums, layout.sums_bytes(full.head.index)),
            (layout.table_member, table),
        ):
            part.write(member.offset, data)
        for entry, member in zip(kept, layout.blobs, strict=True):
            for number in range(len(entry.proofs)):
                chunk = full.read_chunk(entry, number)
                part.write(member.offset + entry.chunk_range(number)[0], chunk)
                meter.advance(len(chunk), entry.name)
        part.publish(Digest.of(full.head.index))
    whole = sum(entry.size for entry in full.table.members)
    return DeltaReport(layout.size, carried, whole - carried, len(names))


def _layers(full: Archive) -> set[str]:
    """Return the members that may stay at home: no manifest, and nothing that is read to judge or to plan."""
    layers: set[str] = set()
    documents: set[str] = set()
    for artifact in carried_artifacts(full):
        documents.update(blob_name(digest) for digest in artifact.manifests)
        for blob in artifact.blobs.values():
            (documents if blob.media_type.endswith("+json") else layers).add(blob_name(blob.digest))
    return layers - documents


def of_store(store: Store) -> Find:
    """Return how to open any blob that a store holds, whichever repository shows it."""

    def find(digest: Digest) -> Content | None:
        holders = store.holders(digest, 1)
        return store.blob(holders[0], digest) if holders else None

    return find


def require_base(archive: Archive, find: Find | None) -> None:
    """Look for everything that a delta leaves out. Raises MediaError `delta-base-missing`, with each blob of it."""
    if archive.delta is None:
        return
    missing = [entry for entry in archive.left_out.values() if not _is_there(find, entry.digest, entry.size)]
    if not missing:
        return
    base = archive.delta.base
    raise MediaError(
        "delta-base-missing",
        f"{len(missing)} of {len(archive.left_out)} blobs that the delta leaves out are not here",
        where=str(archive.medium.path),
        expected=f"{base.name} ({base.digest})",
        seen=f"{sum(entry.size for entry in missing)} bytes of it are absent",
        findings=[
            MediaError(
                "delta-blob-missing",
                "neither in the delta nor in the store",
                where=f"sha256:{entry.digest.hex}, {entry.size} bytes",
                hint="import the base first, or use the full bundle",
            )
            for entry in missing
        ],
        hint="import the base into the store first, or use the full bundle; nothing of the delta was used",
    )


def _is_there(find: Find | None, digest: Digest, size: int) -> bool:
    content = find(digest) if find else None
    if content is None:
        return False
    try:
        return content.size == size
    finally:
        content.close()
