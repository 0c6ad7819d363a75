"""Reading a bundle in place: the head first, bounded and unproven; then, from a trusted index.json, all the rest.

* `read_head` looks at the first megabytes only, and believes nothing in them.
* `Archive` takes a head whose index.json was authenticated by its caller; it reads the chunk table by its digest and
  compares every byte of the file that is not content with what it must be.
* A delta is the same bundle without some members; it says which, and where the others lie follows from that.
* Content leaves an `Archive` only after its chunk was checked; a store that shares the file's disk instead of reading
  checks what it got. Nothing is ever extracted; reads are by position, so any number of threads may read.

>>> with read_head(path) as head:
...     judge(head.region, head.index, state, now=now)
...     archive = Archive(head)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from bundles.archive import tar
from bundles.archive.chunks import TABLE_BYTES, ChunkTable, TableEntry, blob_name
from bundles.archive.delta import Delta
from bundles.archive.layout import (
    CHUNKS,
    INDEX_BYTES,
    INDEX_NAME,
    LAYOUT_DATA,
    LAYOUT_NAME,
    SUMS_NAME,
    Layout,
)
from bundles.archive.medium import Medium
from bundles.archive.region import DELTA, REGION_BYTES, front_of_region, unpack_region
from registry.errors import MediaError
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, Manifest

AGAIN = "copy the bundle again, then: dryport bundle verify"


class Head:
    """index.json and the region's files, as found; the open file goes with them. Close it, or give it to an Archive."""

    def __init__(self, medium: Medium, index: bytes, region: dict[str, bytes], region_offset: int) -> None:
        self.medium, self.index, self.region, self.region_offset = medium, index, region, region_offset

    @property
    def is_signed(self) -> bool:
        """Whether somebody put metadata into the region; by whom is not known yet."""
        return bool(self.region.keys() - {DELTA})

    def close(self) -> None:
        """Close the file."""
        self.medium.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def glance(path: Path, folders: Iterable[Path] = (), *, is_whole: bool = True) -> Head:
    """Return the head of a bundle for who only looks: the region's pad, most of the head, is left to `verify`.

    With `is_whole=False` volumes whose own header is damaged are passed over.
    """
    head = read_head(path, folders, judge_region=False, reads_region=False, is_whole=is_whole)
    try:
        begin = head.region_offset
        head.region.update(front_of_region(lambda at, length: head.medium.read(begin + at, length)))
    except BaseException:
        head.close()
        raise
    return head


def read_head(
    path: Path,
    folders: Iterable[Path] = (),
    *,
    judge_region: bool = True,
    reads_region: bool = True,
    is_whole: bool = True,
) -> Head:
    """Return the head of a bundle, of whose volumes some may lie in `folders`.

    Raises MediaError, for what is no bundle or too short to have a head.

    With `judge_region=False` the region is not looked at: a torn one can be signed again.
    """
    medium = Medium(path, folders, is_whole=is_whole)
    try:
        start = tar.header(LAYOUT_NAME, len(LAYOUT_DATA))
        _check_start(medium, start)
        at = len(start) + tar.padded(len(LAYOUT_DATA))
        size = _size(medium, INDEX_NAME, at, INDEX_BYTES)
        index = medium.read(at + tar.BLOCK, size)
        region_offset = at + tar.BLOCK + tar.padded(size)
        region = medium.read(region_offset, REGION_BYTES) if reads_region else b""
        return Head(medium, index, unpack_region(region) if judge_region else {}, region_offset)
    except BaseException:
        medium.close()
        raise


def read_index(head: Head) -> Manifest:
    """Return index.json as parsed; as trusted as the head is. Raises MediaError `index-invalid`."""
    try:
        index = Manifest.parse(head.index, OCI_INDEX)
        Digest.parse(index.annotations.get(CHUNKS, ""))
    except (ValueError, AttributeError) as error:
        raise MediaError(
            "index-invalid", "index.json is not a bundle's", where=str(head.medium.path), seen=str(error), hint=AGAIN
        ) from error
    return index


