"""Some histories of sticks against a stock TUF client; `python -m tests.slow.trust_histories` plays ten thousand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from tests.properties import trust_history
from tests.properties.trust_history import compare
from tests.stock_client import Site, Stick


def test_dryport_and_a_stock_tuf_client_agree_but_for_the_listed_deviations(tmp_path: Path):
    seen, violations = Counter[str](), []
    for seed in range(40):
        _, one, wrong = compare(seed, tmp_path / str(seed))
        seen += one
        violations += wrong
    assert violations == []
    assert min(seen["both accept"], seen["both refuse"]) > 30  # else the histories would show nothing
    assert seen["deviate"] < sum(seen[name] for name in ("both accept", "both refuse", "deviate")) / 4


def forgets(site: Site) -> None:
    site.state = replace(site.state, accepted={})


def forgets_the_roots(site: Site) -> None:
    site.state = replace(site.state, roots=site.state.roots[:1])


@pytest.mark.parametrize("mistake", [forgets, forgets_the_roots])
def test_a_site_that_forgot_something_would_be_found_out(
    mistake: Callable[[Site], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Forgetful(Site):
        def accepts(self, stick: Stick, now: datetime) -> bool:
            mistake(self)
            return super().accepts(stick, now)

    monkeypatch.setattr(trust_history, "Site", Forgetful)
    assert any(compare(seed, tmp_path / str(seed))[2] for seed in range(80))
