"""A bundle as the destination of `mirror copy`: locked from what the source has, built, and left for signing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from installer.cli.render import amount, typed
from registry.errors import UsageError

if TYPE_CHECKING:
    from installer.cli.mirror_ends import Ends
    from installer.cli.render import Console


def build_bundle(
    console: Console, ends: Ends, product: str | None, version: str | None, volume_bytes: int | None = None
) -> None:
    """Build the bundle. Raises UsageError, and what reading the source and building raise."""
    from bundles import mirrored  # noqa: PLC0415 - `--help` need not wait for it
    from bundles.archive import writer  # noqa: PLC0415
    from registry.mirror.copy import STREAMS, fault_of  # noqa: PLC0415
    from registry.mirror.graph import Walk  # noqa: PLC0415

    if not product or not version:
        raise UsageError("product-missing", "a bundle has a name and a version", hint="--product plane --version 1.0.0")
    path = ends.target.place.path
    with ends.source.source() as source, ThreadPoolExecutor(STREAMS) as pool:
        selection = ends.chosen(source)
        walk = Walk(source, fault_of(source), selection=selection, each=pool.map)
        graphs = walk.graphs(selection.repositories(source.repositories))
        if faults := [fault for graph in graphs for fault in graph.faults]:
            raise fault_of(source)(
                "copy-incomplete",
                f"{len(faults)} thing(s) are not at the source; no bundle was made",
                findings=faults,
                hint="mend the source, or leave them out with --only",
            )
        platforms = selection.platforms or mirrored.platforms(graphs, source)
        lock = mirrored.locked(graphs, ends.artefact, mirrored.Product(product, version, sorted(platforms)))
        report = writer.build(lock, path, mirrored.SourceFetch(source), console, volume_bytes=volume_bytes)
    value = {
        "source": str(ends.source.place),
        "destination": str(ends.target.place),
        "artifacts": len(lock.artifacts),
        "bytes": report.size,
        "fetched": report.fetched,
        "index": str(report.index),
        "unchanged": report.unchanged,
    }
    next_ = typed("dryport", "bundle", "sign", path)
    text = f"{path}: {len(lock.artifacts)} artefacts, {amount(report.size)}, not signed yet\nnext: {next_} ..."
    console.result("MirrorBundled", value, text)
