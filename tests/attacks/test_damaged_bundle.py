"""What somebody who holds the medium can do to a bundle, each beside its honest twin: the same file, left alone."""

from __future__ import annotations

import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.archive import tar
from bundles.archive.chunks import CHUNK_BYTES
from bundles.archive.layout import Layout
from bundles.archive.reader import read_head
from bundles.archive.region import REGION_BYTES, pack_region
from bundles.archive.writer import sign_in_place
from bundles.trust.roles import Statement, sign_release
from bundles.verify import verify
from registry.errors import DryportError, MediaError, TrustError
from registry.oci.digest import Digest
from registry.progress import Silent
from registry.store import durable
from tests.attacks.publisher import DAY, NOW, Publisher
from tests.sample_bundles import API, WEB, Sample, noise

PUBLISHER = Publisher(product="sample")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Layout]:
    """The honest bundle's bytes, and its layout."""
    path = tmp_path_factory.mktemp("honest") / "sample.tar"
    Sample.large().publish(path, PUBLISHER)
    verified = verify(path, PUBLISHER.begin(), now=NOW)
    verified.check_all(Silent())
    verified.close()
    return path.read_bytes(), verified.archive.layout


@pytest.fixture
def layout(published: tuple[bytes, Layout]) -> Layout:
    return published[1]


@pytest.fixture
def path(tmp_path: Path, published: tuple[bytes, Layout]) -> Path:
    copy = tmp_path / "sample.tar"
    durable.create(copy, published[0])
    return copy


def refused(path: Path) -> DryportError:
    """Return the error that verifying and reading it all ends in; fail if it is accepted."""
    with pytest.raises(DryportError) as caught:
        accepted(path)
    return caught.value


def accepted(path: Path) -> None:
    verified = verify(path, PUBLISHER.begin(), now=NOW)
    try:
        verified.check_all(Silent())
    finally:
        verified.close()


def flip(path: Path, offset: int) -> None:
    with path.open("rb") as file:
        file.seek(offset)
        old = file.read(1)
    durable.overwrite(path, offset, bytes([old[0] ^ 0x10]))


def member(layout: Layout, data: bytes) -> tuple[int, int]:
    """Return where a blob lies."""
    (found,) = (one for one in layout.blobs if one.name.endswith(Digest.of(data).hex))
    return found.offset, found.end


def test_the_honest_twin_is_accepted(path: Path):
    accepted(path)


def test_an_unsigned_bundle_is_refused(tmp_path: Path):
    Sample.small().build(tmp_path / "b.tar")
    error = refused(tmp_path / "b.tar")
    assert isinstance(error, TrustError)
    assert error.reference == "bundle-unsigned"
    assert "bundle sign" in error.hint


def test_a_bundle_signed_by_somebody_else_is_refused(tmp_path: Path):
    Sample.small().publish(tmp_path / "b.tar", Publisher(product="sample"))
    assert isinstance(refused(tmp_path / "b.tar"), TrustError)


def test_a_statement_on_another_release_than_the_index_is_refused(tmp_path: Path):
    sample = Sample.small()
    path = tmp_path / "b.tar"
    other = Sample(sample.lock.model_copy(update={"product": "other"}), sample.sources)
    other.publish(tmp_path / "other.tar", PUBLISHER)
    sample.publish(path, PUBLISHER)
    accepted(path)
    with read_head(path) as head:
        lie = Statement("sample", "9.9.9", 7, ("linux/amd64",), NOW - DAY, NOW + DAY)
        files = sign_release(head.index, lie, PUBLISHER.roots, PUBLISHER.release)
    sign_in_place(path, files)
    assert refused(path).reference == "release-mismatch"


def test_a_flipped_byte_in_a_layer_is_named_by_range_member_and_artefact(path: Path, layout: Layout):
    begin, _ = member(layout, noise("app", 8 << 20))
    flip(path, begin + CHUNK_BYTES + 9)
    error = refused(path)
    assert isinstance(error, MediaError)
    assert error.reference == "bundle-damaged"
    (finding,) = error.findings
    assert f"bytes {begin + CHUNK_BYTES}-{begin + 2 * CHUNK_BYTES - 1}," in finding.where
    assert Digest.of(noise("app", 8 << 20)).hex in finding.where
    assert WEB in finding.where
    assert API not in finding.where


def test_all_damage_is_told_at_once_and_neighbouring_chunks_as_one(path: Path, layout: Layout):
    base, base_end = member(layout, noise("base", (9 << 20) + 17))
    app, app_end = member(layout, noise("app", 8 << 20))
    for offset in (base, base + CHUNK_BYTES, app_end - 1):
        flip(path, offset)
    findings = refused(path).findings
    ranges = sorted(finding.where.split("bytes ")[1].split(",")[0] for finding in findings)
    assert ranges == sorted(
        [f"{base}-{base + 2 * CHUNK_BYTES - 1}", f"{app + CHUNK_BYTES}-{app_end - 1}"],
    )
    shared = next(one for one in findings if Digest.of(noise("base", (9 << 20) + 17)).hex in one.where)
    assert WEB in shared.where
    assert API in shared.where
    assert base_end - base > 2 * CHUNK_BYTES


