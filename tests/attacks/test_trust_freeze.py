"""Indefinite freeze: newer bundles are kept back. That cannot be prevented offline; it is bounded and made visible."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from bundles.trust.verify import judge
from tests.attacks.publisher import DAY, NOW, Publisher, refused, resigned


def test_a_bundle_older_than_a_person_demands_is_refused():
    publisher = Publisher()
    error = refused(*publisher.bundle(5), publisher.begin(), at_least=6)
    assert error.reference == "release-below-demanded"
    judge(*publisher.bundle(6), publisher.begin(), now=NOW, at_least=6)


def test_a_bundle_past_its_best_before_is_refused_at_import():
    publisher = Publisher()
    region, index = publisher.bundle(best_before=NOW)
    error = refused(region, index, publisher.begin())
    assert error.reference == "release-expired"
    assert error.seen == "2031-06-01T12:00:00Z"
    judge(region, index, publisher.begin(), now=NOW - timedelta(seconds=1))


def test_what_was_accepted_once_stays_installable_and_nothing_else_of_its_age_does():
    publisher = Publisher()
    bundle = publisher.bundle(best_before=NOW + DAY)
    state, release, _ = judge(*bundle, publisher.begin(), now=NOW)
    assert judge(*bundle, state, now=NOW + 2 * DAY)[1] == release  # a reinstall after an incident
    assert refused(*bundle, publisher.begin(), now=NOW + 2 * DAY).reference == "release-expired"
    newer = publisher.bundle(best_before=NOW + DAY, sequence=2)
    assert refused(*newer, state, now=NOW + 2 * DAY).reference == "release-expired"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_any_signed_expiry_ends_a_bundle_even_before_its_best_before(role: str):
    publisher = Publisher()
    region, index = publisher.bundle()
    ended = resigned(region, role, lambda one: one.update(expires="2031-05-31T00:00:00Z"), publisher.release)
    assert refused(ended, index, publisher.begin()).reference == "release-expired"


def test_a_best_before_ends_a_bundle_even_before_its_metadata_expires():
    publisher = Publisher()
    region, index = publisher.bundle()

    def sooner(one: dict[str, Any]) -> None:
        one["targets"]["index.json"]["custom"]["bestBefore"] = "2031-05-31T00:00:00Z"

    ended = resigned(region, "targets", sooner, publisher.release)
    assert refused(ended, index, publisher.begin()).reference == "release-expired"
