"""Volumes: written directly, read where they lie, and every byte of theirs accounted for."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles.archive.artifacts import carried_artifacts
from bundles.archive.chunks import CHUNK_BYTES
from bundles.archive.parts import opened
from bundles.archive.reader import read_head
from bundles.archive.split import split
from bundles.archive.volumes import HEADER_BYTES, LEAST_BYTES, PRESETS, Cut, Header, volume_bytes
from bundles.archive.writer import build, sign_in_place
from bundles.trust.roles import Statement, sign_release
from bundles.verify import Verified, verify
from registry.errors import DefinitionError, MediaError, SiteError, UsageError
from registry.oci.digest import Digest
from registry.progress import Silent
from tests.attacks.publisher import DAY, NOW, Publisher
from tests.sample_bundles import Sample, noise

SIZE = LEAST_BYTES
INDEX = Digest.of(b"index")


def sample() -> Sample:
    """Enough for three volumes; one blob lies across an edge."""
    layers = {name: noise(name, size) for name, size in (("base", 11 << 20), ("app", 9 << 20), ("tip", 14 << 20))}
    return Sample.of(layers)


def sign(path: Path, made: Sample, publisher: Publisher) -> None:
    statement = Statement(made.lock.product, made.lock.version, 1, ("linux/amd64",), NOW - DAY, NOW + 100 * DAY)
    with read_head(path) as head:
        index = head.index
    sign_in_place(path, sign_release(index, statement, publisher.roots, publisher.release))


@pytest.fixture(scope="module")
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, publisher: Publisher) -> Path:
    """A signed bundle as one file, and as volumes that a build wrote directly."""
    found, made = tmp_path_factory.mktemp("volumes"), sample()
    made.build(found / "whole.tar")
    sign(found / "whole.tar", made, publisher)
    build(made.lock, found / "cut.tar", made.fetch, Silent(), volume_bytes=SIZE)
    sign(found / "cut.tar", made, publisher)
    return found


@pytest.fixture
def cut(folder: Path, tmp_path: Path) -> Path:
    """Volumes of one's own to break; the name that all of them bear."""
    for path in folder.glob("cut.tar.*"):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path / "cut.tar"


def volumes(base: Path) -> list[Path]:
    return sorted(base.parent.glob(f"{base.name}.*"))


def verified(path: Path, publisher: Publisher, *folders: Path) -> Verified:
    found = verify(path, publisher.begin(), now=NOW, folders=folders)
    found.check_all(Silent())
    return found


def test_slices_in_a_row_are_the_file_but_for_what_signing_writes(folder: Path) -> None:
    slices = b"".join(path.read_bytes()[HEADER_BYTES:] for path in volumes(folder / "cut.tar"))
    whole = (folder / "whole.tar").read_bytes()
    with read_head(folder / "whole.tar") as head:
        begin = head.region_offset
    assert len(slices) == len(whole)
    assert slices[:begin] == whole[:begin]
    assert slices[begin + (4 << 20) :] == whole[begin + (4 << 20) :]
    assert {path.stat().st_size for path in volumes(folder / "cut.tar")[:-1]} == {SIZE}


def test_any_volume_or_the_name_of_all_opens_the_bundle(folder: Path, publisher: Publisher) -> None:
    for path in [folder / "cut.tar", *volumes(folder / "cut.tar")]:
        with verified(path, publisher).archive as archive:
            content = {one.ref for one in carried_artifacts(archive)}
        assert len(content) == 4


def test_volumes_may_lie_in_several_folders(cut: Path, publisher: Publisher) -> None:
    elsewhere = cut.parent / "other stick"
    elsewhere.mkdir()
    moved = volumes(cut)[1]
    moved.rename(elsewhere / moved.name)
    with pytest.raises(MediaError) as caught:
        verified(cut, publisher)
    assert caught.value.reference == "volume-missing"
    assert moved.name in caught.value.where
    verified(cut, publisher, elsewhere).close()


