"""Every real pack locks with all images that it starts, or fails with what a reader wrote down beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.corpus import needs_corpus, real_packs
from tests.lab.locks_table import Everywhere, everywhere
from tests.pack_findings import DATA, read

pytestmark = [pytest.mark.interop, needs_corpus]
KEEPS_FROM_LOCKING = {"render-failed": "chart-unrendered", "listed-file-missing": "pack-file-missing"}
"""What the linter calls it, and the lock."""
BY_DIGEST = {"hitachi-hspc-3.17.4", "spegel-0.7.2", "tekton-operator-0.61.0"}
"""These name images by digest, and an image made here has another one: the registry does not have what they want."""


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everywhere]:
    with everywhere(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.mark.parametrize("pack", real_packs(), ids=lambda path: path.name)
def test_a_pack_locks_or_fails_as_it_was_read(pack: Path, every: Everywhere, tmp_path: Path) -> None:
    written = {finding["name"] for finding in read(DATA / f"{pack.name}.yaml")["findings"]}
    expected = {KEEPS_FROM_LOCKING[name] for name in written & KEEPS_FROM_LOCKING.keys()}
    if pack.name in BY_DIGEST:
        expected.add("image-missing")
    done = every.lock(pack, tmp_path)
    assert {reference for reference, _ in done.findings} == expected
    if done.lock:
        assert sum(one.kind == "image" for one in done.lock.artifacts) == done.images
        assert {one.proof for one in done.lock.artifacts if one.kind == "pack"} == {"rendered"}
