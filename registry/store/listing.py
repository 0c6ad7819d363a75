"""Long lists of the index, an entry at a time and from any point on: a page costs its entries, not the list's.

Whoever takes entries closes what gives them as soon as there are enough; until then it reads the database.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from typing import TypeVar

from sqlalchemy import Connection, bindparam, select, text

from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.store.schema import manifests, repositories, tags

Entry = TypeVar("Entry")
_PAST_NAMES = "\x7f"
"""Comes after every character of a repository's name."""

# `+name`: the glob only filters. What it begins with is in `first` and `end`, and SQLite would take the worse bound.
_REPOSITORIES = text(
    "SELECT name FROM repositories WHERE name >= :first AND name < :end AND +name GLOB :glob ORDER BY name"
)
_NUMBER = select(repositories.c.id).where(repositories.c.name == bindparam("repository")).scalar_subquery()
_TAGS = select(tags.c.name).where(tags.c.repository == _NUMBER, tags.c.name > bindparam("last")).order_by(tags.c.name)
DESCRIBING = (
    manifests.c.media_type,
    manifests.c.digest,
    manifests.c.size,
    manifests.c.annotations,
    manifests.c.artifact_type,
)
"""The columns of which `described` makes a descriptor."""
_REFERRERS = (
    select(*DESCRIBING)
    .where(
        manifests.c.repository == _NUMBER,
        manifests.c.subject == bindparam("subject"),
        manifests.c.digest > bindparam("last"),
        manifests.c.dead.is_(None),
    )
    .order_by(manifests.c.digest)
)
_REFERRERS_OF_A_TYPE = _REFERRERS.where(manifests.c.artifact_type == bindparam("artifact_type"))


def merged(
    parts: Sequence[Generator[Entry, None, None]], key: Callable[[Entry], str] = str
) -> Generator[Entry, None, None]:
    """Give what several sorted generators give, in order and each once; of equals, the first generator's."""
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(closing(part))
        last = None
        for entry in heapq.merge(*parts, key=key):
            mark = key(entry)
            if mark != last:
                yield entry
            last = mark


def repositories_after(connection: Connection, last: str, globs: Sequence[str]) -> Generator[str, None, None]:
    """Give the names after `last` that one of the globs matches, sorted."""
    return merged([_matching(connection, last, glob) for glob in globs])


def tags_after(connection: Connection, repository: str, last: str) -> Generator[str, None, None]:
    """Give a repository's tags after `last`, sorted by their bytes."""
    with connection.execute(_TAGS, {"repository": repository, "last": last}) as rows:
        yield from rows.scalars()


def referrers_after(
    connection: Connection, repository: str, subject: Digest, last: str, artifact_type: str | None
) -> Generator[Descriptor, None, None]:
    """Give what refers to `subject` and has a digest after `last`, sorted by it; of one type alone, if one is given."""
    values = {"repository": repository, "subject": str(subject), "last": last}
    wanted = _REFERRERS
    if artifact_type is not None:
        wanted, values = _REFERRERS_OF_A_TYPE, values | {"artifact_type": artifact_type}
    with connection.execute(wanted, values) as rows:
        for row in rows:
            yield described(*row)


def described(media_type: str, digest: str, size: int, annotations: str | None, kind: str | None) -> Descriptor:
    """Return the descriptor of a manifest's row."""
    return Descriptor(media_type, Digest.parse(digest), size, json.loads(annotations) if annotations else {}, kind)


def _matching(connection: Connection, last: str, glob: str) -> Generator[str, None, None]:
    prefix, star, _ = glob.partition("*")
    first = last + "\0" if last >= prefix else prefix
    end = prefix + (_PAST_NAMES if star else "\0")
    with connection.execute(_REPOSITORIES, {"first": first, "end": end, "glob": glob}) as rows:
        yield from rows.scalars()
