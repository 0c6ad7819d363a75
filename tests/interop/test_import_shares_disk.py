"""On real XFS and btrfs an import takes next to no disk, and less time than a copy; on ext4 it is a copy."""

from __future__ import annotations

import functools
import os
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundles.archive.chunks import blob_name
from bundles.archive.reader import Archive, read_head
from registry.oci.digest import Digest
from registry.store import durable
from tests.disks import cut_power, disk, used
from tests.sample_bundles import WEB, Sample
from tests.unit.test_cli_registry import published, told

MIB = 1 << 20
REPOSITORY = WEB.rpartition(":")[0]


@functools.cache
def sample() -> Sample:
    """Return 160 MiB in layers of odd sizes, and a small one."""
    chance = random.Random(4096)  # noqa: S311 - content, no secrets
    sizes = (96 * MIB + 4095, 48 * MIB, 16 * MIB + 1, 70_000, 30_000)
    return Sample.of({f"layer-{number}": chance.randbytes(size) for number, size in enumerate(sizes)})


LARGEST = functools.cache(lambda: max(sample().sources, key=lambda digest: len(sample().sources[digest])))


@dataclass(frozen=True)
class Place:
    """A file system that has a bundle, and the options by which the bundle is trusted."""

    folder: Path
    bundle: Path
    trust: Sequence[str]

    @classmethod
    def made(cls, folder: Path) -> Place:
        return cls(folder, folder / "b.tar", published(sample(), folder / "b.tar"))

    def imported(self, capsys: pytest.CaptureFixture[str], name: str, code: int = 0) -> dict[str, int]:
        store = ("--from", str(self.bundle), "--store", str(self.folder / name))
        return told(capsys, "registry", "import", *store, *self.trust, code=code)

    def whole(self, name: str) -> bool:
        """Say whether a store has all layers, byte for byte."""
        files = self.folder / name / "blobs/sha256"
        return all((files / digest.hex).read_bytes() == data for digest, data in sample().sources.items())


@pytest.fixture(params=["xfs", "btrfs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with disk(tmp_path, request.param, 600 * MIB) as folder:
        yield Place.made(folder)


def test_an_import_takes_less_than_two_percent_of_its_content_of_the_disk(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    content = sum(map(len, sample().sources.values()))
    before = used(place.folder)
    report = place.imported(capsys, "store")
    assert used(place.folder) - before < content // 50
    assert report["bytes_shared"] > content * 0.99
    assert 0 < report["bytes_copied"] < content // 50
    assert place.whole("store")
    place.bundle.unlink()
    assert used(place.folder) > content, "what the store shared stays with it"
    assert place.whole("store")
    assert told(capsys, "registry", "scrub", "--store", str(place.folder / "store"))["damages"] == []


def test_an_import_that_shares_is_faster_than_one_that_copies(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(name: str) -> float:
        begun = time.monotonic()
        assert bool(place.imported(capsys, name)["bytes_shared"]) == name.startswith("shared")
        took = time.monotonic() - begun
        shutil.rmtree(place.folder / name)
        return took

    shared = min(seconds(f"shared-{number}") for number in range(3))
    monkeypatch.setattr(durable, "share", lambda *_: 0)
    assert shared < min(seconds(f"copied-{number}") for number in range(3))


def test_where_a_copy_has_no_room_an_import_that_shares_succeeds(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    about = os.statvfs(place.folder)
    with (place.folder / "filler").open("xb") as file:
        os.posix_fallocate(file.fileno(), 0, about.f_bavail * about.f_frsize - 80 * MIB)
    with monkeypatch.context() as patched:
        patched.setattr(durable, "share", lambda *_: 0)
        assert place.imported(capsys, "copied", code=6)["reference"] == "space-short"
    assert not list((place.folder / "copied/blobs/sha256").iterdir())
    assert place.imported(capsys, "shared")["bytes_shared"] > 159 * MIB
    assert place.whole("shared")


def test_what_was_imported_survives_a_power_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with disk(tmp_path, "xfs", 600 * MIB) as folder:
        place = Place.made(folder)
        used(folder)  # the test's own files are on disk; what the import does is the import's to bring there
        assert place.imported(capsys, "store")["bytes_shared"]
        (folder / "afterwards").write_text("in memory alone")
        cut_power(folder)
        assert not (folder / "afterwards").exists() or not (folder / "afterwards").read_bytes(), "no power was cut"
        assert place.whole("store")
        assert told(capsys, "registry", "status", "--store", str(folder / "store"))["missing"] == []
        assert place.imported(capsys, "store")["copied"] == 0


def test_a_bundle_that_is_written_to_after_the_import_changes_nothing_in_the_store(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.imported(capsys, "store")
    with place.bundle.open("r+b", buffering=0) as file:
        file.seek(8 * MIB)
        file.write(bytes(150 * MIB))
        os.fsync(file.fileno())
    assert place.whole("store")


def test_a_damaged_bundle_is_refused_and_the_store_shows_nothing_of_the_damage(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    with read_head(place.bundle) as head:
        at = Archive(head).members[blob_name(LARGEST())].offset + 50 * MIB
    durable.overwrite(place.bundle, at, bytes([sample().sources[LARGEST()][50 * MIB] ^ 1]))
    report = place.imported(capsys, "store", code=4)
    assert [finding["reference"] for finding in report["findings"]] == ["blob-damaged"]  # type: ignore[attr-defined]
    assert not (place.folder / "store/blobs/sha256" / LARGEST().hex).exists()
    assert list((place.folder / "store/incoming").iterdir()) == []


def test_a_store_is_mended_from_a_bundle_without_a_copy(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.imported(capsys, "store")
    with (place.folder / "store/blobs/sha256" / LARGEST().hex).open("r+b") as file:
        file.write(b"?" * 9)
    before = used(place.folder)
    report = told(
        capsys, "registry", "scrub", "--store", str(place.folder / "store"), "--bundle", str(place.bundle), *place.trust
    )
    assert [one["repaired"] for one in report["damages"]] == [True]
    assert used(place.folder) - before < MIB
    assert place.whole("store")


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_where_disk_cannot_be_shared_an_import_copies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    with disk(tmp_path, kind, 600 * MIB) as folder:
        place = Place.made(folder if kind == "ext4" else tmp_path)  # or the bundle lies on another disk than the store
        place = Place(folder, place.bundle, place.trust)
        report = place.imported(capsys, "store")
        assert report["bytes_shared"] == 0
        assert report["bytes_copied"] > 160 * MIB
        assert place.whole("store")


def test_the_sample_has_the_digests_it_is_looked_up_by() -> None:
    assert Digest.of(sample().sources[LARGEST()]) == LARGEST()