def test_a_flipped_byte_in_a_manifest_is_named(path: Path, layout: Layout):
    web = Sample.large().lock.artifacts[0].root
    (manifest,) = (one for one in layout.blobs if one.name.endswith(web.digest.hex))
    flip(path, manifest.offset + 40)
    error = refused(path)
    assert error.reference == "bundle-damaged"
    assert WEB in error.findings[0].where
    with pytest.raises(MediaError) as caught:
        verify(path, PUBLISHER.begin(), now=NOW).content()
    assert caught.value.reference == "blob-damaged"


def test_a_flipped_byte_in_the_trust_metadata_is_refused_as_a_matter_of_trust_or_shape(path: Path, layout: Layout):
    with read_head(path) as head:
        region = pack_region(head.region)
    end = region.rindex(b"metadata/pad")
    for at in random.Random(2).sample(range(end), 60):  # noqa: S311 - places, no secrets
        flip(path, layout.region_offset + at)
        assert isinstance(refused(path), TrustError | MediaError)
        flip(path, layout.region_offset + at)
    accepted(path)


def test_a_flipped_byte_in_index_json_is_refused(path: Path, layout: Layout):
    flip(path, layout.index.offset + 100)
    error = refused(path)
    assert isinstance(error, TrustError)
    assert error.reference == "index-mismatch"


def test_a_flipped_byte_in_the_chunk_table_is_refused(path: Path, layout: Layout):
    flip(path, layout.table_member.offset + 100)
    assert refused(path).reference == "table-damaged"


def test_a_flipped_byte_in_sha256sums_is_refused(path: Path, layout: Layout):
    flip(path, layout.sums.offset + 3)
    error = refused(path)
    assert error.reference == "member-unexpected"
    assert "SHA256SUMS" in error.message


def test_a_flipped_byte_in_a_header_is_refused(path: Path, layout: Layout):
    for one in (*layout.members[:5], layout.members[-1]):
        for at in (0, 100, 110, 124, 148, 156, 257, 400):
            flip(path, one.offset - tar.BLOCK + at)
            assert refused(path).reference in {"member-unexpected", "head-damaged", "not-a-bundle"}
            flip(path, one.offset - tar.BLOCK + at)
    accepted(path)


def test_a_flipped_byte_in_a_pax_header_is_refused(path: Path, layout: Layout):
    large = [one for one in layout.blobs if one.size >= tar.ALIGNED_SIZE]
    assert len(large) == 2
    for one in large:
        own = one.offset - tar.BLOCK
        for at in (one.begin, one.begin + 156, one.begin + 511, one.begin + 512, one.begin + 530, own - 2, own - 1):
            flip(path, at)
            error = refused(path)
            assert error.reference == "member-unexpected"
            assert "pax header" in error.message
            assert one.name in error.where
            flip(path, at)
    accepted(path)


def test_a_word_hidden_in_the_comment_of_a_pax_header_is_refused(path: Path, layout: Layout):
    one = max(layout.blobs, key=lambda blob: blob.size)
    durable.overwrite(path, one.offset - tar.BLOCK - 100, b"read me")
    with tarfile.open(path) as archive:
        assert "read me" in archive.getmember(one.name).pax_headers["comment"], "another reader takes it"
    assert refused(path).reference == "member-unexpected"


def test_a_large_member_without_its_comment_is_refused(path: Path, layout: Layout, published: tuple[bytes, Layout]):
    whole, one = published[0], max(layout.blobs, key=lambda blob: blob.size)
    durable.replace(path, whole[: one.begin] + tar.header(one.name, one.size) + whole[one.offset :])
    assert isinstance(refused(path), MediaError)
    shorter = tar.header(one.name, one.size, one.offset - one.begin - tar.BLOCK)
    durable.replace(path, whole[: one.begin] + bytes(tar.BLOCK) + shorter + whole[one.offset :])
    assert refused(path).reference == "member-unexpected"


def test_a_byte_hidden_in_padding_or_behind_the_end_is_refused(path: Path, layout: Layout):
    for offset in (*(one.end for one in layout.members if one.end % tar.BLOCK), layout.size - 1, layout.size - 1024):
        flip(path, offset)
        assert refused(path).reference == "member-unexpected"
        flip(path, offset)
    flip(path, layout.region_offset + REGION_BYTES - 1)
    assert refused(path).reference == "region-damaged"