def test_reading_changes_no_volume(cut: Path, publisher: Publisher) -> None:
    before = [(hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in volumes(cut)]
    verified(cut, publisher).close()
    assert [(hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in volumes(cut)] == before


def test_damage_is_named_by_volume_and_its_own_bytes(cut: Path, publisher: Publisher) -> None:
    path = volumes(cut)[1]
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES + 3 * CHUNK_BYTES + 77] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(MediaError) as caught:
        verified(cut, publisher)
    (finding,) = caught.value.findings
    assert path.name in finding.where
    assert "needed by" in finding.where


BREAKAGES: dict[str, Callable[[list[Path]], object]] = {
    "a volume is short": lambda files: files[2].write_bytes(files[2].read_bytes()[:-1]),
    "a volume is long": lambda files: files[1].write_bytes(files[1].read_bytes() + b"x"),
    "two volumes are swapped": lambda files: (
        files[0].rename(files[0].with_name("x")),
        files[1].rename(files[0]),
        files[0].with_name("x").rename(files[1]),
        _exchange_numbers(files[0], files[1]),
    ),
    "a header is another's": lambda files: files[1].write_bytes(
        files[2].read_bytes()[:HEADER_BYTES] + files[1].read_bytes()[HEADER_BYTES:]
    ),
}


def _exchange_numbers(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second[:HEADER_BYTES] + first[HEADER_BYTES:])
    other.write_bytes(first[:HEADER_BYTES] + second[HEADER_BYTES:])


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_no_broken_set_is_accepted(cut: Path, publisher: Publisher, breakage: str) -> None:
    BREAKAGES[breakage](volumes(cut))
    with pytest.raises(MediaError):
        verified(volumes(cut)[0], publisher)


def test_no_byte_of_a_header_is_free(cut: Path, publisher: Publisher) -> None:
    path = volumes(cut)[1]
    whole = path.read_bytes()
    used = len(whole[:HEADER_BYTES].rstrip(b"\0"))
    for at in [*range(used), used, HEADER_BYTES // 2, HEADER_BYTES - 1]:
        with path.open("r+b") as stream:
            stream.seek(at)
            stream.write(bytes([whole[at] ^ 1]))
        with pytest.raises(MediaError):
            verify(cut, publisher.begin(), now=NOW)
        with path.open("r+b") as stream:
            stream.seek(at)
            stream.write(whole[at : at + 1])
    verify(cut, publisher.begin(), now=NOW).close()


def test_a_volume_of_another_bundle_is_told_apart(cut: Path, tmp_path: Path, publisher: Publisher) -> None:
    other = Sample.of({"base": noise("another", 34 << 20)})
    (tmp_path / "other").mkdir()
    build(other.lock, tmp_path / "other/cut.tar", other.fetch, Silent(), volume_bytes=SIZE)
    shutil.copy(volumes(tmp_path / "other/cut.tar")[1], volumes(cut)[1])
    with pytest.raises(MediaError) as caught:
        verified(cut, publisher)
    assert caught.value.reference == "volume-foreign"


def test_a_bundle_is_split_and_the_volumes_are_those_of_a_build(folder: Path, tmp_path: Path) -> None:
    made = split(folder / "whole.tar", tmp_path, SIZE, Silent())
    built = volumes(folder / "cut.tar")
    assert [path.name.replace("whole", "cut") for path in made] == [path.name for path in built]
    assert made[-1].read_bytes() == built[-1].read_bytes()
    with pytest.raises(SiteError, match="cut otherwise"):
        split(made[0], tmp_path, 2 * SIZE, Silent())
    (tmp_path / "other").mkdir()
    again = split(made[0], tmp_path / "other", 2 * SIZE, Silent())
    assert len(again) == 2


def test_volumes_are_never_split_onto_themselves(cut: Path) -> None:
    before = {path: path.read_bytes() for path in volumes(cut)}
    with pytest.raises(SiteError) as caught:
        split(cut, cut.parent, SIZE, Silent())
    assert caught.value.reference == "out-is-source"
    assert {path: path.read_bytes() for path in cut.parent.iterdir()} == before


def test_volumes_of_another_bundle_are_not_replaced(cut: Path, tmp_path: Path) -> None:
    other = Sample.of({"base": noise("another", 34 << 20)})
    (tmp_path / "source").mkdir()
    other.build(tmp_path / "source/cut.tar")
    before = [path.read_bytes() for path in volumes(cut)]
    with pytest.raises(SiteError) as caught:
        split(tmp_path / "source/cut.tar", cut.parent, SIZE, Silent())
    assert caught.value.reference == "bundle-exists"
    assert [path.read_bytes() for path in volumes(cut)] == before


def test_a_split_that_was_cut_off_is_done_again(folder: Path, tmp_path: Path) -> None:
    made = split(folder / "whole.tar", tmp_path, SIZE, Silent())
    before = [path.read_bytes() for path in made]
    made[2].unlink()
    split(folder / "whole.tar", tmp_path, SIZE, Silent())
    assert [path.read_bytes() for path in made] == before


def test_a_damaged_bundle_is_not_split(folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "whole.tar").read_bytes())
    data[-10_000_000] ^= 1
    (tmp_path / "bad.tar").write_bytes(bytes(data))
    with pytest.raises(MediaError):
        split(tmp_path / "bad.tar", tmp_path, SIZE, Silent())
    assert not list(tmp_path.glob("*-of-*[0-9]"))


def test_a_build_of_volumes_that_was_cut_off_goes_on(folder: Path, tmp_path: Path) -> None:
    made = sample()
    lost = max(made.sources, key=lambda digest: len(made.sources[digest]))
    whole = made.sources[lost]
    made.sources[lost] = whole[:-1]
    with pytest.raises(DefinitionError):
        build(made.lock, tmp_path / "cut.tar", made.fetch, Silent(), volume_bytes=SIZE)
    assert not [path for path in volumes(tmp_path / "cut.tar") if not path.name.endswith(".part")]
    made.sources[lost] = whole
    report = build(made.lock, tmp_path / "cut.tar", made.fetch, Silent(), volume_bytes=SIZE)
    assert report.fetched <= CHUNK_BYTES
    assert volumes(tmp_path / "cut.tar")[-1].read_bytes() == volumes(folder / "cut.tar")[-1].read_bytes()


def test_a_publication_that_was_cut_off_between_two_volumes_is_taken_up(tmp_path: Path) -> None:
    made, base = sample(), tmp_path / "cut.tar"
    build(made.lock, base, made.fetch, Silent(), volume_bytes=SIZE)
    before = [path.read_bytes() for path in volumes(base)]
    for path in volumes(base)[1:]:
        path.rename(path.with_name(f"{path.name}.part"))
    made.fetched.clear()
    build(made.lock, base, made.fetch, Silent(), volume_bytes=SIZE)
    assert [path.read_bytes() for path in volumes(base)] == before
    assert made.fetched == []


def test_a_build_of_what_is_there_writes_nothing(tmp_path: Path) -> None:
    made, base = sample(), tmp_path / "cut.tar"
    build(made.lock, base, made.fetch, Silent(), volume_bytes=SIZE)
    assert build(made.lock, base, made.fetch, Silent(), volume_bytes=SIZE).unchanged


def test_no_second_cut_is_put_beside_the_first_since_no_reader_could_tell_them_apart(tmp_path: Path) -> None:
    made, base = sample(), tmp_path / "cut.tar"
    build(made.lock, base, made.fetch, Silent(), volume_bytes=SIZE)
    before = [path.read_bytes() for path in volumes(base)]
    for size in (2 * SIZE, None):  # one file would hide the volumes from their name
        with pytest.raises(SiteError) as caught:
            build(made.lock, base, made.fetch, Silent(), volume_bytes=size)
        assert caught.value.reference == "bundle-exists"
    assert [path.read_bytes() for path in volumes(base)] == before
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("moved", [1, 2])
def test_volumes_that_were_being_taken_back_when_the_power_went_are_built_on(tmp_path: Path, moved: int) -> None:
    made, base = sample(), tmp_path / "cut.tar"
    build(made.lock, base, made.fetch, Silent(), volume_bytes=SIZE)
    moves: list[Path] = []
    before = [path.read_bytes() for path in volumes(base)]
    volumes(base)[-1].unlink()  # so that a build has something to do

    def move(path: Path, final: Path) -> None:
        if len(moves) == moved - 1:
            raise KeyboardInterrupt
        moves.append(path)
        path.rename(final)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("registry.store.durable.move", move)
        with pytest.raises(KeyboardInterrupt):
            build(made.lock, base, made.fetch, Silent(), volume_bytes=SIZE)
    build(made.lock, base, made.fetch, Silent(), volume_bytes=SIZE)
    assert [path.read_bytes() for path in volumes(base)] == before


@pytest.mark.parametrize("size", [None, SIZE])
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_room_is_foretold_within_two_percent_and_refused_before_a_byte(tmp_path: Path, size: int | None) -> None:
    made, disk = sample(), tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "dryport-test", disk], check=True)
    try:
        with pytest.raises(SiteError) as caught:
            build(made.lock, disk / "b.tar", made.fetch, Silent(), volume_bytes=size)
        assert caught.value.reference == "space-short"
        assert list(disk.iterdir()) == []
        needed = int(caught.value.expected.split()[0])
        subprocess.run(["mount", "-o", f"remount,size={needed // 4096 * 4096 + 4096}", disk], check=True)
        build(made.lock, disk / "b.tar", made.fetch, Silent(), volume_bytes=size)
        taken = sum(path.stat().st_blocks * 512 for path in disk.iterdir())
        assert 0.98 * needed <= taken <= needed
    finally:
        subprocess.run(["umount", disk], check=True)


