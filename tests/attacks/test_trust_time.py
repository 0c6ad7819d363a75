"""Clocks and dates: what a wrong clock, an old bundle and an old root may do, and what they may not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bundles.trust.roles import Statement, sign_release
from bundles.trust.verify import follow_roots, judge
from registry.errors import TrustError
from tests.attacks.publisher import DAY, NOW, Publisher, refused


def test_a_clock_behind_the_newest_signed_evidence_is_refused():
    publisher = Publisher()
    state, _, _ = judge(*publisher.bundle(1, issued=NOW - DAY), publisher.begin(), now=NOW)
    expired = publisher.bundle(2, issued=NOW - 30 * DAY, best_before=NOW - 2 * DAY)
    error = refused(*expired, state, now=NOW - 3 * DAY)  # set back, so that the old bundle seems fresh
    assert error.reference == "clock-behind-evidence"
    assert error.expected.startswith("2031-05-31T12:00:00Z")
    assert refused(*expired, state).reference == "release-expired"


def test_a_clock_behind_the_bundle_itself_is_refused():
    publisher = Publisher()
    region, index = publisher.bundle(issued=NOW)
    error = refused(region, index, publisher.begin(), now=NOW - timedelta(seconds=1))
    assert error.reference == "clock-behind-evidence"
    judge(region, index, publisher.begin(), now=NOW)


def test_a_clock_far_ahead_leaves_no_trace_in_what_is_remembered():
    publisher = Publisher()
    bundle = publisher.bundle(1, best_before=NOW + 3000 * DAY)
    state, release, _ = judge(*bundle, publisher.begin(), now=NOW + 2900 * DAY)
    assert state.floor == release.issued
    judge(*publisher.bundle(2), state, now=NOW)


def test_a_root_that_expires_soon_is_told_in_time():
    publisher = Publisher()
    publisher.rotate(expires=NOW + 200 * DAY)
    bundle = publisher.bundle()
    assert judge(*bundle, publisher.begin(), now=NOW)[2] == ()
    warnings = judge(*bundle, publisher.begin(), now=NOW + 150 * DAY)[2]
    assert warnings[0].startswith("root 2 expires on 2031-12-18")


def test_an_expired_root_is_a_loud_warning_and_no_brick():
    publisher = Publisher()
    bundle = publisher.bundle(2)
    publisher.rotate(expires=NOW + 10 * DAY)
    state = follow_roots(publisher.bundle(1, best_before=NOW + DAY)[0], publisher.begin())
    _, release, warnings = judge(*bundle, state, now=NOW + 20 * DAY)
    assert release.sequence == 2
    assert warnings[0].startswith("root 2 expired on 2031-06-11")


def test_a_release_cannot_be_signed_for_longer_than_its_root_lasts():
    publisher = Publisher()
    publisher.rotate(expires=NOW + 100 * DAY)
    with pytest.raises(TrustError) as caught:
        publisher.bundle(best_before=NOW + 101 * DAY)
    assert caught.value.reference == "root-expires-first"
    publisher.bundle(best_before=NOW + 100 * DAY)


def test_a_release_without_all_roots_cannot_be_signed():
    publisher = Publisher()
    publisher.rotate()
    statement = Statement("quickstart", "1.0.0", 1, ("linux/amd64",), NOW - DAY, NOW + DAY)
    for roots in ([], publisher.roots[1:]):
        with pytest.raises(TrustError) as caught:
            sign_release(b"{}", statement, roots, publisher.release)
        assert caught.value.reference == "root-chain-gap"
    assert "metadata/2.root.json" in sign_release(b"{}", statement, publisher.roots[::-1], publisher.release)
