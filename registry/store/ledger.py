"""A plain record beside the index of which manifests and tags each repository has, so that a lost index can be remade.

One line per change, durable before the change commits and written inside its transaction, so that lines stand in the
order of the commits. The index notes, in the same transaction, how long the ledger is: if it is not that long, somebody
wrote what was never committed, and the next writer writes it anew from the index. Manifests that wait for collection
stay in it, since a push may bring them back; when they are forgotten it says so. Lines begin and end with a line break:
one that was cut short spoils no other, and reading leaves it out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from registry.oci.digest import Digest
from registry.oci.reference import repository_name, tag_name
from registry.store import durable
from registry.store.database import Database
from registry.store.schema import facts, manifests, repositories, tags

NAME = "index.ledger"
MODE = 0o640
SLACK_BYTES = 1 << 20
"""How much of it may be about what is gone, beside as much as it is about what is there."""
_FACT = "ledger"
_BLOCK = 1 << 16


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
    """The ledger of one store; whoever changes it holds the index's write lock, by the connection that is given."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def put(
        self, connection: Connection, repository: str, digest: Digest, media_type: str, names: Sequence[str]
    ) -> None:
        """Record a manifest and the tags that name it now."""
        value = {"put": repository, "digest": str(digest), "mediaType": media_type, "tags": list(names)}
        self._record(connection, [value])

    def untag(self, connection: Connection, repository: str, names: Sequence[str]) -> None:
        """Record that tags are gone."""
        self._record(connection, [{"untag": repository, "tags": list(names)}])

    def drop(self, connection: Connection, gone: Iterable[tuple[str, str]]) -> None:
        """Record that manifests (repository and digest) are gone, with the tags that named them."""
        self._record(connection, [{"drop": repository, "digest": digest} for repository, digest in gone])

    def size(self) -> int:
        """Return its length."""
        return self.path.stat().st_size if self.path.exists() else 0

    def agree(self, database: Database, aside: Path) -> None:
        """Write it anew if it says what the index does not: a crash left that, or a program that noted no length.

        One that says more is kept in the folder `aside`: should the index be an old one, it knows what came since.
        """
        with database.reading() as connection:
            is_right = self._is_right(connection)
        if not is_right:
            with database.writing() as connection:
                if not self._is_right(connection):  # no writer was in the middle of a change
                    noted = self._noted(connection)
                    if noted is not None and self.size() > noted[0]:
                        durable.keep(self.path, aside)
                    self.rewrite(connection)

    def rewrite(self, connection: Connection) -> None:
        """Write it anew from the index, as this connection sees it."""
        durable.replace(self.path, lines(connection), MODE)
        note(connection, self.size(), self.size())

    def shorten(self, database: Database) -> None:
        """Write it anew if most of it is about what is gone. Others write meanwhile, and wait for moments only."""
        with database.reading() as snapshot:
            with database.writing() as connection:
                noted = self._noted(connection)
                if noted is None or noted[0] != self.size():
                    self.rewrite(connection)
                    return
                began, fresh = noted
                if began <= 2 * fresh + SLACK_BYTES:
                    return
                mark = self.path.stat().st_ino
                snapshot.exec_driver_sql("BEGIN")  # sees what the ledger says up to here
                snapshot.execute(select(repositories.c.id).limit(1)).all()
            with durable.temporary(self.path.parent, MODE) as (handle, part):
                for block in lines(snapshot):
                    durable.write_all(handle, block)
                snapshot.exec_driver_sql("ROLLBACK")
                fresh = os.fstat(handle).st_size
                with database.writing() as connection:
                    if self.path.stat().st_ino != mark:
                        return  # written anew by somebody else
                    with self.path.open("rb") as file:
                        file.seek(began)
                        durable.write_all(handle, file.read())
                    durable.publish(handle, part, self.path)
                    note(connection, self.size(), fresh)

    def store(self) -> str | None:
        """Return which store it is the ledger of."""
        with suppress(OSError, ValueError), self.path.open("rb") as lines:
            match json.loads(lines.readline()):
                case {"store": str(identity)}:
                    return identity
        return None

    def read(self) -> dict[str, Recorded]:
        """Return what it says of each repository; lines that cannot be read are left out."""
        found: dict[str, Recorded] = {}
        if not self.path.exists():
            return found
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines):
                if line.strip():
                    _follow(found, line, number)
        return {name: known for name, known in found.items() if known.manifests}

    def _record(self, connection: Connection, values: Sequence[object]) -> None:
        noted = self._noted(connection)
        if noted is None or noted[0] != self.size():
            self.rewrite(connection)  # it then says what this connection changed, too
            return
        durable.append(self.path, b"".join(b"\n" + _line(value) for value in values), MODE)
        note(connection, self.size(), noted[1])

    def _is_right(self, connection: Connection) -> bool:
        noted = self._noted(connection)
        return noted is not None and self.path.exists() and noted[0] == self.size()

    @staticmethod
    def _noted(connection: Connection) -> tuple[int, int] | None:
        """Return the length that the index knows, and what it was when it was written anew."""
        text = connection.execute(select(facts.c.value).where(facts.c.name == _FACT)).scalar()
        if text is None:
            return None
        size, fresh = text.split()
        return int(size), int(fresh)


def note(connection: Connection, size: int, fresh: int) -> None:
    """Let the index know how long its ledger is, and how long it was when it was written anew."""
    fact = insert(facts).values(name=_FACT, value=f"{size} {fresh}")
    connection.execute(fact.on_conflict_do_update(index_elements=["name"], set_={"value": fact.excluded.value}))


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def lines(connection: Connection) -> Iterator[bytes]:
    """Give the lines that tell the index's state, in blocks."""
    block = bytearray()
    for value in _values(connection):
        block += _line(value)
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def _values(connection: Connection) -> Iterator[object]:
    yield {"store": connection.execute(select(facts.c.value).where(facts.c.name == "id")).scalar()}
    wanted = select(repositories.c.name, manifests.c.digest, manifests.c.media_type).join_from(manifests, repositories)
    for name, digest, media_type in connection.execute(wanted.order_by(manifests.c.repository, manifests.c.digest)):
        yield {"put": name, "digest": digest, "mediaType": media_type, "tags": []}
    named = select(repositories.c.name, tags.c.sequence, manifests.c.digest, manifests.c.media_type, tags.c.name)
    joined = named.select_from(tags.join(manifests).join(repositories))
    rows = connection.execute(joined.order_by(tags.c.repository, tags.c.sequence, manifests.c.digest, tags.c.name))
    for (name, _, digest, media_type), group in groupby(rows, lambda row: tuple(row)[:4]):
        yield {"put": name, "digest": digest, "mediaType": media_type, "tags": [row[4] for row in group]}


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
