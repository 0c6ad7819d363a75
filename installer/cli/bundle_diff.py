"""`dryport bundle diff`: what a release brings, read from two heads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from installer.cli.render import Console, amount, json_option, shown
from installer.cli.trusting import Trust, trust_options

if TYPE_CHECKING:
    from bundles.diff import Change, Difference
    from bundles.lock import Lock

FILE = click.Path(path_type=Path, dir_okay=False)
_SIGNS = {"added": "+", "removed": "-", "changed": "~"}


@click.command()
@click.argument("before", type=FILE)
@click.argument("after", type=FILE)
@trust_options
@json_option
def diff(*, before: Path, after: Path, trust: Trust, as_json: bool) -> None:
    """Tell what AFTER holds and BEFORE does not. Each is a bundle, a volume of one, or a lock.

    Bundles are read from their heads alone. Without trust given, nothing of them is verified.
    """
    from bundles.diff import difference  # noqa: PLC0415 - `--help` need not wait for it

    console = Console(as_json=as_json)
    locks = [read_lock(path, trust, console) for path in (before, after)]
    found = difference(*locks)
    value = {
        "before": _named(before, locks[0]),
        "after": _named(after, locks[1]),
        "newBytes": found.new_bytes,
        "goneBytes": found.gone_bytes,
        "keptBytes": found.kept_bytes,
        "changes": [_as_json(one) for one in found.changes],
    }
    console.result("BundleDiff", value, "\n".join(shown(line, kept="") for line in _lines(locks, found)))


def read_lock(path: Path, trust: Trust, console: Console) -> Lock:
    """Return the lock in a file, or the one that a bundle carries; says so where nothing of it is verified."""
    from bundles.archive.artifacts import carried_lock  # noqa: PLC0415 - as above
    from bundles.lock import Lock  # noqa: PLC0415
    from bundles.verify import look  # noqa: PLC0415

    if path.suffix == ".json":
        return Lock.read(path)
    state = trust.state()
    if state is None:
        console.note(f"UNVERIFIED: anybody could have written {path}; give --home, or --root with --fingerprint")
    seen = look(path, state, now=datetime.now(UTC))
    try:
        return carried_lock(seen.archive)
    finally:
        seen.close()


def _named(path: Path, lock: Lock) -> dict[str, str]:
    return {"path": str(path), "product": lock.product, "version": lock.version}


def _as_json(one: Change) -> dict[str, object]:
    parts = {"kind": one.kind, "name": one.name, "before": one.before, "after": one.after, "size": one.size}
    return {"what": one.what, **{key: value for key, value in parts.items() if value is not None}}


def _lines(locks: list[Lock], found: Difference) -> Iterator[str]:
    before, after = (f"{lock.product} {lock.version}" for lock in locks)
    yield f"{before} -> {after}: {len(found.changes)} change(s)"
    for one in found.changes:
        words = " -> ".join(version for version in (one.before, one.after) if version is not None)
        yield f"  {_SIGNS[one.what]} {one.kind:<11} {one.name}  {words}  {amount(one.size)}"
    yield f"  new {amount(found.new_bytes)}, gone {amount(found.gone_bytes)}, the same {amount(found.kept_bytes)}"
