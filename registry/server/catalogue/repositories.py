"""Repositories and their tags."""

from __future__ import annotations

import re
from collections.abc import Sequence

from registry.oci.manifest import Manifest
from registry.server.catalogue.kinds import fallback_kind, kind
from registry.server.catalogue.viewer import PAGE_ROWS, Name, NotVisibleError, Page, Shown, Viewer, cut

_RUNS = re.compile(r"[0-9]{1,18}|[^0-9]+")
_NEWEST = 3
_MOST_CHILDREN = 50


class RepositoryRow(Shown):
    """A repository in a list."""

    name: str
    kind: str
    tags: int
    newest: Sequence[str]


class TagRow(Shown):
    """A tag, and what it names."""

    name: str
    kind: str
    digest: str
    media_type: str
    size: int
    """Bytes of everything below it that is here."""
    platforms: Sequence[str] = ()


class RepositoryView(Shown):
    """A repository with a page of its tags, the newest version first."""

    name: str
    tags: Page[TagRow]


def repositories(viewer: Viewer, query: str = "", page: int = 1, size: int = PAGE_ROWS) -> Page[RepositoryRow]:
    """Return the repositories whose name holds every word of `query`."""
    words = query.lower().split()
    names = [name for name in viewer.repositories() if all(word in name for word in words)]
    shown, pages = cut(names, page, size)
    return Page(total=len(names), page=page, pages=pages, rows=[_row(viewer, name) for name in shown])


def repository(viewer: Viewer, name: str, query: str = "", page: int = 1, size: int = PAGE_ROWS) -> RepositoryView:
    """Return a repository. Raises NotVisibleError."""
    if not viewer.may_see(name) or not viewer.sources.has_repository(name):
        raise NotVisibleError
    tags = [tag for tag in versions(viewer, name) if query.lower() in tag.lower()]
    shown, pages = cut(tags, page, size)
    rows = [row for tag in shown if (row := _tag(viewer, name, tag))]
    return RepositoryView(name=name, tags=Page(total=len(tags), page=page, pages=pages, rows=rows))


def versions(viewer: Viewer, repository: str) -> list[str]:
    """Return a repository's tags but those that stand for referrers, the newest version first."""
    tags = [tag for tag in viewer.sources.tags(repository) if fallback_kind(tag) is None]
    return sorted(tags, key=version_order, reverse=True)


def version_order(tag: str) -> tuple[bool, tuple[tuple[int, int, str], ...], bool, str]:
    """Return what sorts tags as people count: 1.9 before 1.10, 2.0-rc1 before 2.0, words before versions."""
    stem, dash, rest = tag.removeprefix("v").partition("-")
    parts = tuple((1, int(run), "") if run[0] in "0123456789" else (0, 0, run) for run in _RUNS.findall(stem))
    return stem[:1].isdigit(), parts, not dash, rest


def size_below(viewer: Viewer, repository: str, manifest: Manifest) -> int:
    """Return the bytes of a manifest and of all below it, each content once; what is not here counts nothing."""
    sizes = {blob.digest: blob.size for blob in manifest.blobs}
    total = len(manifest.data)
    for child in manifest.children[:_MOST_CHILDREN]:
        if found := viewer.manifest(repository, child.digest):
            total += len(found.data)
            sizes |= {blob.digest: blob.size for blob in found.blobs}
    return total + sum(sizes.values())


def platform_name(platform: object) -> str:
    """Return `os/architecture/variant` of a descriptor's platform, or nothing for one that is none."""
    if not isinstance(platform, dict):
        return ""
    parts = [platform.get(part) for part in ("os", "architecture", "variant")]
    return "/".join(part for part in parts if isinstance(part, str) and part)


def _row(viewer: Viewer, name: str) -> RepositoryRow:
    tags = versions(viewer, name)
    first = _tag(viewer, name, tags[0]) if tags else None
    return RepositoryRow(name=name, kind=first.kind if first else "artifact", tags=len(tags), newest=tags[:_NEWEST])


def _tag(viewer: Viewer, repository: str, tag: str) -> TagRow | None:
    try:
        found = viewer.find(Name(repository, tag=tag))
    except (NotVisibleError, ValueError):
        return None  # gone since the list was made, or damaged: `registry scrub` tells which
    manifest = found.manifest
    return TagRow(
        name=tag,
        kind=kind(repository, manifest.media_type, manifest.artifact_type),
        digest=str(found.digest),
        media_type=manifest.media_type,
        size=size_below(viewer, repository, manifest),
        platforms=[name for child in manifest.children if (name := platform_name(child.platform))],
    )
