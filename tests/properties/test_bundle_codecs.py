"""Packing is undone by unpacking, and the way in which bytes arrive changes no digest."""

from __future__ import annotations

import hashlib
import io
import tarfile

from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.archive import chunks, tar
from bundles.archive.chunks import ChunkHasher
from bundles.archive.region import REGION_BYTES, pack_region, unpack_region
from registry.errors import MediaError
from tests.sample_bundles import noise

steady = settings(derandomize=True, deadline=None, max_examples=60)
names = st.from_regex(r"metadata/[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True).filter(
    lambda name: "pad" not in name
)


@steady
@given(st.dictionaries(names, st.binary(max_size=2_000), max_size=12))
def test_a_region_gives_back_the_files_it_was_packed_from(files: dict[str, bytes]):
    region = pack_region(files)
    assert len(region) == REGION_BYTES
    assert unpack_region(region) == files
    assert pack_region(unpack_region(region)) == region


@steady
@given(st.binary(max_size=4_000))
def test_unpacking_anything_ends_in_a_media_error(garbage: bytes):
    try:
        files = unpack_region(garbage.ljust(REGION_BYTES, b"\0"))
    except MediaError:
        return
    assert pack_region(files) == garbage.ljust(REGION_BYTES, b"\0")


@steady
@given(st.binary(max_size=600))
def test_no_other_block_passes_for_a_header(garbage: bytes):
    try:
        size = tar.size_of("index.json", garbage)
    except ValueError:
        return
    assert garbage == tar.header("index.json", size)


@steady
@given(st.integers(0, 1 << 45), st.integers(0, 1 << 33).map(lambda number: number * tar.BLOCK))
def test_a_header_is_as_long_as_it_was_planned_and_read_by_others_as_it_was_meant(size: int, at: int):
    length = tar.header_length(size, at)
    header = tar.header(f"blobs/sha256/{'a' * 64}", size, length)
    assert len(header) == length
    assert size < tar.ALIGNED_SIZE or (at + length) % tar.ALIGNMENT == 0
    with tarfile.open(fileobj=io.BytesIO(header + tar.END)) as archive:
        member = archive.next()
    assert member is not None
    assert (member.size, member.offset_data) == (size, length)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    st.integers(0, 3 * chunks.CHUNK_BYTES + 5),
    st.lists(st.integers(1, 5_000_000), min_size=1, max_size=6),
)
def test_chunk_digests_do_not_depend_on_how_bytes_arrive(size: int, steps: list[int]):
    data = noise("any", size)
    hasher = ChunkHasher(size)
    at = number = 0
    while at < size:
        step = steps[number % len(steps)]
        hasher.update(data[at : at + step])
        at, number = at + step, number + 1
    assert hasher.digest.matches(data)
    expected = tuple(
        hashlib.sha256(data[begin : begin + chunks.CHUNK_BYTES]).hexdigest()
        for begin in range(0, size, chunks.CHUNK_BYTES)
    )
    assert hasher.chunks == (expected if size > chunks.CHUNK_BYTES else None)
