"""When a store was last collected and scrubbed, and what came of it: rows of its index, which a rebuilt one has not.

>>> record(store, COLLECTION, {"freed": 73400320})
>>> last(store, COLLECTION).ended
1764547200.0
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from registry.store.schema import facts
from registry.store.store import Store

COLLECTION, SCRUB = "collection", "scrub"


@dataclass(frozen=True, slots=True)
class Run:
    """One run that came to its end."""

    ended: float
    """By the store's clock, in seconds."""
    result: Mapping[str, int]


def record(store: Store, kind: str, result: Mapping[str, int]) -> None:
    """Keep the result of a run that ends now, in place of the former one."""
    value = json.dumps({"ended": store.clock(), "result": dict(result)})
    with store.database.writing() as connection:
        connection.execute(delete(facts).where(facts.c.name == kind))
        connection.execute(insert(facts).values(name=kind, value=value))


def last(store: Store, kind: str) -> Run | None:
    """Return the last run of this kind; None if none is known of."""
    with store.database.reading() as connection:
        value = connection.execute(select(facts.c.value).where(facts.c.name == kind)).scalar()
    if value is None:
        return None
    said = json.loads(value)
    return Run(float(said["ended"]), said["result"])
