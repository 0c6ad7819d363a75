"""What several unit suites start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give an empty store."""
    with Store.open(tmp_path / "store") as opened:
        yield opened
