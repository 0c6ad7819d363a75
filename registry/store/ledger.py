"""A plain record beside the index of which manifests and tags each repository has, so that a lost index can be remade.

One line per change, durable before the change commits and written inside its transaction, so that lines stand in the
order of the commits. Collection rewrites it from the index. Lines begin and end with a line break: one that was cut
short spoils no other, and reading leaves it out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection, select

from registry.oci.digest import Digest
from registry.oci.reference import repository_name, tag_name
from registry.store import durable
from registry.store.schema import manifests, repositories, tags

NAME = "index.ledger"
MODE = 0o640


@dataclass
class Recorded:
    """What the ledger says of one repository, after all its lines."""

    manifests: dict[Digest, str] = field(default_factory=dict)
    """Media types."""
    tags: dict[str, Digest] = field(default_factory=dict)
    """In the order in which they were set."""
    pushes: dict[str, int] = field(default_factory=dict)
    """A number for each tag; those that were set together have the same."""

    def together(self) -> Iterator[tuple[Digest, list[str]]]:
        """Give the tags by push, in order."""
        for _, names in groupby(self.tags, self.pushes.__getitem__):
            group = list(names)
            yield self.tags[group[0]], group


class Ledger:
    """The ledger of one store; writers hold the index's write lock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def put(self, repository: str, digest: Digest, media_type: str, names: Sequence[str]) -> None:
        """Record a manifest and the tags that name it now."""
        self._append({"put": repository, "digest": str(digest), "mediaType": media_type, "tags": list(names)})

    def untag(self, repository: str, names: Sequence[str]) -> None:
        """Record that tags are gone."""
        self._append({"untag": repository, "tags": list(names)})

    def drop(self, repository: str, digest: Digest) -> None:
        """Record that a manifest is gone, with the tags that named it."""
        self._append({"drop": repository, "digest": str(digest)})

    def size(self) -> int:
        """Return its length."""
        return self.path.stat().st_size if self.path.exists() else 0

    def rewrite(self, connection: Connection) -> None:
        """Write it anew from the index, on a connection that holds the write lock."""
        durable.replace(self.path, _lines(connection), MODE)

    def read(self) -> dict[str, Recorded]:
        """Return what it says of each repository; lines that cannot be read are left out."""
        found: dict[str, Recorded] = {}
        if not self.path.exists():
            return found
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines):
                if line.strip():
                    _follow(found, line, number)
        return found

    def _append(self, value: object) -> None:
        durable.append(self.path, b"\n" + _line(value), MODE)


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _lines(connection: Connection) -> Iterator[bytes]:
    wanted = select(repositories.c.id, repositories.c.name).order_by(repositories.c.name)
    for number, name in connection.execute(wanted).all():
        here = select(manifests.c.digest, manifests.c.media_type).where(
            manifests.c.repository == number, manifests.c.dead.is_(None)
        )
        for digest, media_type in connection.execute(here.order_by(manifests.c.digest)):
            yield _line({"put": name, "digest": digest, "mediaType": media_type, "tags": []})
        named = select(tags.c.sequence, manifests.c.digest, manifests.c.media_type, tags.c.name)
        rows = connection.execute(
            named.select_from(tags.join(manifests))
            .where(tags.c.repository == number)
            .order_by(tags.c.sequence, manifests.c.digest, tags.c.name)
        )
        for (_, digest, media_type), group in groupby(rows, lambda row: (row.sequence, row.digest, row.media_type)):
            yield _line({"put": name, "digest": digest, "mediaType": media_type, "tags": [row.name for row in group]})


def _follow(found: dict[str, Recorded], line: bytes, push: int) -> None:
    try:
        value = json.loads(line)
        if "put" in value:
            names = [tag_name(name) for name in value["tags"]]
            digest, media_type = Digest.parse(value["digest"]), str(value["mediaType"])
            known = found.setdefault(repository_name(value["put"]), Recorded())
            known.manifests[digest] = media_type
            for name in names:
                known.tags.pop(name, None)
                known.tags[name], known.pushes[name] = digest, push
        elif "untag" in value:
            known = found.setdefault(repository_name(value["untag"]), Recorded())
            for name in value["tags"]:
                known.tags.pop(name, None)
        else:
            known = found.setdefault(repository_name(value["drop"]), Recorded())
            digest = Digest.parse(value["digest"])
            known.manifests.pop(digest, None)
            known.tags = {name: named for name, named in known.tags.items() if named != digest}
    except (ValueError, KeyError, TypeError, AttributeError):
        return
