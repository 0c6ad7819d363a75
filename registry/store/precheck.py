"""What would keep a store from being opened, found without opening it: nothing is made, locked, recovered or written.

>>> faults(Path("store"))
[]
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from registry.errors import SiteError
from registry.store import policy, schema
from registry.store.database import unknown_version
from registry.store.policy import Policy
from registry.store.store import INDEX, refuse_lost_index

PARTS = ("index*", "blobs", "blobs/*", "incoming")
"""What of a store's folder the store itself writes; a policy may belong to somebody else."""
_MOST_NAMED = 10


def faults(folder: Path) -> Sequence[SiteError]:
    """Return every fault there is; a store that is not there yet has none if it can be made."""
    found = list(unwritable(folder))
    looks: tuple[Callable[[], object], ...] = (
        lambda: refuse_lost_index(folder),
        lambda: _judge_index(folder / INDEX),
        lambda: Policy.read(folder / policy.NAME),
    )
    for look in looks if folder.is_dir() else ():
        try:
            look()
        except SiteError as error:
            found.append(error)
        except OSError:  # told already: a part that cannot be read
            continue
    return found


def unwritable(folder: Path, parts: Sequence[str] = PARTS) -> Sequence[SiteError]:
    """Return whether this process may write a folder and those `parts` (globs) of it that are there.

    Of a folder that is to be made, what is above it counts.
    """
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return [_unusable(folder, f"{place} is no folder")]
    if not _may(place, os.R_OK | os.W_OK | os.X_OK):
        return [_unusable(folder, f"{place} is not this user's to write")]
    there = [path for glob in parts for path in sorted(folder.glob(glob))] if place == folder else []
    shut = [str(path.relative_to(folder)) for path in there if not _may(path, os.R_OK | os.W_OK)]
    more = f" and {len(shut) - _MOST_NAMED} more" if len(shut) > _MOST_NAMED else ""
    return [_unusable(folder, f"not this user's to write: {', '.join(shut[:_MOST_NAMED])}{more}")] if shut else []


def _may(path: Path, how: int) -> bool:
    return os.access(path, how, effective_ids=True)


def _judge_index(path: Path) -> None:
    """Raise SiteError for an index that this dryport cannot use.

    Read as if it never changed, which takes no lock and makes no file beside it. Where a log of changes lies beside it,
    a server uses it or was killed; what cannot be read then proves nothing.
    """
    if not path.exists():
        return
    log = path.with_name(f"{path.name}-wal")
    is_settled = not (log.exists() and log.stat().st_size)
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as index:
            row = index.execute("SELECT value FROM facts WHERE name = 'version'").fetchone()
    except sqlite3.DatabaseError as error:
        if is_settled:
            raise _unusable(path, str(error), "if the index is damaged: dryport registry rebuild") from error
        return
    if row and row[0] not in schema.READABLE:
        raise unknown_version(path, str(row[0]))


def _unusable(where: Path, seen: str, hint: str = "let the user that serves own it and all that is in it") -> SiteError:
    return SiteError("store-unusable", "the store cannot be opened", where=str(where), seen=seen, hint=hint)
