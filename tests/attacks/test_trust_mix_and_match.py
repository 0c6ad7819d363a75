"""Mix-and-match: bundles put together from two that were rightly signed; each attack, and its honest twin."""

from __future__ import annotations

import pytest

from bundles.trust.verify import judge
from tests.attacks.publisher import NOW, Publisher, refused, resigned


@pytest.mark.parametrize(
    "names", [["timestamp"], ["snapshot"], ["targets"], ["timestamp", "snapshot"], ["targets", "index"]]
)
def test_metadata_of_two_bundles_does_not_make_a_third(names: list[str]):
    publisher = Publisher()
    region, index = publisher.bundle(5)
    older, older_index = publisher.bundle(4)
    mixed = region | {f"metadata/{name}.json": older[f"metadata/{name}.json"] for name in names if name != "index"}
    error = refused(mixed, older_index if "index" in names else index, publisher.begin())
    assert error.reference == "metadata-mixed"
    judge(region, index, publisher.begin(), now=NOW)


def test_metadata_of_two_products_with_one_sequence_does_not_mix():
    publisher = Publisher()
    region, _ = publisher.bundle(5)
    other, index = publisher.bundle(5, product="other")
    targets = {"metadata/targets.json": other["metadata/targets.json"]}
    assert refused({**region, **targets}, index, publisher.begin()).reference == "metadata-mixed"


def test_versions_that_are_not_the_sequence_are_refused_even_if_the_right_key_signed_them():
    publisher = Publisher()
    region, index = publisher.bundle(5)
    for role in ("targets", "snapshot", "timestamp"):
        ahead = resigned(region, role, lambda one: one.update(version=6), publisher.release)
        assert refused(ahead, index, publisher.begin()).reference == "metadata-mixed"
    inflated = resigned(
        region,
        "targets",
        lambda one: one["targets"]["index.json"]["custom"].update(sequence=6),
        publisher.release,
    )
    assert refused(inflated, index, publisher.begin()).reference == "metadata-mixed"


@pytest.mark.parametrize("field", ["hashes", "length"])
def test_metadata_that_binds_without_digest_or_length_is_refused(field: str):
    publisher = Publisher()
    region, index = publisher.bundle(5)
    loose = resigned(region, "snapshot", lambda one: one["meta"]["targets.json"].pop(field), publisher.release)
    assert refused(loose, index, publisher.begin()).reference == "metadata-mixed"
