"""The root of trust: every way to move it that the people who hold it did not agree to, and its honest twin."""

from __future__ import annotations

import json

import pytest

from bundles.trust.roles import sign_root
from bundles.trust.verify import TrustState, fingerprint, follow_roots, judge
from registry.errors import TrustError
from registry.oci.digest import Digest
from tests.attacks.publisher import DAY, NOW, Publisher, keys, refused, resign_same


def test_a_root_with_another_fingerprint_than_the_paper_says_is_refused_with_both():
    publisher, stranger = Publisher(), Publisher()
    paper = fingerprint(publisher.roots[0])
    with pytest.raises(TrustError) as caught:
        TrustState.begin(stranger.roots[0], paper)
    assert caught.value.reference == "root-fingerprint-mismatch"
    assert caught.value.expected == str(paper)
    assert str(fingerprint(stranger.roots[0])) in caught.value.seen
    assert TrustState.begin(publisher.roots[0], paper).roots == (publisher.roots[0],)


def test_a_first_root_that_too_few_people_signed_is_refused_though_its_fingerprint_is_right():
    publisher = Publisher()
    one = resign_same(publisher.roots[0], lambda signatures: signatures[:1])
    with pytest.raises(TrustError) as caught:
        TrustState.begin(one, fingerprint(one))
    assert caught.value.reference == "root-below-threshold"


def test_a_signature_added_later_leaves_the_fingerprint_and_the_trust_as_they_are():
    publisher = Publisher()
    state = publisher.begin()
    publisher.roots[0] = sign_root(publisher.roots[0], publisher.people[2])
    assert fingerprint(publisher.roots[0]) == fingerprint(state.roots[0])
    judge(*publisher.bundle(), state, now=NOW)


def test_a_site_that_slept_walks_the_whole_chain_from_one_bundle():
    publisher = Publisher()
    state = publisher.begin()
    for _ in range(11):  # past nine: the order is that of numbers, not of names
        publisher.rotate(people=keys(3), release=keys(1), expires=NOW - 400 * DAY)
    publisher.rotate()
    state, _, warnings = judge(*publisher.bundle(), state, now=NOW)
    assert len(state.roots) == 13
    assert warnings == ()


def test_a_chain_with_a_gap_is_refused():
    publisher = Publisher()
    state = publisher.begin()
    publisher.rotate()
    publisher.rotate()
    region, index = publisher.bundle()
    gap = {name: data for name, data in region.items() if name != "metadata/2.root.json"}
    error = refused(gap, index, state)
    assert error.reference == "root-chain-gap"
    assert error.seen == "roots 1, 3"
    late = {name: data for name, data in gap.items() if name != "metadata/1.root.json"}
    assert refused(late, index, state).reference == "root-chain-gap"
    judge(region, index, state, now=NOW)


def test_a_root_under_another_number_than_its_own_is_refused():
    publisher = Publisher()
    state = publisher.begin()
    publisher.rotate()
    region, index = publisher.bundle()
    again = {**region, "metadata/2.root.json": region["metadata/1.root.json"]}
    assert refused(again, index, state).reference == "root-chain-gap"
    skipped = {**region, "metadata/3.root.json": region["metadata/2.root.json"]}
    assert refused(skipped, index, state).reference == "root-chain-gap"


@pytest.mark.parametrize("who", ["only the new people", "only the old people", "one of each"])
def test_a_root_that_not_both_its_own_and_its_forerunners_people_signed_is_refused(who: str):
    publisher, twin = Publisher(), Publisher()
    state = publisher.begin()
    old, new = publisher.people, keys(3)
    signers = {"only the new people": new[:2], "only the old people": old[:2], "one of each": [old[0], new[0]]}[who]
    honest = publisher.rotate(people=new)
    region, index = publisher.bundle()
    usurped = resign_same(honest, lambda _: [])
    for signer in signers:
        usurped = sign_root(usurped, signer, publisher.roots[0])
    error = refused({**region, "metadata/2.root.json": usurped}, index, state)
    assert error.reference == ("root-key-unknown" if len(set(signers) & set(old[:2])) == 0 else error.reference)
    assert error.reference in ("root-key-unknown", "root-below-threshold")
    twin.rotate(people=keys(3))
    judge(*twin.bundle(), twin.begin(), now=NOW)
    judge(region, index, state, now=NOW)


