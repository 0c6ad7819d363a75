"""A few kills of `dryport mirror copy` inside blobs; `python -m tests.slow.mirror_kills 100` makes many."""

from __future__ import annotations

import pytest

from tests.slow.mirror_kills import kill


@pytest.mark.parametrize("kind", ["dryport", "layout"])
def test_a_copy_killed_inside_blobs_ends_as_if_it_had_not_been(kind: str) -> None:
    tally = kill(kind, kills=4, seed=7, in_one=4)
    assert tally.violations == []
    assert tally.kills >= 4
    assert tally.inside >= 2
