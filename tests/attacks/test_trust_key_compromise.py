"""A stolen release key: what it signs is refused as soon as the revoking root was read, on any medium."""

from __future__ import annotations

import pytest

from bundles.trust.roles import sign_root
from bundles.trust.succession import revoking_root
from bundles.trust.verify import follow_roots, judge
from tests.attacks.publisher import DAY, NOW, Publisher, refused


@pytest.fixture
def revoked() -> tuple[Publisher, Publisher]:
    """Return a publisher whose release key was stolen and revoked, and the thief, who holds it and the old root."""
    publisher, thief = Publisher(release_keys=3, release_threshold=1), Publisher()
    thief.roots, thief.release = [*publisher.roots], publisher.release[:1]
    root = revoking_root(publisher.roots[0], NOW + 3650 * DAY, ["release0"])
    for person in publisher.people[:2]:
        root = sign_root(root, person, publisher.roots[0])
    publisher.roots.append(root)
    publisher.release = publisher.release[1:]
    return publisher, thief


def test_what_a_revoked_key_signs_is_refused_once_the_root_was_read(revoked: tuple[Publisher, Publisher]):
    publisher, thief = revoked
    state, _, _ = judge(*publisher.bundle(2), publisher.begin(), now=NOW)
    assert refused(*thief.bundle(9), state).reference == "release-key-unknown"
    judge(*publisher.bundle(3), state, now=NOW)


def test_the_revocation_is_kept_though_the_rest_of_its_bundle_is_refused(revoked: tuple[Publisher, Publisher]):
    publisher, thief = revoked
    region, index = publisher.bundle(2, best_before=NOW - DAY)
    assert refused(region, index, publisher.begin()).reference == "release-expired"
    state = follow_roots(region, publisher.begin())
    assert refused(*thief.bundle(9), state).reference == "release-key-unknown"