def test_one_person_who_signed_a_root_twice_counts_once():
    publisher = Publisher()
    root = resign_same(publisher.roots[0], lambda _: [])
    once = sign_root(root, publisher.people[0])
    assert sign_root(once, publisher.people[0]) == once
    with pytest.raises(TrustError) as caught:
        TrustState.begin(once, fingerprint(once))
    assert caught.value.reference == "root-below-threshold"
    assert "2 of the root keys" in caught.value.expected
    TrustState.begin(sign_root(once, publisher.people[1]), fingerprint(once))


def test_one_key_listed_under_two_ids_is_refused():
    publisher = Publisher()
    value = json.loads(publisher.roots[0])
    ids = value["signed"]["roles"]["root"]["keyids"]
    value["signed"]["keys"][ids[1]] = value["signed"]["keys"][ids[0]]
    with pytest.raises(TrustError) as caught:
        TrustState.begin(json.dumps(value).encode(), fingerprint(publisher.roots[0]))
    assert caught.value.reference == "metadata-malformed"
    assert "two ids" in caught.value.message


@pytest.mark.parametrize("threshold", [0, -1, 4, "2", True])
def test_a_threshold_that_nobody_or_everybody_reaches_is_refused(threshold: object):
    value = json.loads(Publisher().roots[0])
    value["signed"]["roles"]["root"]["threshold"] = threshold
    with pytest.raises(TrustError) as caught:
        TrustState.begin(json.dumps(value).encode(), Digest.of(b""))
    assert caught.value.reference == "metadata-malformed"


def test_a_bundle_that_rewrites_a_root_the_site_knows_is_refused():
    publisher = Publisher()
    state = publisher.begin()
    publisher.rotate()
    state, _, _ = judge(*publisher.bundle(1), state, now=NOW)
    honest = publisher.roots.pop()
    publisher.rotate(release=keys(1))  # the same people sign a second root 2
    error = refused(*publisher.bundle(2), state)
    assert error.reference == "root-differs"
    publisher.roots[-1:] = [honest]


def test_a_release_by_a_key_that_a_newer_root_took_away_is_refused_also_without_that_root():
    publisher = Publisher()
    stolen = list(publisher.release)
    region_of_thief, index_of_thief = publisher.bundle(9)
    state, _, _ = judge(*publisher.bundle(1), publisher.begin(), now=NOW)
    publisher.rotate(release=keys(1))
    state, _, _ = judge(*publisher.bundle(2), state, now=NOW)
    error = refused(region_of_thief, index_of_thief, state)
    assert error.reference == "release-key-unknown"
    assert stolen[0].public_key.keyid[:12] in error.seen


def test_a_newer_root_can_be_kept_though_the_rest_of_its_bundle_is_refused():
    publisher = Publisher()
    by_the_thief = publisher.bundle(9)
    state = publisher.begin()
    publisher.rotate(release=keys(1))
    region, _ = publisher.bundle(2)
    assert refused(region, b"damaged", state).reference == "index-mismatch"
    kept = follow_roots(region, state)
    assert len(kept.roots) == 2
    judge(*by_the_thief, state, now=NOW)
    assert refused(*by_the_thief, kept).reference == "release-key-unknown"


def test_a_bundle_signed_before_the_roots_changed_is_still_accepted_while_its_key_counts():
    publisher = Publisher()
    earlier = publisher.bundle(5)
    publisher.rotate(people=keys(3))
    state = follow_roots(publisher.bundle(4)[0], publisher.begin())
    after, _, _ = judge(*earlier, state, now=NOW)
    assert len(after.roots) == 2


def test_a_site_may_begin_at_a_later_root():
    publisher = Publisher()
    publisher.rotate()
    state = TrustState.begin(publisher.roots[1], fingerprint(publisher.roots[1]))
    publisher.rotate()
    after, _, _ = judge(*publisher.bundle(), state, now=NOW)
    assert after.roots == tuple(publisher.roots[1:])


def test_more_roots_than_a_chain_may_have_are_refused_unread():
    publisher = Publisher()
    region, index = publisher.bundle()
    many = region | {f"metadata/{number}.root.json": b"not even read" for number in range(2, 258)}
    assert refused(many, index, publisher.begin()).reference == "metadata-unexpected"