def test_a_truncated_file_is_told_with_both_sizes(path: Path, layout: Layout):
    for size in (layout.size - 1, layout.size - 2048, layout.blobs[0].offset + 1):
        os.truncate(path, size)
        error = refused(path)
        assert error.reference == "bundle-truncated"
        assert error.expected == f"{layout.size} bytes"
        assert error.seen == f"{size} bytes"


def test_a_file_cut_anywhere_in_its_head_is_told_as_truncated(path: Path, layout: Layout):
    for size in (layout.table_member.end - 1, layout.region_offset + 5, layout.index.offset + 1, 700, 100, 0):
        os.truncate(path, size)
        error = refused(path)
        assert error.reference == "bundle-truncated"
        assert error.seen == f"{size} bytes"


@pytest.mark.parametrize("more", [b"\0", bytes(10240), b"metadata"])
def test_anything_behind_the_end_is_refused(path: Path, more: bytes):
    durable.append(path, more)
    assert refused(path).reference == "bundle-overlong"


def test_a_member_added_by_tar_itself_is_refused(path: Path):
    with tarfile.open(path, "a", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(__file__, "blobs/sha256/extra")
    assert isinstance(refused(path), MediaError)


def test_two_members_that_change_places_are_refused(path: Path, layout: Layout, published: tuple[bytes, Layout]):
    small = [one for one in layout.blobs if tar.padded(one.size) == tar.BLOCK]
    first, second = small[0], small[1]
    data = bytearray(published[0])
    one, two = (slice(each.offset - tar.BLOCK, each.offset + tar.BLOCK) for each in (first, second))
    data[one], data[two] = data[two], data[one]
    durable.replace(path, bytes(data))
    error = refused(path)
    assert error.reference == "member-unexpected"
    assert second.name in error.seen
    assert first.name in error.expected


def test_a_member_left_out_or_renamed_is_refused(path: Path, layout: Layout, published: tuple[bytes, Layout]):
    whole, victim = published[0], layout.blobs[3]
    begin, end = victim.begin, victim.offset + tar.padded(victim.size)
    durable.replace(path, whole[:begin] + whole[end:])
    assert isinstance(refused(path), MediaError)
    renamed = tar.header("blobs/sha256/" + "e" * 64, victim.size)
    durable.replace(path, whole[:begin] + renamed + whole[victim.offset :])
    assert refused(path).reference == "member-unexpected"


def test_content_under_the_name_of_other_content_is_refused(path: Path, layout: Layout):
    begin, end = member(layout, noise("app", 8 << 20))
    durable.overwrite(path, begin, noise("evil", end - begin))
    assert refused(path).reference == "bundle-damaged"


def test_signed_metadata_of_another_bundle_does_not_vouch_for_this_one(tmp_path: Path, path: Path):
    other = tmp_path / "other.tar"
    Sample.small().publish(other, PUBLISHER)
    with read_head(other) as head:
        sign_in_place(path, head.region)
    assert refused(path).reference == "index-mismatch"


def test_the_head_of_one_bundle_before_the_content_of_another_is_refused(path: Path, published: tuple[bytes, Layout]):
    layout = published[1]
    cut = layout.region_offset + REGION_BYTES
    other = path.with_name("other.tar")
    Sample.small().publish(other, PUBLISHER)
    durable.replace(path, published[0][:cut] + other.read_bytes()[-layout.size + cut :])
    assert isinstance(refused(path), MediaError)


@pytest.mark.parametrize("size", [b"77777777777", b"00400000001", b"0000000000x", b"-0000000001"])
def test_a_size_that_would_exhaust_memory_is_refused_before_it_is_read(path: Path, layout: Layout, size: bytes):
    for one in (layout.index, layout.sums, layout.table_member):
        with path.open("rb") as file:
            file.seek(one.offset - tar.BLOCK)
            block = bytearray(file.read(tar.BLOCK))
        good = bytes(block)
        block[124:135] = size
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        durable.overwrite(path, one.offset - tar.BLOCK, bytes(block))
        assert refused(path).reference in {"head-damaged", "bundle-truncated"}
        durable.overwrite(path, one.offset - tar.BLOCK, good)
    accepted(path)


def no_bundles(folder: Path) -> Iterator[Path]:
    durable.create(folder / "text", b"hello\n" * 1000)
    yield folder / "text"
    with tarfile.open(folder / "other.tar", "w") as archive:
        archive.add(__file__, "x")
    yield folder / "other.tar"
    os.mkfifo(folder / "pipe")
    yield folder / "pipe"
    yield folder
    yield folder / "missing"


def test_what_is_no_bundle_is_told_so(tmp_path: Path):
    references = [refused(one).reference for one in no_bundles(tmp_path)]
    assert references == ["not-a-bundle", "not-a-bundle", "not-a-bundle", "not-a-bundle", "bundle-missing"]