@given(st.integers(1, 10**12), st.integers(LEAST_BYTES, 10**11))
def test_slices_cover_the_tar_once_and_headers_say_so(total: int, size: int) -> None:
    try:
        cut = Cut.of(total, size)
    except UsageError:
        return
    assert [end for _, end in cut.slices[:-1]] == [begin for begin, _ in cut.slices[1:]]
    assert (cut.slices[0][0], cut.slices[-1][1]) == (0, total)
    for number in {1, cut.count}:
        block = Header.of(cut, number, INDEX).encode()
        assert len(block) == HEADER_BYTES
        assert Header.parse(block) == Header.of(cut, number, INDEX)


@given(st.binary(max_size=HEADER_BYTES))
def test_whatever_stands_in_a_block_is_a_header_none_or_a_fault(data: bytes) -> None:
    try:
        Header.parse(data)
        Header.parse(b'{"apiVersion":"dryport/v1","count":' + data)
    except ValueError:
        pass


@pytest.mark.parametrize(("text", "size"), [("fat32", PRESETS["fat32"]), ("8GB", 8 * 10**9), ("1 GiB", 1 << 30)])
def test_sizes_are_named_as_people_name_them(text: str, size: int) -> None:
    assert volume_bytes(text) == size


@pytest.mark.parametrize("text", ["", "1", "15 MiB", "floppy", "4 TB", "-1GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        volume_bytes(text)


def test_a_part_never_looks_like_a_volume(tmp_path: Path) -> None:
    with opened(tmp_path / "a.tar", 40 << 20, SIZE) as part:
        part.write(20 << 20, b"content")
        assert part.read(20 << 20, 7) == b"content"
    assert len(list(tmp_path.iterdir())) == 3
    assert all(path.read_bytes()[:1] == b"\0" for path in tmp_path.iterdir())
