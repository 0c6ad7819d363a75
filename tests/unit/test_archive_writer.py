"""A bundle is written once, is the same every time, and survives whatever stops its making."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Never

import pytest

from bundles.archive.chunks import CHUNK_BYTES
from bundles.archive.layout import Layout, carried
from bundles.archive.reader import Archive, read_head
from bundles.archive.region import REGION_BYTES, pack_region
from bundles.archive.writer import build, sign_in_place
from bundles.lock import LockedBlob
from registry.errors import DefinitionError, MediaError, SiteError
from registry.oci.digest import Digest
from registry.progress import Silent
from registry.store import durable
from tests.sample_bundles import Sample, noise


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sample.tar"


def part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def test_the_same_lock_gives_the_same_bytes(tmp_path: Path):
    one, two = tmp_path / "one.tar", tmp_path / "two.tar"
    before = os.umask(0o077)
    try:
        Sample.large().build(one)
    finally:
        os.umask(before)
    Sample.large().build(two)
    assert one.read_bytes() == two.read_bytes()


def test_the_report_counts_content_and_what_was_fetched(path: Path):
    sample = Sample.large()
    report = sample.build(path)
    assert report.size == path.stat().st_size
    assert report.content == report.fetched == sum(blob.size for blob in carried(sample.lock).blobs())
    assert not report.unchanged


def test_each_blob_is_fetched_once_though_two_images_share_it(path: Path):
    sample = Sample.large()
    sample.build(path)
    assert sorted(sample.fetched) == sorted(set(sample.fetched)) == sorted(sample.sources)


def test_the_region_of_an_unsigned_bundle_takes_no_disk(path: Path):
    report = Sample.small().build(path)
    assert path.stat().st_blocks * 512 < report.size - REGION_BYTES + 64 * 1024


def test_building_again_writes_nothing(path: Path):
    Sample.small().build(path)
    before = path.stat()
    sample = Sample.small()
    report = sample.build(path)
    assert report.unchanged
    assert sample.fetched == []
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_signed_bundle_of_the_same_lock_stays_signed(path: Path):
    Sample.small().build(path)
    sign_in_place(path, {"metadata/1.root.json": b"{}"})
    assert Sample.small().build(path).unchanged
    with read_head(path) as head:
        assert head.region == {"metadata/1.root.json": b"{}"}


def test_another_lock_makes_another_bundle_of_it(path: Path):
    Sample.small().build(path)
    other = Sample.of({"base": noise("other", 50_001)})
    assert not other.build(path).unchanged
    with read_head(path) as head:
        assert Digest.of(head.index) == other.build(path).index


def test_an_existing_bundle_with_a_damaged_head_is_built_anew(path: Path):
    good = Sample.small().build(path)
    whole = path.read_bytes()
    durable.overwrite(path, good.size - 1, b"x")
    assert not Sample.small().build(path).unchanged
    assert path.read_bytes() == whole


def test_a_signed_bundle_of_another_lock_is_never_replaced(path: Path):
    Sample.small().build(path)
    sign_in_place(path, {"metadata/1.root.json": b"{}"})
    before = path.read_bytes()
    with pytest.raises(SiteError) as caught:
        Sample.of({"base": noise("other", 50_001)}).build(path)
    assert caught.value.reference == "bundle-exists"
    assert f"rm {path}" in caught.value.hint
    assert path.read_bytes() == before
    assert not part_of(path).exists()


@pytest.mark.parametrize("torn", [0, 513])
def test_a_bundle_whose_signature_is_torn_is_not_replaced(path: Path, torn: int):
    Sample.small().build(path)
    sign_in_place(path, {"metadata/1.root.json": b"{}"})
    with read_head(path) as head:
        durable.overwrite(path, head.region_offset + torn, b"x")
    with pytest.raises(SiteError) as caught:
        Sample.of({"base": noise("other", 50_001)}).build(path)
    assert caught.value.reference == "bundle-exists"


@pytest.mark.parametrize("data", [b"", b"my notes", b"n" * 10_000])
def test_what_is_no_bundle_is_not_replaced_by_one(path: Path, data: bytes):
    durable.create(path, data)
    with pytest.raises(SiteError) as caught:
        Sample.small().build(path)
    assert caught.value.reference == "bundle-exists"
    assert path.read_bytes() == data


def test_a_build_that_stopped_goes_on_and_ends_in_the_same_bytes(tmp_path: Path, path: Path):
    fresh = tmp_path / "fresh.tar"
    Sample.large().build(fresh)
    sample = Sample.large()
    missing = max(sample.sources, key=lambda digest: len(sample.sources[digest]))
    whole = sample.sources.pop(missing)
    sample.sources[missing] = whole[:-1]
    with pytest.raises(DefinitionError):
        sample.build(path)
    assert not path.exists()
    sample.sources[missing] = whole
    sample.fetched.clear()
    report = sample.build(path)
    assert sample.fetched == [missing]
    assert report.fetched == len(whole) - 2 * CHUNK_BYTES, "whole chunks that are there are kept"
    assert path.read_bytes() == fresh.read_bytes()
    assert not part_of(path).exists()


def test_what_a_crash_tore_in_the_part_is_fetched_again(tmp_path: Path, path: Path):
    fresh = tmp_path / "fresh.tar"
    Sample.large().build(fresh)
    sample = Sample.large()
    torn = bytearray(fresh.read_bytes())
    largest = max(Layout.of_lock(carried(sample.lock)).blobs, key=lambda member: member.size)
    torn[largest.offset + 5_000_000] ^= 1
    torn[700] ^= 1  # a header
    durable.replace(part_of(path), bytes(torn))
    sample.build(path)
    # Its end first, as if it had only been cut off; then all of it.
    assert {str(digest.hex) for digest in sample.fetched} == {largest.name.rpartition("/")[2]}
    assert len(sample.fetched) == 2
    assert path.read_bytes() == fresh.read_bytes()


@pytest.mark.parametrize("kept", [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 5])
def test_a_blob_that_was_cut_off_goes_on_at_the_last_whole_chunk(tmp_path: Path, path: Path, kept: int):
    fresh = tmp_path / "fresh.tar"
    Sample.large().build(fresh)
    sample = Sample.large()
    largest = max(sample.sources, key=lambda digest: len(sample.sources[digest]))
    whole = sample.sources[largest]
    sample.sources[largest] = whole[:kept]
    with pytest.raises(DefinitionError):
        sample.build(path)
    sample.sources[largest] = whole
    report = sample.build(path)
    assert report.fetched == len(whole) - (kept - 1) // CHUNK_BYTES * CHUNK_BYTES
    assert path.read_bytes() == fresh.read_bytes()


def test_another_blobs_beginning_in_the_part_costs_one_more_fetch_and_nothing_else(tmp_path: Path, path: Path):
    fresh = tmp_path / "fresh.tar"
    Sample.large().build(fresh)
    sample = Sample.large()
    largest = max(sample.sources, key=lambda digest: len(sample.sources[digest]))
    whole = sample.sources[largest]
    sample.sources[largest] = noise("something else", 5 << 20)
    with pytest.raises(DefinitionError):
        sample.build(path)
    sample.sources[largest] = whole
    sample.build(path)
    assert path.read_bytes() == fresh.read_bytes()


@pytest.mark.parametrize("stale", [b"", b"x" * 5_000, bytes(range(256)) * 40_000])
def test_a_part_from_elsewhere_leaves_no_trace(tmp_path: Path, path: Path, stale: bytes):
    fresh = tmp_path / "fresh.tar"
    size = Sample.small().build(fresh).size
    durable.replace(part_of(path), stale[:size].ljust(size, b"\xff") if len(stale) > size else stale)
    Sample.small().build(path)
    assert path.read_bytes() == fresh.read_bytes()


def test_killed_at_any_moment_the_next_build_ends_in_the_same_bytes(tmp_path: Path, path: Path):
    fresh = tmp_path / "fresh.tar"
    Sample.large().build(fresh)
    program = (
        "import sys, time; from pathlib import Path; from tests import sample_bundles as s;"
        "s.BLOCK = 400_000; one = s.Sample.large(); take = one.fetch\n"
        "from contextlib import contextmanager\n"
        "@contextmanager\n"
        "def slowly(blob):\n"
        "    with take(blob) as blocks: yield (time.sleep(0.004) or block for block in blocks)\n"
        "one.fetch = slowly; print('begin', flush=True); one.build(Path(sys.argv[1]))"
    )
    killed = 0
    for wait in (0.0, 0.01, 0.02, 0.04, 0.06, 0.08):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begin\n"
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
        assert not path.exists() or path.read_bytes() == fresh.read_bytes()
    assert killed
    Sample.large().build(path)
    assert path.read_bytes() == fresh.read_bytes()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["fresh.tar", "sample.tar"]


@pytest.mark.parametrize("wrong", [b"", b"shorter", noise("base", 50_001)[::-1], noise("base", 50_001) + b"longer"])
def test_a_source_that_changed_is_named_with_artefact_and_origin(path: Path, wrong: bytes):
    sample = Sample.small()
    digest = Digest.of(noise("base", 50_001))
    sample.sources[digest] = wrong
    with pytest.raises(DefinitionError) as caught:
        sample.build(path)
    assert caught.value.reference == "source-changed"
    assert "quickstart/web:1.0.0" in caught.value.where
    assert "layers/base" in caught.value.where
    assert str(digest) in caught.value.expected
    assert not path.exists()


def test_several_changed_sources_are_told_together(path: Path):
    sample = Sample.small()
    sample.sources = dict.fromkeys(sample.sources, b"other")
    with pytest.raises(DefinitionError) as caught:
        sample.build(path)
    assert caught.value.reference == "sources-failed"
    assert [one.reference for one in caught.value.findings] == ["source-changed"] * 2


def test_a_source_that_cannot_be_read_is_the_definitions_fault_not_the_disks(path: Path):
    def broken(blob: LockedBlob, _: int) -> Never:
        raise FileNotFoundError(2, "No such file", blob.media_type)

    with pytest.raises(DefinitionError) as caught:
        build(Sample.small().lock, path, broken, Silent())
    assert {one.reference for one in caught.value.findings} == {"source-unreadable"}


def test_too_little_space_is_told_before_anything_is_written(path: Path):
    sample = Sample.small()
    huge = [one.model_copy(update={"size": 3 << 40}) for one in sample.lock.artifacts[0].blobs[1:]]
    image = sample.lock.artifacts[0].model_copy(update={"blobs": huge[:1], "ref": "registry.example.org/huge:1"})
    lock = sample.lock.model_copy(update={"artifacts": [image]})
    with pytest.raises(SiteError) as caught:
        build(lock, path, sample.fetch, Silent())
    assert caught.value.reference == "space-short"
    assert int(caught.value.expected.split()[0]) > 3 << 40
    assert int(caught.value.seen.split()[0]) > 0
    assert list(path.parent.iterdir()) == []


def test_a_filesystem_that_takes_no_file_of_that_size_is_told(path: Path):
    program = (
        "import resource, sys; from pathlib import Path; from tests.sample_bundles import Sample;"
        "from registry.errors import SiteError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: Sample.small().build(Path(sys.argv[1]))\n"
        "except SiteError as error: print(error.reference)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "space-short\n"


def test_a_missing_destination_folder_is_told(tmp_path: Path):
    with pytest.raises(SiteError) as caught:
        Sample.small().build(tmp_path / "nowhere" / "b.tar")
    assert caught.value.reference == "write-failed"


def test_two_builds_of_one_file_do_not_mix(path: Path):
    size = Layout.of_lock(carried(Sample.small().lock)).size
    with durable.Preallocated(path, size), pytest.raises(SiteError) as caught:
        Sample.small().build(path)
    assert caught.value.reference == "build-running"
    Sample.small().build(path)


def test_signing_changes_the_region_alone_and_can_be_done_again(path: Path):
    Sample.small().build(path)
    before = path.read_bytes()
    with read_head(path) as head:
        begin, end = head.region_offset, head.region_offset + REGION_BYTES
    sign_in_place(path, {"metadata/1.root.json": b"a" * 9_000})
    sign_in_place(path, {"metadata/1.root.json": b"{}", "metadata/targets.json": b"{}"})
    after = path.read_bytes()
    assert (after[:begin], after[end:]) == (before[:begin], before[end:])
    assert after[begin:end] == pack_region({"metadata/1.root.json": b"{}", "metadata/targets.json": b"{}"})


def test_a_region_torn_while_signing_is_refused_and_can_be_signed_again(path: Path):
    Sample.small().build(path)
    sign_in_place(path, {"metadata/1.root.json": b"a" * 9_000})
    with read_head(path) as head:
        offset = head.region_offset
    durable.overwrite(path, offset, pack_region({"metadata/1.root.json": b"b" * 20_000})[:4096])
    with pytest.raises(MediaError) as caught:
        read_head(path)
    assert caught.value.reference == "region-damaged"
    sign_in_place(path, {"metadata/1.root.json": b"c"})
    with read_head(path) as head:
        assert head.region == {"metadata/1.root.json": b"c"}
        Archive(head)


def test_what_is_no_bundle_is_not_signed(tmp_path: Path):
    other = tmp_path / "notes.txt"
    durable.create(other, b"x" * 9_000_000)
    with pytest.raises(MediaError) as caught:
        sign_in_place(other, {"metadata/1.root.json": b"{}"})
    assert caught.value.reference == "not-a-bundle"
    assert other.read_bytes() == b"x" * 9_000_000


def test_what_refuses_a_file_is_named_and_not_the_temporary_name(tmp_path: Path):
    with pytest.raises(FileNotFoundError) as caught:
        durable.replace(tmp_path / "nowhere" / "lock.json", b"{}")
    assert caught.value.filename == str(tmp_path / "nowhere")
