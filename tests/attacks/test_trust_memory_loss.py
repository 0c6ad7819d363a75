"""Memory loss: a site is made to forget what it trusts, so that an old stick looks new; with its honest twins."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles.trust import memory
from bundles.trust.verify import fingerprint
from installer.site import memory as site_memory
from registry.errors import TrustError
from tests.attacks.publisher import NOW, Publisher
from tests.sample_bundles import Sample
from tests.site_samples import sample


def test_a_site_whose_memory_was_deleted_trusts_nobody_until_a_copy_is_brought_back(tmp_path: Path):
    home, publisher = sample(tmp_path).home, Publisher(product="sample")
    root = publisher.roots[0]
    site_memory.begin(home, root, fingerprint(root))  # the honest twin: a site that has not lived may begin
    old, new = tmp_path / "old.tar", tmp_path / "new.tar"
    Sample.small().publish(old, publisher, sequence=1)
    Sample.small().publish(new, publisher, sequence=2)
    with home.locked():
        site_memory.accept(home, site_memory.verified(home, new, now=NOW))
    copy = home.trust.read_bytes()
    home.trust.unlink()
    for attempt in (
        lambda: site_memory.verified(home, old, now=NOW),
        lambda: site_memory.begin(home, root, fingerprint(root)),
    ):
        with pytest.raises(TrustError) as caught:
            attempt()
        assert caught.value.reference == "trust-memory-lost"
    assert not home.trust.exists()
    home.trust.write_bytes(copy)
    with pytest.raises(TrustError) as caught:
        site_memory.verified(home, old, now=NOW)
    assert caught.value.reference == "release-rolled-back"
    assert site_memory.verified(home, new, now=NOW).release.sequence == 2


def test_a_memory_that_was_emptied_is_damaged_and_its_copy_goes_on(tmp_path: Path):
    home, publisher = sample(tmp_path).home, Publisher(product="sample")
    site_memory.begin(home, publisher.roots[0], fingerprint(publisher.roots[0]))
    copy = home.trust.read_bytes()
    home.trust.write_bytes(b"")
    with pytest.raises(TrustError) as caught:
        site_memory.begin(home, publisher.roots[0], fingerprint(publisher.roots[0]))
    assert caught.value.reference == "trust-memory-damaged"
    home.trust.write_bytes(copy)
    assert memory.load(home.trust) == publisher.begin()
