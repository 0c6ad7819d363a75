"""Endless data: metadata larger than it can be is refused by its size; each attack, and its honest twin."""

from __future__ import annotations

import pytest

from bundles.trust.verify import judge
from tests.attacks.publisher import NOW, Publisher, refused


@pytest.mark.parametrize(
    ("name", "size"),
    [("1.root.json", 512_001), ("timestamp.json", 16_385), ("snapshot.json", 65_537), ("targets.json", (1 << 20) + 1)],
)
def test_metadata_larger_than_it_can_be_is_refused_before_it_is_read(name: str, size: int):
    publisher = Publisher()
    region, index = publisher.bundle()
    padded = region[f"metadata/{name}"].ljust(size)
    assert refused({**region, f"metadata/{name}": padded}, index, publisher.begin()).reference == "metadata-too-large"
    signature = region["metadata/index.json.sig"].ljust(513)
    error = refused({**region, "metadata/index.json.sig": signature}, index, publisher.begin())
    assert error.reference == "metadata-too-large"
    at_the_limit = {**region, f"metadata/{name}": region[f"metadata/{name}"].ljust(size - 1)}
    if name in ("1.root.json", "timestamp.json"):  # the others are bound by their length
        judge(at_the_limit, index, publisher.begin(), now=NOW)
    else:
        assert refused(at_the_limit, index, publisher.begin()).reference == "metadata-mixed"
