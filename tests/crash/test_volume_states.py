"""Every state in which a power cut can leave volumes that are being published, and what comes of each."""

from __future__ import annotations

from pathlib import Path

from bundles.archive.reader import Archive, read_head
from bundles.archive.writer import build
from registry.errors import MediaError
from registry.progress import Silent
from tests.crash.powercut import unbroken
from tests.crash.tape import recorded
from tests.sample_bundles import Sample

VOLUME = (4 << 20) + (48 << 10)
"""Head and region lie in the first of two volumes; people cannot ask for so little, and states are quickly made."""


def files(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


def is_accepted(base: Path) -> bool:
    """Say whether a reader finds nothing wrong, to the last byte."""
    try:
        with read_head(base) as head:
            archive = Archive(head)
            for entry in archive.table.members:
                for number in range(len(entry.proofs)):
                    archive.read_chunk(entry, number)
    except MediaError:
        return False
    return True


def test_no_state_of_a_publication_is_taken_for_a_bundle_and_the_next_build_ends_it(tmp_path: Path) -> None:
    sample, disk, honest = Sample.small(), tmp_path / "disk", tmp_path / "honest"
    disk.mkdir()
    honest.mkdir()
    build(sample.lock, honest / "b.tar", sample.fetch, Silent(), volume_bytes=VOLUME)
    expected = files(honest)
    assert len(expected) == 2
    with recorded(disk) as tape:
        build(sample.lock, disk / "b.tar", sample.fetch, Silent(), volume_bytes=VOLUME)
        tape.say("built")

    def judge(place: Path, said: frozenset[str]) -> None:
        named = {name: data for name, data in files(place).items() if not name.endswith(".part")}
        assert is_accepted(place / "b.tar") == (named == expected)
        assert named.items() <= expected.items()
        assert named == expected or not said
        build(sample.lock, place / "b.tar", sample.fetch, Silent(), volume_bytes=VOLUME)
        assert files(place) == expected

    looked = unbroken(tape, judge)
    assert len(looked) > 10
    assert looked.breaks(tape.without(*[site for site in tape.sites() if site.startswith("durable.publish: os.fsync")]))
