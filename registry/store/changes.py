"""Changes of the index, each inside a write transaction of the caller and after its files are durable.

What a change names comes back to life if it was dead: a manifest that is pushed while its blobs wait for collection
keeps them, and a manifest that comes back brings along everything below it and all that refers to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.sqlite import insert

from registry.oci.digest import Digest
from registry.oci.manifest import Manifest
from registry.store.faults import ImmutableTagError, QuotaExceededError, TagExistsError
from registry.store.policy import Rules
from registry.store.schema import contents, holdings, manifests, mentions, repositories, tags, uploads

BATCH = 500
"""How many digests one statement names; SQLite's limit is far above."""


def number_of(connection: Connection, repository: str) -> int | None:
    """Return a repository's number."""
    found: int | None = connection.execute(
        select(repositories.c.id).where(repositories.c.name == repository)
    ).scalar_one_or_none()
    return found


def numbered(connection: Connection, repository: str) -> int:
    """Return a repository's number; give it one if it has none."""
    number = number_of(connection, repository)
    if number is None:
        connection.execute(insert(repositories).values(name=repository))
        number = number_of(connection, repository)
    assert number is not None  # noqa: S101 - just inserted
    return number


def record_blob(connection: Connection, repository: str, digest: Digest, size: int) -> None:
    """Show a durable blob in a repository."""
    connection.execute(insert(contents).values(digest=str(digest), size=size).on_conflict_do_nothing())
    held = insert(holdings).values(repository=numbered(connection, repository), digest=str(digest))
    connection.execute(held.on_conflict_do_update(index_elements=["repository", "digest"], set_={"dead": None}))


def add_manifest(
    connection: Connection, repository: str, digest: Digest, manifest: Manifest, names: Iterable[str]
) -> None:
    """Record a durable manifest, what it names, and its tags."""
    number = numbered(connection, repository)
    connection.execute(insert(contents).values(digest=str(digest), size=len(manifest.data)).on_conflict_do_nothing())
    row = {
        "repository": number,
        "digest": str(digest),
        "media_type": manifest.media_type,
        "size": len(manifest.data),
        "subject": str(manifest.subject.digest) if manifest.subject else None,
        "artifact_type": manifest.artifact_type,
        "annotations": json.dumps(dict(manifest.annotations)) if manifest.subject else None,
    }
    connection.execute(
        insert(manifests)
        .values(row)
        .on_conflict_do_update(
            index_elements=["repository", "digest"], set_={"media_type": manifest.media_type}
        )  # the same bytes may be pushed as another type: the last one counts, as for tags
    )
    targets = {str(item.digest) for item in (*manifest.blobs, *manifest.children)}
    if targets:
        rows = [{"repository": number, "manifest": str(digest), "target": target} for target in sorted(targets)]
        connection.execute(insert(mentions).on_conflict_do_nothing(), rows)
    revive(connection, number, [str(digest)])
    set_tags(connection, number, str(digest), names)


def set_tags(connection: Connection, number: int, digest: str, names: Iterable[str]) -> None:
    """Let tags name a manifest; one that does already keeps its place in the order."""
    now = select(repositories.c.generation).where(repositories.c.id == number)
    sequence = connection.execute(now).scalar_one() + 1
    for name in names:
        tag = insert(tags).values(repository=number, name=name, digest=digest, sequence=sequence)
        connection.execute(
            tag.on_conflict_do_update(
                index_elements=["repository", "name"],
                set_={"digest": digest, "sequence": sequence},
                where=tags.c.digest != digest,
            )
        )


def revive(connection: Connection, number: int, digests: Sequence[str]) -> None:
    """Bring manifests back to life, with all below them and all that refers to them."""
    seen: set[str] = set()
    todo = list(digests)
    while todo:
        seen.update(todo)
        found: set[str] = set()
        for batch in batches(todo):
            below = select(mentions.c.target).where(mentions.c.repository == number, mentions.c.manifest.in_(batch))
            names = [*connection.scalars(below), *batch]
            for part in batches(names):
                connection.execute(
                    update(holdings)
                    .where(holdings.c.repository == number, holdings.c.digest.in_(part), holdings.c.dead.is_not(None))
                    .values(dead=None)
                )
                dead = select(manifests.c.digest).where(manifests.c.repository == number, manifests.c.dead.is_not(None))
                # Two questions: for one with "or", SQLite reads every manifest of the repository.
                woken = {*connection.scalars(dead.where(manifests.c.digest.in_(part)))}
                woken |= {*connection.scalars(dead.where(manifests.c.subject.in_(batch)))}
                for some in batches(sorted(woken)):
                    connection.execute(
                        update(manifests)
                        .where(manifests.c.repository == number, manifests.c.digest.in_(some))
                        .values(dead=None)
                    )
                found.update(woken)
        todo = sorted(found - seen)


