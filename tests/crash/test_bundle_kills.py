"""A few kills of builds and imports of bundles; `python -m tests.slow.bundle_kills 200` makes many."""

from __future__ import annotations

from tests.slow.bundle_kills import run


def test_builds_and_imports_that_were_killed_end_as_if_they_had_not_been() -> None:
    tallies = run(6, seed=3)
    assert {name: tally.violations for name, tally in tallies.items()} == {name: [] for name in tallies}
    assert all(tally.kills >= 2 for tally in tallies.values())