class Archive:
    """A bundle whose index.json is trusted: its members, and the one way to their bytes.

    With `is_whole=False` only head and table are looked at: enough to read members by their digests, and no proof that
    the file is what was signed.
    """

    def __init__(self, head: Head, *, is_whole: bool = True) -> None:
        self.head = head
        self.medium = head.medium
        self.index = read_index(head)
        self.table_digest = Digest.parse(self.index.annotations[CHUNKS])
        sums_at = head.region_offset + REGION_BYTES
        sums_size = _size(self.medium, SUMS_NAME, sums_at, TABLE_BYTES)
        table_at = sums_at + tar.BLOCK + tar.padded(sums_size)
        table_size = _size(self.medium, blob_name(self.table_digest), table_at, TABLE_BYTES)
        data = self.medium.read(table_at + tar.BLOCK, table_size)
        if not self.table_digest.matches(data):
            raise MediaError(
                "table-damaged",
                "the chunk table is not the one that index.json names",
                where=self.medium.where(table_at + tar.BLOCK, table_at + tar.BLOCK + table_size),
                expected=str(self.table_digest),
                seen=str(Digest.of(data)),
                hint=AGAIN,
            )
        self.table = ChunkTable.parse(data)
        self.delta = Delta.find(head.region, head.index, self.table)
        names = self.delta.names if self.delta else frozenset()
        self.left_out = {entry.name: entry for entry in self.table.members if entry.name in names}
        """What a delta does not carry; a site that holds its base has it."""
        self._table_size = table_size
        self.layout = self._arranged([entry for entry in self.table.members if entry.name not in names])
        self.entries = self.table.members if not names else self._placed()
        """The members behind the table, each at its place in this very file."""
        self.members = {entry.name: entry for entry in self.entries}
        if is_whole:
            self.check_structure()

    def check_structure(self) -> None:
        """Compare size, head, SHA256SUMS, all headers and paddings with what they must be. Raises MediaError."""
        whole = self._arranged(self.table.members) if self.delta else self.layout
        if [entry.offset for entry in self.table.members] != [member.offset for member in whole.blobs]:
            raise MediaError(
                "table-invalid",
                "the chunk table is signed but its offsets are not those of its members",
                hint="tell whoever made the bundle; nothing of it is used",
            )
        if self.medium.size < self.layout.size:
            raise self.medium.truncated(self.layout.size, exact=True)
        if self.medium.size > self.layout.size:
            raise MediaError(
                "bundle-overlong",
                "something was added behind the bundle's end",
                where=self.medium.where(self.layout.size, self.medium.size),
                expected=f"{self.layout.size} bytes",
                seen=f"{self.medium.size} bytes",
                hint=AGAIN,
            )
        self.medium.check_volumes(Digest.of(self.head.index), self.layout.size)
        for offset, expected, follower in self.layout.gaps():
            seen = self.medium.read(offset, len(expected), expected_size=self.layout.size)
            if seen != expected:
                raise self._odd_gap(offset, expected, seen, follower)
        computed = (
            (self.layout.members[0], LAYOUT_DATA),
            (self.layout.index, self.head.index),
            (self.layout.sums, self.layout.sums_bytes(self.head.index)),
        )
        for member, expected in computed:
            if self.medium.read(member.offset, member.size) != expected:
                raise MediaError(
                    "member-unexpected",
                    f"{member.name} is not what the signed metadata makes it",
                    where=self.medium.where(member.offset, member.end),
                    hint=AGAIN,
                )

    def _arranged(self, entries: Sequence[TableEntry]) -> Layout:
        sizes = [(entry.name, entry.size) for entry in entries]
        return Layout.of_table(len(self.head.index), blob_name(self.table_digest), self._table_size, sizes)

    def _placed(self) -> tuple[TableEntry, ...]:
        places = {member.name: member.offset for member in self.layout.blobs}
        held = (entry for entry in self.table.members if entry.name in places)
        return tuple(entry.model_copy(update={"offset": places[entry.name]}) for entry in held)

    def _odd_gap(self, offset: int, expected: bytes, seen: bytes, follower: str) -> MediaError:
        first = next(at for at, byte in enumerate(expected) if seen[at] != byte)
        zeros = len(expected) - len(expected.lstrip(b"\0"))  # a header begins with a letter
        last, block = expected[-tar.BLOCK :], seen[-tar.BLOCK :]
        if first < zeros:
            message, wanted, found = "there are bytes between two members that belong to none", "zeros", "other bytes"
        elif block == last:
            message = "a pax header holds something else than a member's place and size make of it"
            wanted, found = "the member's own pax header", "other bytes"
        else:
            message = "the members are not those that were signed: one is extra, missing, renamed or moved"
            wanted, found = tar.describe(last), tar.describe(block)
        return MediaError(
            "member-unexpected",
            message,
            where=f"{self.medium.where(offset, offset + len(expected))}, before {follower}",
            expected=wanted,
            seen=found,
            hint=AGAIN,
        )

    def read_chunk(self, entry: TableEntry, number: int) -> bytes:
        """Return a chunk of a member, proven. Raises MediaError `blob-damaged`, or as the medium does."""
        begin, length = entry.chunk_range(number)
        data = self.medium.read(entry.offset + begin, length)
        if hashlib.sha256(data).hexdigest() != entry.proofs[number]:
            at = entry.offset + begin
            raise MediaError(
                "blob-damaged",
                "bytes on the medium do not match their signed digest",
                where=f"{self.medium.where(at, at + length)}, in {entry.name}",
                hint="copy the bundle again; the whole damage is listed by: dryport bundle verify",
            )
        return data

    def read(self, digest: Digest, limit: int) -> bytes:
        """Return a whole small member, proven. Raises MediaError, also if it is absent or larger than `limit`."""
        entry = self.members.get(blob_name(digest))
        if entry is None or entry.size > limit:
            raise MediaError(
                "manifest-missing",
                "a manifest is not in the bundle, or too large",
                where=str(digest),
                hint="tell whoever made the bundle; nothing of it is used",
            )
        return b"".join(self.read_chunk(entry, number) for number in range(len(entry.proofs)))

    def close(self) -> None:
        """Close the file."""
        self.medium.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_start(medium: Medium, start: bytes) -> None:
    seen = medium.read(0, len(start))
    if seen != start:
        raise MediaError(
            "not-a-bundle",
            "the file does not begin like a bundle",
            where=str(medium.path),
            expected=f"a tar header for {LAYOUT_NAME!r}",
            seen=tar.describe(seen),
            hint="check the path; a bundle is made by: dryport bundle build",
        )


def _size(medium: Medium, name: str, offset: int, limit: int) -> int:
    try:
        size = tar.size_of(name, medium.read(offset, tar.BLOCK))
        if size > limit:
            raise ValueError(f"{name} has {size} bytes, at most {limit} are read")  # noqa: TRY301
    except ValueError as error:
        raise MediaError(
            "head-damaged",
            "the bundle's head is damaged",
            where=f"{medium.path} byte {offset}",
            seen=str(error),
            hint=AGAIN,
        ) from error
    return size
