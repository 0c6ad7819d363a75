"""Retention: of the tags that a rule names, the one set last and some before it stay; the others are taken away.

The order is that in which tags were set, told by the index and not by a clock. Tags set by one push count as one.
What only they named is garbage then, and collection frees it. Immutable tags stay, whatever a rule says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, select

from registry.store.changes import number_of, remove_tag
from registry.store.faults import ReadOnlyError
from registry.store.policy import Rules, matches
from registry.store.schema import tags
from registry.store.store import Store


@dataclass(frozen=True, slots=True)
class Released:
    """A tag that retention takes away."""

    repository: str
    tag: str
    digest: str

    def as_json(self) -> dict[str, object]:
        """Return it as documented for `--json`."""
        return asdict(self)


def retain(store: Store, *, dry_run: bool = False) -> Sequence[Released]:
    """Take away, or only tell, the tags that the rules do not keep. Raises ReadOnlyError."""
    policy = store.policy
    if policy.read_only and not dry_run:
        raise ReadOnlyError
    released: list[Released] = []
    for repository in store.repositories():
        rules = policy.for_repository(repository)
        if not rules.keep or not rules.deletes:
            continue
        with store.database.writing() as connection:  # what was told stays true until it is done
            number = number_of(connection, repository)
            if number is None:
                continue
            found = _superfluous(connection, number, rules)
            if not dry_run and found:
                for tag, _ in found:
                    remove_tag(connection, number, tag)
                store.ledger.untag(connection, repository, [tag for tag, _ in found])
        released += [Released(repository, tag, digest) for tag, digest in found]
    return released


def _superfluous(connection: Connection, number: int, rules: Rules) -> list[tuple[str, str]]:
    wanted = select(tags.c.name, tags.c.digest, tags.c.sequence).where(tags.c.repository == number)
    rest = connection.execute(wanted.order_by(tags.c.sequence.desc(), tags.c.name)).all()
    found = []
    for keep in rules.keep:
        ours = [row for row in rest if matches(keep.tags, row.name)]
        rest = [row for row in rest if not matches(keep.tags, row.name)]
        last = sorted({row.sequence for row in ours}, reverse=True)[: keep.previous + 1]
        found += [
            (row.name, row.digest) for row in ours if row.sequence not in last and not rules.is_immutable(row.name)
        ]
    return found
