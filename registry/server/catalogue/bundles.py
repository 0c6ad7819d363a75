"""Mounted bundles: what their signers said, proven before the server mounted them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from registry.content import Stated
from registry.server.catalogue.viewer import Shown, Viewer

_MOST_NAMES = 1000


class BundleView(Shown):
    """A mounted bundle and its release statement."""

    medium: str
    size: int
    product: str
    version: str
    sequence: int
    platforms: Sequence[str]
    issued: datetime
    best_before: datetime
    is_past_best: bool
    """Told, not judged: best-before counts when a bundle is imported."""
    index: str
    warnings: Sequence[str]
    repositories: Sequence[str]
    """Those that the caller may pull from."""


def bundles(viewer: Viewer) -> list[BundleView]:
    """Return the mounted bundles of which the caller may pull anything, in the order in which they are asked."""
    shown = []
    for source in viewer.sources.parts:
        said = source.statement if isinstance(source, Stated) else None
        names = [name for name in source.repositories() if viewer.may_see(name)] if said else []
        if said is None or not (names or viewer.is_admin):
            continue
        shown.append(
            BundleView(
                medium=said.medium,
                size=said.size,
                product=said.product,
                version=said.version,
                sequence=said.sequence,
                platforms=said.platforms,
                issued=said.issued,
                best_before=said.best_before,
                is_past_best=said.best_before < datetime.now(UTC),
                index=str(said.index),
                warnings=said.warnings,
                repositories=names[:_MOST_NAMES],
            )
        )
    return shown
