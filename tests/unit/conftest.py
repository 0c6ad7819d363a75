"""What several unit suites start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.packs.helm import Helm
from registry.store.store import Store
from tests.pack_samples import ready


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give an empty store."""
    with Store.open(tmp_path / "store") as opened:
        yield opened


@pytest.fixture(scope="session")
def helm() -> Iterator[Helm]:
    """Give Helm; no suite skips without it where everything must be there."""
    with ready() as one:
        yield one
