"""Who signed: every way to a bundle that too few of the right keys vouch for, and its honest twin."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from bundles.trust.detached import SIGNATURE, SIGSTORE, forms
from bundles.trust.signers import sign_detached
from bundles.trust.verify import judge
from tests.attacks.publisher import (
    DAY,
    NOW,
    Publisher,
    Region,
    keys,
    plainly_signed,
    refused,
    resign_same,
    resigned,
    signed,
)

ROLES = ("timestamp", "snapshot", "targets")


def test_an_honestly_signed_bundle_is_accepted_and_says_what_was_signed():
    publisher = Publisher()
    region, index = publisher.bundle(7)
    state, release, warnings = judge(region, index, publisher.begin(), now=NOW)
    assert (release.product, release.version, release.sequence) == ("quickstart", "1.0.7", 7)
    assert release.index.matches(index)
    assert release.index_size == len(index)
    assert state.accepted == {"quickstart": (7, release.index)}
    assert warnings == ()


@pytest.mark.parametrize("region", [{}, {"metadata/pad": b""}])
def test_an_unsigned_bundle_is_refused_as_unsigned(region: Region):
    error = refused(region, b"{}", Publisher().begin())
    assert error.reference == "bundle-unsigned"
    assert "dryport bundle sign" in error.hint


@pytest.mark.parametrize("name", [f"metadata/{role}.json" for role in ROLES] + [SIGNATURE, SIGSTORE])
def test_a_bundle_without_one_of_the_signed_files_is_refused(name: str):
    publisher = Publisher()
    region, index = publisher.bundle()
    del region[name]
    error = refused(region, index, publisher.begin())
    assert error.reference == "metadata-incomplete"
    assert name in error.seen


def test_a_file_that_nobody_expects_between_the_metadata_is_refused():
    publisher = Publisher()
    region, index = publisher.bundle()
    error = refused({**region, "metadata/extra.json": b"{}"}, index, publisher.begin())
    assert error.reference == "metadata-unexpected"


def test_a_release_signed_by_a_key_the_root_does_not_name_is_refused_with_both_key_ids():
    publisher, stranger = Publisher(), Publisher()
    region, index = publisher.bundle()
    theirs, _ = stranger.bundle()
    root = {"metadata/1.root.json": region["metadata/1.root.json"]}
    error = refused({**theirs, **root}, index, publisher.begin())
    assert error.reference == "release-key-unknown"
    assert publisher.release[0].public_key.keyid[:12] in error.expected
    assert stranger.release[0].public_key.keyid[:12] in error.seen


def test_a_complete_bundle_of_another_root_of_trust_is_refused():
    publisher, stranger = Publisher(), Publisher()
    region, index = stranger.bundle()
    assert refused(region, index, publisher.begin()).reference == "root-differs"
    judge(region, index, stranger.begin(), now=NOW)


@pytest.mark.parametrize(("role", "enough"), [("targets", 2), ("snapshot", 1), ("timestamp", 1)])
def test_one_signature_less_than_needed_is_refused_for_every_role(role: str, enough: int):
    publisher = Publisher(release_keys=3, release_threshold=2)
    region, index = publisher.bundle()
    fewer = resigned(region, role, lambda _: None, publisher.release[: enough - 1], rebind=False)
    error = refused(fewer, index, publisher.begin())
    assert error.reference == "release-below-threshold"
    assert error.where == f"metadata/{role}.json"
    assert error.expected.startswith(f"{enough} of the")
    two_others, index = publisher.bundle(signers=publisher.release[1:])
    judge(two_others, index, publisher.begin(), now=NOW)


def test_one_release_key_alone_makes_nothing_that_a_site_accepts_whatever_it_binds():
    publisher = Publisher(release_keys=2, release_threshold=2)
    region, index = publisher.bundle()
    forged = resigned(region, "targets", lambda one: one.update(version=9), publisher.release[:1])
    assert refused(forged, index, publisher.begin()).reference == "release-below-threshold"
    judge(region, index, publisher.begin(), now=NOW)


def test_signers_in_turn_make_a_release_and_no_site_accepts_it_before_the_last():
    publisher = Publisher(release_keys=3, release_threshold=3)
    states = [publisher.bundle(signers=publisher.release[:1])]
    for signer in publisher.release[1:]:
        states.append(publisher.bundle(signers=[signer], earlier=states[-1][0], issued=NOW - DAY))
    for region, index in states[:-1]:
        assert refused(region, index, publisher.begin()).reference == "release-below-threshold"
    first, _, _ = states
    _, release, _ = judge(*states[-1], publisher.begin(), now=NOW)
    assert len(json.loads(states[-1][0]["metadata/targets.json"])["signatures"]) == 3
    assert release.issued == NOW - 10 * DAY + timedelta(minutes=1)  # as the first signer said
    assert "metadata/snapshot.json" not in first[0]


@pytest.mark.parametrize("other", [{"sequence": 2}, {"best_before": NOW + DAY}, {"content": "another"}])
def test_a_signer_who_says_something_else_begins_anew(other: dict[str, Any]):
    publisher = Publisher(release_keys=2, release_threshold=2)
    earlier, _ = publisher.bundle(signers=publisher.release[:1])
    region, index = publisher.bundle(signers=publisher.release[1:], earlier=earlier, **other)
    assert len(json.loads(region["metadata/targets.json"])["signatures"]) == 1
    assert refused(region, index, publisher.begin()).reference == "release-below-threshold"


@pytest.mark.parametrize("damaged", [b"", b"{}", b'{"signed":1,"signatures":[]}'])
def test_a_damaged_region_can_be_signed_anew(damaged: bytes):
    publisher = Publisher()
    judge(*publisher.bundle(earlier={"metadata/targets.json": damaged}), publisher.begin(), now=NOW)


def test_a_strangers_signature_in_the_region_is_not_carried_on():
    publisher, stranger = Publisher(release_keys=2, release_threshold=2), keys(1)
    earlier, _ = publisher.bundle(signers=publisher.release[:1])
    name = "metadata/targets.json"
    value = json.loads(earlier[name])["signed"]
    forged = {**earlier, name: signed(value, [*stranger, publisher.release[0]])}
    region, index = publisher.bundle(signers=publisher.release[1:], earlier=forged)
    known = {one.public_key.keyid for one in publisher.release}
    assert {one["keyid"] for one in json.loads(region[name])["signatures"]} == known
    judge(region, index, publisher.begin(), now=NOW)


def test_one_key_that_signed_twice_counts_once():
    publisher = Publisher(release_keys=2, release_threshold=2)
    region, index = publisher.bundle()
    name = "metadata/targets.json"

    def again(signatures: list[dict[str, str]]) -> list[dict[str, str]]:
        return [signatures[0], signatures[0]]

    def under_another_id(signatures: list[dict[str, str]]) -> list[dict[str, str]]:
        return [signatures[0], {**signatures[0], "keyid": signatures[1]["keyid"]}]

    assert refused({**region, name: resign_same(region[name], again)}, index, publisher.begin()).reference in (
        "metadata-malformed",
        "release-below-threshold",
    )
    copied = {**region, name: resign_same(region[name], under_another_id)}
    assert refused(copied, index, publisher.begin()).reference == "signature-invalid"
    judge(region, index, publisher.begin(), now=NOW)


@pytest.mark.parametrize(
    "name", ["metadata/1.root.json", *[f"metadata/{role}.json" for role in ROLES], SIGNATURE, SIGSTORE]
)
def test_no_flipped_bit_in_any_metadata_file_is_accepted(name: str):
    publisher = Publisher()
    region, index = publisher.bundle()
    state = publisher.begin()
    data = region[name]
    chance = random.Random(name)  # noqa: S311 - the same flips on every run
    for at in chance.sample(range(len(data)), min(len(data), 250)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << chance.randrange(8)
        refused({**region, name: bytes(flipped)}, index, state)
    judge(region, index, state, now=NOW)


def test_no_cut_off_metadata_file_is_accepted():
    publisher = Publisher()
    region, index = publisher.bundle()
    for name, data in region.items():
        for length in (0, 1, len(data) // 2, len(data) - 1):
            refused({**region, name: data[:length]}, index, publisher.begin())


def test_a_flipped_byte_in_the_index_is_refused_with_both_digests():
    publisher = Publisher()
    region, index = publisher.bundle()
    error = refused(region, index.replace(b"release", b"releasf"), publisher.begin())
    assert error.reference == "index-mismatch"
    assert "sha256:" in error.expected
    assert "sha256:" in error.seen


def test_a_plain_signature_of_another_index_is_refused_though_tuf_would_not_look_at_it():
    publisher = Publisher()
    region, index = publisher.bundle()
    other = plainly_signed(region, b"another index", publisher.release[0])
    assert refused(other, index, publisher.begin()).reference == "signature-invalid"
    by_a_person = plainly_signed(region, index, publisher.people[0])
    assert refused(by_a_person, index, publisher.begin()).reference == "signature-invalid"


def test_a_sigstore_bundle_with_another_signature_than_the_plain_one_is_refused():
    publisher = Publisher(release_keys=2)
    region, index = publisher.bundle()
    first, second = publisher.release
    again = forms(sign_detached(first, index), first.public_key, index)  # right, but not the one beside it
    by_the_other = forms(region[SIGNATURE], second.public_key, index)
    for one in (again, by_the_other):
        error = refused({**region, SIGSTORE: one[SIGSTORE]}, index, publisher.begin())
        assert (error.reference, error.where) == ("signature-invalid", SIGSTORE)
    judge({**region, **again}, index, publisher.begin(), now=NOW)


def test_a_document_with_two_meanings_is_refused_before_its_signature_is_looked_at():
    publisher = Publisher()
    region, index = publisher.bundle()
    name = "metadata/timestamp.json"
    twice = region[name].replace(b'{"signatures"', b'{"signatures":[],"signatures"', 1)
    error = refused({**region, name: twice}, index, publisher.begin())
    assert error.reference == "metadata-malformed"
    assert "duplicate" in error.message


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(version=1.0),
        lambda one: one.update(version=True),
        lambda one: one.update(version="1"),
        lambda one: one.update(version=0),
        lambda one: one.update(spec_version="2.0.0"),
        lambda one: one.update(expires="soon"),
        lambda one: one.update(expires=one["expires"].lower()),
        lambda one: one.update(_type="snapshot"),
        lambda one: one.update(targets=[]),
        lambda one: one.update(targets={"index.json": {"length": -1, "hashes": {}}}),
    ],
)
def test_targets_of_a_wrong_form_are_refused_with_a_reference_and_no_traceback(
    change: Callable[[dict[str, Any]], object],
):
    publisher = Publisher()
    region, index = publisher.bundle()
    value = json.loads(region["metadata/targets.json"])
    change(value["signed"])
    error = refused({**region, "metadata/targets.json": json.dumps(value).encode()}, index, publisher.begin())
    assert error.reference == "metadata-malformed"


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(sequence="7"),
        lambda said: said.update(sequence=True),
        lambda said: said.update(sequence=0),
        lambda said: said.update(surprise=1),
        lambda said: said.pop("product"),
        lambda said: said.update(product="../etc"),
        lambda said: said.update(version="1.0"),
        lambda said: said.update(platforms=[]),
        lambda said: said.update(platforms=["linux/amd64", "linux/amd64"]),
        lambda said: said.update(platforms="linux/amd64"),
        lambda said: said.update(issued="2031-06-01"),
        lambda said: said.update(issued="2031-6-1T00:00:00Z"),
        lambda said: said.update(bestBefore="2031-13-01T00:00:00Z"),
        lambda said: said.update(bestBefore="2001-01-01T00:00:00Z"),
        lambda said: said.update(apiVersion="dryport/v2"),
        lambda said: said.clear(),
    ],
)
def test_a_statement_of_a_wrong_form_is_refused_even_if_the_right_key_signed_it(
    change: Callable[[dict[str, Any]], object],
):
    publisher = Publisher()
    region, index = publisher.bundle()
    wrong = resigned(region, "targets", lambda one: change(one["targets"]["index.json"]["custom"]), publisher.release)
    assert refused(wrong, index, publisher.begin()).reference == "statement-invalid"
    unchanged = resigned(region, "targets", lambda _: None, publisher.release)
    judge(unchanged, index, publisher.begin(), now=NOW)


def test_a_second_target_or_none_at_all_is_refused_even_if_the_right_key_signed_it():
    publisher = Publisher()
    region, index = publisher.bundle()

    def more(one: dict[str, Any]) -> None:
        one["targets"]["other.json"] = one["targets"]["index.json"]

    for change in (more, lambda one: one["targets"].clear()):
        wrong = resigned(region, "targets", change, publisher.release)
        assert refused(wrong, index, publisher.begin()).reference == "metadata-mixed"


def test_an_index_named_by_a_weak_digest_alone_is_refused():
    publisher = Publisher()
    region, index = publisher.bundle()

    def weaken(one: dict[str, Any]) -> None:
        one["targets"]["index.json"]["hashes"] = {"md5": "0" * 32}

    assert refused(resigned(region, "targets", weaken, publisher.release), index, publisher.begin()).reference == (
        "index-mismatch"
    )


def test_an_index_of_another_length_than_was_signed_is_refused_though_its_digest_is_right():
    publisher = Publisher()
    region, index = publisher.bundle()
    longer = resigned(
        region, "targets", lambda one: one["targets"]["index.json"].update(length=len(index) + 1), publisher.release
    )
    assert refused(longer, index, publisher.begin()).reference == "index-mismatch"


def test_an_rsa_key_in_a_root_is_refused_as_a_kind_that_is_not_accepted():
    publisher = Publisher()
    publisher.release = [CryptoSigner.generate_rsa()]
    with pytest.raises(ValueError, match="not accepted"):
        publisher.rotate()
    publisher.release = keys(1)
    publisher.rotate()
