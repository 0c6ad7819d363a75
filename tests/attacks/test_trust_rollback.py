"""Old bundles sold as new, and bundles put together from two: each attack, and its honest twin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bundles.trust import memory
from bundles.trust.verify import TrustState, judge
from registry.errors import TrustError
from tests.attacks.publisher import DAY, NOW, Publisher, refused


def accepted(publisher: Publisher, sequence: int) -> TrustState:
    state, _, _ = judge(*publisher.bundle(sequence), publisher.begin(), now=NOW)
    return state


def test_a_lower_sequence_than_the_one_accepted_last_is_refused():
    publisher = Publisher()
    state = accepted(publisher, 5)
    error = refused(*publisher.bundle(4), state)
    assert error.reference == "release-rolled-back"
    assert "sequence 5" in error.expected
    assert "sequence 4" in error.seen
    judge(*publisher.bundle(6), state, now=NOW)


def test_the_same_sequence_is_accepted_again_only_with_the_same_index():
    publisher = Publisher()
    state = accepted(publisher, 5)
    again, _, _ = judge(*publisher.bundle(5), state, now=NOW)
    assert again == state
    assert refused(*publisher.bundle(5, content="another"), state).reference == "release-sequence-reused"


def test_each_product_has_a_sequence_of_its_own():
    publisher = Publisher()
    state = accepted(publisher, 5)
    other, _, _ = judge(*publisher.bundle(2, product="other"), state, now=NOW)
    assert {name: sequence for name, (sequence, _) in other.accepted.items()} == {"quickstart": 5, "other": 2}


def test_a_remembered_release_survives_a_restart_of_the_program(tmp_path: Path):
    publisher = Publisher()
    path = tmp_path / "trust.json"
    memory.save(path, accepted(publisher, 5))
    remembered = memory.load(path)
    assert remembered == accepted(publisher, 5)
    assert path.stat().st_mode & 0o777 == 0o600
    assert refused(*publisher.bundle(4), remembered).reference == "release-rolled-back"


def test_a_cut_off_or_emptied_memory_is_damaged_and_never_a_fresh_start(tmp_path: Path):
    path = tmp_path / "trust.json"
    memory.save(path, accepted(Publisher(), 5))
    whole = path.read_bytes()
    for length in [*range(0, len(whole) - 1, 97), len(whole) - 2]:
        path.write_bytes(whole[:length])
        with pytest.raises(TrustError) as caught:
            memory.load(path)
        assert caught.value.reference == "trust-memory-damaged"
    path.write_bytes(whole)
    assert memory.load(path) is not None


def test_no_changed_byte_in_the_memory_goes_unnoticed(tmp_path: Path):
    path = tmp_path / "trust.json"
    state = accepted(Publisher(), 5)
    memory.save(path, state)
    whole = path.read_bytes()
    for at in range(0, len(whole), 13):
        flipped = bytearray(whole)
        flipped[at] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(TrustError) as caught:
            memory.load(path)
        assert caught.value.reference == "trust-memory-damaged"


def test_a_damaged_memory_is_not_written_over(tmp_path: Path):
    path = tmp_path / "trust.json"
    path.write_bytes(b"")
    with pytest.raises(TrustError) as caught:
        memory.save(path, Publisher().begin())
    assert caught.value.reference == "trust-memory-damaged"
    assert path.read_bytes() == b""


def test_a_site_cannot_be_made_to_forget_by_saving_an_older_state(tmp_path: Path):
    publisher = Publisher()
    path = tmp_path / "trust.json"
    begun, grown = publisher.begin(), accepted(publisher, 5)
    memory.save(path, begun)
    memory.save(path, grown)
    for older in (begun, accepted(publisher, 4), Publisher().begin()):
        with pytest.raises(TrustError) as caught:
            memory.save(path, older)
        assert caught.value.reference == "trust-memory-behind"
    assert memory.load(path) == grown
    newer, _, _ = judge(*publisher.bundle(6), grown, now=NOW + DAY)
    memory.save(path, newer)
    assert memory.load(path) == newer


@pytest.mark.parametrize("forgotten", ["a sequence", "a product", "a root", "the time"])
def test_a_site_cannot_be_made_to_forget_one_thing_alone(tmp_path: Path, forgotten: str):
    publisher = Publisher()
    publisher.rotate()
    path, grown = tmp_path / "trust.json", accepted(publisher, 5)
    memory.save(path, grown)
    less = {
        "a sequence": replace(grown, accepted={"quickstart": (4, grown.accepted["quickstart"][1])}),
        "a product": replace(grown, accepted={"other": grown.accepted["quickstart"]}),
        "a root": replace(grown, roots=grown.roots[:1]),
        "the time": replace(grown, floor=grown.floor - DAY),
    }[forgotten]
    with pytest.raises(TrustError) as caught:
        memory.save(path, less)
    assert caught.value.reference == "trust-memory-behind"
    assert memory.load(path) == grown


def test_only_a_memory_that_is_not_there_means_nothing_remembered(tmp_path: Path):
    assert memory.load(tmp_path / "trust.json") is None
