"""Where the collection of real packs lies: in a folder `shared` beside this checkout or above it, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

CORPUS = next(
    (above / "shared/packs" for above in Path(__file__).resolve().parents if (above / "shared/packs").is_dir()),
    Path("/nonexistent"),
)
needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="the collection of real packs lies beside this checkout")


def real_packs() -> Sequence[Path]:
    """Return the folders of all real packs; nothing where the collection is not."""
    return sorted(path for path in CORPUS.iterdir() if path.is_dir()) if CORPUS.is_dir() else []