def remove_tag(connection: Connection, number: int, name: str) -> bool:
    """Take a tag away, not what it names; say whether it was there."""
    gone = delete(tags).where(tags.c.repository == number, tags.c.name == name)
    return bool(connection.execute(gone).rowcount)


def remove_manifest(connection: Connection, number: int, digest: Digest) -> bool:
    """Take a manifest and the tags that name it away; say whether it was there to see."""
    gone = delete(manifests).where(
        manifests.c.repository == number, manifests.c.digest == str(digest), manifests.c.dead.is_(None)
    )
    return bool(connection.execute(gone).rowcount)


def remove_blob(connection: Connection, number: int, digest: Digest) -> bool:
    """Take a blob out of a repository; say whether it was there to see."""
    gone = delete(holdings).where(
        holdings.c.repository == number, holdings.c.digest == str(digest), holdings.c.dead.is_(None)
    )
    return bool(connection.execute(gone).rowcount)


def check_tags(
    connection: Connection, repository: str, digest: Digest, names: Iterable[str], rules: Rules, *, only_new: bool
) -> None:
    """Raise ImmutableTagError or TagExistsError if one of the tags names something else and may not be moved."""
    number = number_of(connection, repository)
    for name in names:
        here = (tags.c.repository == number) & (tags.c.name == name)
        seen = connection.execute(select(tags.c.digest).where(here)).scalar_one_or_none()
        if seen in (None, str(digest)):
            continue
        if rules.is_immutable(name):
            raise ImmutableTagError(repository, name)
        if only_new:
            raise TagExistsError(repository, name)


def check_removable(connection: Connection, repository: str, number: int, digest: Digest, rules: Rules) -> None:
    """Raise ImmutableTagError if an immutable tag names this content, by however many steps."""
    if not rules.immutable_tags:
        return
    seen: set[str] = set()
    todo = [str(digest)]
    while todo:
        seen.update(todo)
        above: set[str] = set()
        for batch in batches(todo):
            named = select(tags.c.name).where(tags.c.repository == number, tags.c.digest.in_(batch))
            for name in connection.scalars(named):
                if rules.is_immutable(name):
                    raise ImmutableTagError(repository, name)
            wanted = select(mentions.c.manifest).where(mentions.c.repository == number, mentions.c.target.in_(batch))
            above.update(connection.scalars(wanted))
        todo = sorted(above - seen)


def used(connection: Connection, repository: str) -> int:
    """Return how many bytes a repository shows."""
    wanted = select(repositories.c.used).where(repositories.c.name == repository)
    return connection.execute(wanted).scalar_one_or_none() or 0


def reserved(connection: Connection, repository: str, besides: str = "") -> int:
    """Return how many bytes running uploads to a repository have reserved."""
    total = select(func.coalesce(func.sum(uploads.c.reserved), 0))
    found: int = connection.execute(
        total.where(uploads.c.repository == repository, uploads.c.id != besides)
    ).scalar_one()
    return found


@contextmanager
def within_quota(
    connection: Connection, repository: str, rules: Rules, relieve: Callable[[Connection, str], None]
) -> Iterator[None]:
    """Raise QuotaExceededError at the end if the repository grew beyond what it may hold, even if relieved."""
    if rules.quota_bytes is None:
        yield
        return
    before = used(connection, repository)
    yield
    now = used(connection, repository)
    if now > before and now + reserved(connection, repository) > rules.quota_bytes:
        relieve(connection, repository)
    wanted = now + reserved(connection, repository)
    if now > before and wanted > rules.quota_bytes:
        raise QuotaExceededError(repository, rules.quota_bytes, wanted)


def held_sizes(connection: Connection, repository: str, digests: Collection[Digest]) -> Mapping[str, int]:
    """Return the sizes of those blobs that a repository holds, dead ones too: naming them revives them."""
    number = number_of(connection, repository)
    found: dict[str, int] = {}
    for batch in batches(sorted({str(digest) for digest in digests})):
        wanted = select(contents.c.digest, contents.c.size).join(holdings)
        here = wanted.where(holdings.c.repository == number, holdings.c.digest.in_(batch))
        found.update((row.digest, row.size) for row in connection.execute(here))
    return found


def known_manifests(connection: Connection, repository: str, digests: Collection[Digest]) -> set[str]:
    """Return which of these manifests a repository has, dead ones too: naming them revives them."""
    number = number_of(connection, repository)
    found: set[str] = set()
    for batch in batches(sorted({str(digest) for digest in digests})):
        wanted = select(manifests.c.digest).where(manifests.c.repository == number, manifests.c.digest.in_(batch))
        found.update(connection.scalars(wanted))
    return found


def batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Give the names in portions that one statement can take."""
    for start in range(0, len(names), BATCH):
        yield names[start : start + BATCH]
