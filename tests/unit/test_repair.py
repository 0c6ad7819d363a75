"""A whole bundle out of damaged copies; the copies stay as they are."""

from __future__ import annotations

import hashlib
import random
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from bundles.archive.reader import read_head
from bundles.archive.split import split
from bundles.archive.volumes import LEAST_BYTES
from bundles.repair import Repaired, repair
from bundles.verify import verify
from registry.errors import DryportError, MediaError, TrustError
from registry.progress import Silent
from tests.attacks.publisher import NOW, Publisher
from tests.sample_bundles import Sample, noise

PUBLISHER = Publisher(product="sample")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("honest")
    layers = {name: noise(name, size) for name, size in (("base", 11 << 20), ("app", 9 << 20), ("tip", 14 << 20))}
    Sample.of(layers).publish(folder / "sample.tar", PUBLISHER)
    split(folder / "sample.tar", folder, LEAST_BYTES, Silent())
    return folder


@pytest.fixture
def copies(honest: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two copies, each with its volumes."""
    for name in ("one", "other"):
        shutil.copytree(honest, tmp_path / name)
    (tmp_path / "out").mkdir()
    return tmp_path / "one/sample.tar", tmp_path / "other/sample.tar"


def spoil(path: Path, *places: int) -> None:
    with path.open("r+b") as stream:
        for at in places:
            stream.seek(at)
            byte = stream.read(1)
            stream.seek(at)
            stream.write(bytes([byte[0] ^ 1]))


def mend(path: Path, out: Path, *others: Path) -> Repaired:
    return repair(path, others, PUBLISHER.begin(), out, now=NOW, progress=Silent())


def is_whole(path: Path) -> bool:
    try:
        with closing(verify(path, PUBLISHER.begin(), now=NOW)) as verified:
            verified.check_all(Silent())
    except DryportError:
        return False
    return True


def volumes(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.*"))


def test_each_copy_gives_what_the_other_lacks(copies: tuple[Path, Path], honest: Path, tmp_path: Path) -> None:
    one, other = copies
    size = one.stat().st_size
    spoil(one, size - 3_000_000, size - 30_000_000, 700)
    spoil(other, size - 12_000_000, size - 1)
    before = [hashlib.sha256(path.read_bytes()).digest() for path in copies]
    done = mend(one, tmp_path / "out/sample.tar", other)
    assert done.files == (tmp_path / "out/sample.tar",)
    assert (tmp_path / "out/sample.tar").read_bytes() == (honest / "sample.tar").read_bytes()
    assert 0 < done.taken <= 2 * (4 << 20)
    assert [hashlib.sha256(path.read_bytes()).digest() for path in copies] == before


def test_a_damaged_head_is_taken_from_the_other_copy(copies: tuple[Path, Path], honest: Path, tmp_path: Path) -> None:
    one, other = copies
    with read_head(one) as head:
        region = head.region_offset
    spoil(one, 1600, region + 600, region + 2_000_000)
    mend(one, tmp_path / "out/sample.tar", other)
    assert (tmp_path / "out/sample.tar").read_bytes() == (honest / "sample.tar").read_bytes()


@pytest.mark.parametrize("length", [10, 5_000_000, 20_000_000])
def test_a_copy_that_was_cut_off_is_mended(
    copies: tuple[Path, Path], honest: Path, tmp_path: Path, length: int
) -> None:
    one, other = copies
    with one.open("r+b") as stream:
        stream.truncate(length)
    mend(one, tmp_path / "out/sample.tar", other)
    assert (tmp_path / "out/sample.tar").read_bytes() == (honest / "sample.tar").read_bytes()


def test_of_volumes_only_the_damaged_and_missing_ones_are_written(copies: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = (volumes(path)[0] for path in copies)
    spoil(volumes(copies[0])[1], 9_000_000)
    volumes(copies[0])[2].unlink()
    done = mend(one, tmp_path / "out", other)
    assert [path.name for path in done.files] == [path.name for path in volumes(copies[1])[1:]]
    for path in done.files:
        shutil.copy(path, one.parent / path.name)
    assert is_whole(one)


def test_a_damaged_header_of_a_volume_is_mended(copies: tuple[Path, Path], tmp_path: Path) -> None:
    one = volumes(copies[0])
    spoil(one[1], 40)
    done = mend(one[0], tmp_path / "out", volumes(copies[1])[0])
    assert [path.name for path in done.files] == [one[1].name]
    assert done.files[0].read_bytes() == volumes(copies[1])[1].read_bytes()


def test_volumes_mend_a_file_and_a_file_mends_volumes(copies: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = copies
    spoil(one, one.stat().st_size - 9_000_000)
    mend(one, tmp_path / "out/sample.tar", volumes(other)[0])
    assert is_whole(tmp_path / "out/sample.tar")
    spoil(volumes(copies[0])[0], 9_000_000)
    mend(volumes(copies[0])[0], tmp_path / "out", other)


def test_what_no_copy_has_is_named_and_nothing_is_written(copies: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = copies
    at = one.stat().st_size - 9_000_000
    spoil(one, at)
    spoil(other, at + 1000)
    with pytest.raises(MediaError) as caught:
        mend(one, tmp_path / "out/sample.tar", other)
    assert caught.value.reference == "repair-incomplete"
    assert len(caught.value.findings) == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_a_copy_of_another_publisher_mends_nothing(copies: tuple[Path, Path], tmp_path: Path) -> None:
    one, _ = copies
    spoil(one, 1600)
    Sample.small().publish(tmp_path / "foreign.tar", Publisher(product="sample"))
    with pytest.raises((TrustError, MediaError)):
        mend(one, tmp_path / "out/sample.tar", tmp_path / "foreign.tar")


def test_a_whole_bundle_needs_no_mending(copies: tuple[Path, Path], tmp_path: Path) -> None:
    assert mend(copies[0], tmp_path / "out/sample.tar", copies[1]).files == ()
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("seed", range(8))
def test_any_damage_of_two_copies_that_is_apart_is_mended(
    copies: tuple[Path, Path], honest: Path, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    one, other = copies
    size = one.stat().st_size
    half = size // 2 // (4 << 20) * (4 << 20)
    spoil(one, *(chance.randrange(half - (4 << 20)) for _ in range(5)))
    spoil(other, *(chance.randrange(half + (8 << 20), size) for _ in range(5)))
    mend(one, tmp_path / "out/sample.tar", other)
    assert (tmp_path / "out/sample.tar").read_bytes() == (honest / "sample.tar").read_bytes()
