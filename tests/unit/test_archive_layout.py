"""Everything about a bundle file follows from its lock, before a byte of content is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from bundles.archive import tar
from bundles.archive.chunks import CHUNK_BYTES, ChunkTable, chunk_count
from bundles.archive.layout import UNKNOWN, Layout, carried, index_json
from bundles.archive.region import REGION_BYTES
from bundles.lock import Lock, LockedBlob
from registry.errors import DefinitionError, MediaError
from registry.oci.digest import Digest
from tests.sample_bundles import API, WEB, Sample


def with_sizes(*sizes: int) -> Lock:
    """Return the sample's lock with further blobs of these sizes in its first image, and no bytes behind them."""
    lock = Sample.small().lock
    first = lock.artifacts[0]
    more = [
        first.blobs[-1].model_copy(update={"digest": Digest.of(f"{number}".encode()), "size": size})
        for number, size in enumerate(sizes)
    ]
    image = first.model_copy(update={"blobs": [*first.blobs, *more]})
    return lock.model_copy(update={"artifacts": [image, *lock.artifacts[1:]]})


@pytest.mark.parametrize("sizes", [(), (CHUNK_BYTES, CHUNK_BYTES + 1), ((8 << 30) - 1, 8 << 30, 20 << 30), (3 << 40,)])
def test_members_gaps_and_region_cover_the_file_once_and_wholly(sizes: tuple[int, ...]):
    layout = Layout.of_lock(carried(with_sizes(*sizes)))
    stretches = [(offset, offset + len(data)) for offset, data, _ in layout.gaps()]
    stretches += [(member.offset, member.end) for member in layout.members]
    stretches += [(layout.region_offset, layout.region_offset + REGION_BYTES)]
    at = 0
    for begin, end in sorted(stretches):
        assert begin == at
        at = end
    assert at == layout.size
    assert layout.size % tar.BLOCK == 0


def test_large_blobs_begin_at_blocks_of_the_file_system_and_small_ones_cost_nothing():
    sizes = (tar.ALIGNED_SIZE - 1, tar.ALIGNED_SIZE, 1 << 20, 8 << 30, 700, 99_999)
    layout = Layout.of_lock(carried(with_sizes(*sizes)))
    large = [one for one in layout.blobs if one.size >= tar.ALIGNED_SIZE]
    assert len(large) == 4
    assert [one.offset % tar.ALIGNMENT for one in large] == [0] * 4
    assert {one.offset - one.begin for one in layout.members if one not in large} == {tar.BLOCK}


def test_head_members_have_one_block_of_header_however_large():
    layout = Layout.of_lock(carried(with_sizes(*range(100, 4_000))))
    assert min(layout.sums.size, layout.table_member.size) > tar.ALIGNED_SIZE
    assert {one.offset - one.begin for one in layout.members[:4]} == {tar.BLOCK}


def test_the_table_has_the_size_it_was_planned_with():
    layout = Layout.of_lock(carried(with_sizes(*range(99, 140), 10**10, 5 << 20)))
    full = {one.name: ("f" * 64,) * chunk_count(one.size) for one in layout.blobs if one.size > CHUNK_BYTES}
    assert len(layout.table(full).encode()) == layout.table_member.size


def test_a_reader_finds_the_same_layout_from_the_table():
    lock = carried(with_sizes(8 << 30, 7))
    layout = Layout.of_lock(lock)
    table = layout.table(
        {one.name: ("f" * 64,) * chunk_count(one.size) for one in layout.blobs if one.size > CHUNK_BYTES}
    )
    again = Layout.of_table(
        len(index_json(lock, UNKNOWN)),
        layout.table_member.name,
        len(table.encode()),
        [(entry.name, entry.size) for entry in ChunkTable.parse(table.encode()).members],
    )
    assert again == layout


def test_documents_lie_before_all_other_blobs_and_both_by_digest():
    lock = carried(Sample.large().lock)
    media_types = {f"blobs/sha256/{blob.digest.hex}": blob.media_type for blob in lock.blobs()}
    names = [member.name for member in Layout.of_lock(lock).blobs]
    kinds = [media_types[name].endswith("+json") for name in names]
    assert kinds == sorted(kinds, reverse=True)
    assert names == sorted(names, key=lambda name: (not media_types[name].endswith("+json"), name))


def test_the_index_names_every_artefact_sorted_and_by_its_full_reference():
    lock = carried(Sample.small().lock)
    index = json.loads(index_json(lock, Digest.of(b"table")))
    refs = [one["annotations"]["org.opencontainers.image.ref.name"] for one in index["manifests"]]
    assert refs == ["dryport/file/note:1.0.0", "dryport/lock/sample:1.0.0", API, WEB]
    assert index["annotations"] == {
        "dev.dryport.product": "sample",
        "dev.dryport.version": "1.0.0",
        "dev.dryport.chunks": str(Digest.of(b"table")),
    }
    types = {one["annotations"]["dev.dryport.kind"]: one.get("artifactType") for one in index["manifests"]}
    assert types == {
        "file": "application/vnd.dryport.file.v1",
        "lock": "application/vnd.dryport.lock.v1",
        "image": None,
    }


def test_a_bundle_carries_the_exact_lock_it_was_built_from():
    lock = Sample.small().lock
    layers = carried(lock).artifacts[-1].blobs
    assert Digest.of(lock.encode()) in [blob.digest for blob in layers]


def test_more_content_than_a_reader_takes_is_refused_at_once():
    with pytest.raises(DefinitionError) as caught:
        Layout.of_lock(with_sizes(10**15))
    assert caught.value.reference == "bundle-too-large"


def changed(blob: LockedBlob, **values: object) -> LockedBlob:
    return blob.model_copy(update=values)


def test_a_lock_that_contradicts_itself_is_refused():
    lock = Sample.small().lock
    first, *rest = lock.artifacts
    twisted = [
        [first, first, *rest],
        [first.model_copy(update={"blobs": [*first.blobs, changed(first.blobs[0], size=1)]}), *rest],
        [first.model_copy(update={"blobs": [changed(first.blobs[0], digest=Digest.of(b"", "sha512"))]}), *rest],
    ]
    for artifacts in twisted:
        with pytest.raises(DefinitionError) as caught:
            Layout.of_lock(lock.model_copy(update={"artifacts": artifacts}))
        assert caught.value.reference == "lock-invalid"


@pytest.mark.parametrize(
    "twist",
    [
        lambda members: members.append(members[0]),
        lambda members: members[0].update(chunks=["0" * 64]),
        lambda members: members[-1].pop("chunks"),
        lambda members: members[-1]["chunks"].pop(),
        lambda members: members[0].update(name="../../etc/passwd"),
        lambda members: members[0].update(size=-1),
        lambda members: members[0].update(size=1.5),
        lambda members: members[0].update(mode=0o777),
    ],
)
def test_a_senseless_table_is_refused_whoever_signed_it(twist: Callable[[list[dict[str, Any]]], None]):
    layout = Layout.of_lock(carried(with_sizes(CHUNK_BYTES + 1)))
    large = {one.name: ("f" * 64,) * 2 for one in layout.blobs if one.size > CHUNK_BYTES}
    value = json.loads(layout.table(large).encode())
    value["members"].sort(key=lambda one: "chunks" in one)
    ChunkTable.parse(json.dumps(value).encode())
    twist(value["members"])
    with pytest.raises(MediaError) as caught:
        ChunkTable.parse(json.dumps(value).encode())
    assert caught.value.reference == "table-invalid"
