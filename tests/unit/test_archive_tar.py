"""Headers of ours are what other programs read and write; nothing else passes for one."""

from __future__ import annotations

import io
import tarfile

import pytest

from bundles.archive import tar
from bundles.archive.region import PAD, REGION_BYTES, pack_region, unpack_region
from registry.errors import MediaError, TrustError

NAME = "blobs/sha256/" + "a" * 64
EIGHT_GIB = 8 << 30


LARGE = [tar.ALIGNED_SIZE, EIGHT_GIB - 1, EIGHT_GIB, EIGHT_GIB + 1, 10**15]
PLACES = range(0, 2 * tar.ALIGNMENT, tar.BLOCK)


@pytest.mark.parametrize(
    ("size", "length"),
    [(size, tar.BLOCK) for size in (0, 1, 511, 512, 513, EIGHT_GIB - 1)]
    + [(size, tar.header_length(size, at)) for size in LARGE for at in PLACES[:8]],
)
def test_another_tar_reader_finds_the_same_member(size: int, length: int):
    header = tar.header(NAME, size, length)
    assert len(header) == length
    with tarfile.open(fileobj=io.BytesIO(header + tar.END), ignore_zeros=False) as archive:
        member = archive.next()
    assert member is not None
    assert (member.name, member.size, member.mode, member.mtime, member.uid, member.gid, member.uname) == (
        NAME,
        size,
        0o644,
        0,
        0,
        0,
        "",
    )
    assert member.isreg()
    assert member.offset_data == length
    assert set(member.pax_headers) <= {"size", "comment"}
    assert not member.pax_headers.get("comment", "").strip()


@pytest.mark.parametrize("size", LARGE)
def test_a_large_blob_begins_at_a_block_of_the_file_system_wherever_the_one_before_it_ends(size: int):
    begins = [at + tar.header_length(size, at) for at in PLACES]
    assert {begin % tar.ALIGNMENT for begin in begins} == {0}
    assert begins == sorted(begins), "a later header never leads to an earlier content"
    costs = [tar.header_length(size, at) - tar.BLOCK for at in PLACES[:8]]
    assert (min(costs), max(costs), sum(costs) // 8) == (1024, 4608, 2816)


@pytest.mark.parametrize("at", PLACES)
def test_a_small_blob_has_one_block_of_header(at: int):
    assert tar.header_length(tar.ALIGNED_SIZE - 1, at) == tar.BLOCK


@pytest.mark.parametrize("size", LARGE[:4])
def test_no_byte_of_a_pax_header_has_two_values(size: int):
    headers = {tar.header(NAME, size, tar.header_length(size, at)) for at in PLACES}
    assert len(headers) == 8, "one for each distance to the next block"
    for header in headers:
        records = header[tar.BLOCK : -tar.BLOCK]
        assert records.endswith(b" \n"), "filled to its last byte"
        assert b"\0" not in records


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("at", [0, 512, 4096 - 1536, 4096 - 1024, 4_200_448])
def test_the_header_is_the_one_that_the_page_on_the_format_describes(size: int, at: int):
    length = 1536 + (-(at + 1536) % 4096)
    header = tar.header(NAME, size, tar.header_length(size, at))
    assert len(header) == length
    first, records, last = header[:512], header[512:-512], header[-512:]
    assert (first[:4], first[156:157], int(first[124:135], 8)) == (b"pax\0", b"x", length - 1024)
    if size > 8**11 - 1:
        stated, records = records[: records.index(b"\n") + 1], records[records.index(b"\n") + 1 :]
        assert stated == f"{len(stated)} size={size}\n".encode()
    assert records.rstrip(b" \n") == f"{len(records)} comment=".encode()
    assert int(last[124:135], 8) == (0 if size > 8**11 - 1 else size)
    assert last[:100].rstrip(b"\0") == NAME.encode()


def test_a_size_that_needs_a_pax_header_gets_none_in_one_block():
    with pytest.raises(ValueError, match="no pax header"):
        tar.header(NAME, EIGHT_GIB)


@pytest.mark.parametrize("size", [0, 511, EIGHT_GIB - 1])
def test_a_header_of_one_block_gives_its_size_back(size: int):
    assert tar.size_of(NAME, tar.header(NAME, size)) == size


def test_any_other_byte_in_a_header_is_noticed():
    good = tar.header(NAME, 1234)
    for at in range(tar.BLOCK):
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(ValueError, match="expected the header"):
            tar.size_of(NAME, bytes(bad))


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a b", "x\n", "\u00e9", "a" * 101])
def test_a_name_that_no_bundle_may_hold_gets_no_header(name: str):
    with pytest.raises(ValueError, match="not a member's name"):
        tar.header(name, 0)


def test_the_region_gives_its_files_back_roots_first():
    files = {
        "metadata/timestamp.json": b"t",
        "metadata/10.root.json": b"x" * 513,
        "metadata/2.root.json": b"y",
        "metadata/index.json.sig": b"",
    }
    region = pack_region(files)
    assert len(region) == REGION_BYTES
    assert list(unpack_region(region)) == [
        "metadata/2.root.json",
        "metadata/10.root.json",
        "metadata/index.json.sig",
        "metadata/timestamp.json",
    ]
    assert unpack_region(region) == files


def test_the_unsigned_region_is_one_pad():
    assert unpack_region(pack_region({})) == {}
    assert not any(pack_region({})[tar.BLOCK :])


def test_files_that_just_fill_the_region_fit_and_one_byte_more_does_not():
    room = REGION_BYTES - 2 * tar.BLOCK  # a header for the file, one for the pad
    full = {"metadata/targets.json": b"x" * room}
    assert unpack_region(pack_region(full)) == full
    with pytest.raises(TrustError) as caught:
        pack_region({"metadata/targets.json": b"x" * (room + 1)})
    assert caught.value.reference == "region-full"


@pytest.mark.parametrize("name", ["targets.json", "metadata/../x", "metadata/a/b", "blobs/sha256/x", PAD, "metadata/"])
def test_no_other_name_gets_into_the_region(name: str):
    with pytest.raises(ValueError, match="not a name in the region"):
        pack_region({name: b""})


@pytest.mark.parametrize("at", [0, 100, 124, 512 + 2, 1024, 1536 + 100, 2_000_000, REGION_BYTES - 1])
def test_one_other_byte_that_is_no_files_content_makes_the_region_unreadable(at: int):
    bad = bytearray(pack_region({"metadata/1.root.json": b"{}", "metadata/targets.json": b"x" * 100}))
    bad[at] ^= 1
    with pytest.raises(MediaError) as caught:
        unpack_region(bytes(bad))
    assert caught.value.reference == "region-damaged"


def test_files_in_another_order_are_refused():
    one, two = (tar.header(f"metadata/{name}", 0) for name in ("a", "b"))
    rest = pack_region({"metadata/a": b"", "metadata/b": b""})[2 * tar.BLOCK :]
    assert unpack_region(one + two + rest)
    with pytest.raises(MediaError):
        unpack_region(two + one + rest)
