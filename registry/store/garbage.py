"""What of one repository nothing reaches any more.

A tag reaches its manifest; a manifest its blobs and children, there or not; and what is reached, all that refers to
it. A manifest that somebody looked at within its time counts as if it had a tag, and so does a blob within its lease.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, exists, select, text

from registry.oci.digest import Digest
from registry.store.changes import batches
from registry.store.files import Files
from registry.store.policy import Rules
from registry.store.schema import contents, holdings, manifests, mentions, tags

_DAY = 86400.0
_SUSPECTS = text("""
SELECT name FROM repositories WHERE id IN (
    SELECT repository FROM manifests WHERE dead IS NULL AND NOT EXISTS (
        SELECT 1 FROM tags WHERE tags.repository = manifests.repository AND tags.digest = manifests.digest)
    UNION
    SELECT repository FROM holdings WHERE dead IS NULL AND NOT EXISTS (
        SELECT 1 FROM mentions JOIN manifests
        ON manifests.repository = mentions.repository AND manifests.digest = mentions.manifest
        WHERE mentions.repository = holdings.repository AND mentions.target = holdings.digest
        AND manifests.dead IS NULL)
) ORDER BY name""")


@dataclass
class Garbage:
    """Digests that can go, and how many bytes they are."""

    manifests: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    size: int = 0
    untagged_seconds: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        return not self.manifests and not self.blobs


def suspects(connection: Connection) -> Sequence[str]:
    """Return the repositories that may have garbage: a manifest without a tag, or a blob that no manifest names."""
    return list(connection.scalars(_SUSPECTS))


def find(connection: Connection, files: Files, number: int, rules: Rules, lease: float) -> Garbage:
    """Return a repository's garbage, as this connection sees it."""
    found = Garbage()
    sizes: dict[str, int] = {}
    if rules.untagged_days is not None:
        found.untagged_seconds = max(lease, rules.untagged_days * _DAY)
        found.manifests, sizes = _unreached(connection, files, number, found.untagged_seconds)
    blobs = _unmentioned(connection, number, found.manifests)
    found.blobs = {digest for digest in blobs if not _is_leased(files, digest, lease)}
    found.size = sum(sizes[digest] for digest in found.manifests) + sum(blobs[digest] for digest in found.blobs)
    return found


def was_used_since(files: Files, found: Garbage, lease: float) -> bool:
    """Say whether somebody looked at something of it after it was found."""
    return any(_is_leased(files, digest, found.untagged_seconds) for digest in found.manifests) or any(
        _is_leased(files, digest, lease) for digest in found.blobs
    )


def _unreached(connection: Connection, files: Files, number: int, seconds: float) -> tuple[set[str], dict[str, int]]:
    alive = (manifests.c.repository == number) & manifests.c.dead.is_(None)
    rows = connection.execute(select(manifests.c.digest, manifests.c.subject, manifests.c.size).where(alive)).all()
    edges: dict[str, list[str]] = {}
    for row in rows:
        if row.subject:
            edges.setdefault(row.subject, []).append(row.digest)
    children = (
        select(mentions.c.manifest, mentions.c.target)
        .join(manifests, (manifests.c.repository == mentions.c.repository) & (manifests.c.digest == mentions.c.target))
        .where(alive)
    )
    for parent, child in connection.execute(children):
        edges.setdefault(parent, []).append(child)
    tagged = connection.scalars(select(tags.c.digest).distinct().where(tags.c.repository == number))
    reached = _follow(set(tagged), edges)
    lost = {row.digest: row.size for row in rows if row.digest not in reached}
    looked_at = {digest for digest in lost if _is_leased(files, digest, seconds)}
    return set(lost) - _follow(looked_at, edges), lost


def _follow(roots: set[str], edges: dict[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        digest = todo.pop()
        if digest not in seen:
            seen.add(digest)
            todo += edges.get(digest, ())
    return seen


def _unmentioned(connection: Connection, number: int, gone: set[str]) -> dict[str, int]:
    """Return the blobs, with their sizes, that no manifest but those of `gone` names."""
    by_living = exists(
        select(mentions.c.target)
        .join(
            manifests, (manifests.c.repository == mentions.c.repository) & (manifests.c.digest == mentions.c.manifest)
        )
        .where(mentions.c.repository == number, mentions.c.target == holdings.c.digest, manifests.c.dead.is_(None))
    )
    held = (
        select(holdings.c.digest, contents.c.size)
        .join(contents)
        .where(holdings.c.repository == number, holdings.c.dead.is_(None))
    )
    found = {row.digest: row.size for row in connection.execute(held.where(~by_living))}
    for batch in batches(sorted(gone)):
        below = select(mentions.c.target).where(mentions.c.repository == number, mentions.c.manifest.in_(batch))
        for part in batches(sorted(set(connection.scalars(below)))):
            named = select(mentions.c.target, mentions.c.manifest).where(
                mentions.c.repository == number, mentions.c.target.in_(part)
            )
            kept = {row.target for row in connection.execute(named) if row.manifest not in gone}
            for row in connection.execute(held.where(holdings.c.digest.in_(set(part) - kept))):
                found[row.digest] = row.size
    return found


def _is_leased(files: Files, digest: str, seconds: float) -> bool:
    return files.is_leased(files.path(Digest.parse(digest)), seconds)
