"""A store that shares disk with what it takes in believes nothing of it, and copies wherever it cannot share.

Sharing itself is the file system's; here a stand-in keeps its rules (ioctl_ficlonerange(2)), so that each answer and
each moment can be tried. The real ones are tried in tests/interop/test_import_shares_disk.py.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bundles.archive.chunks import blob_name
from bundles.trust.verify import TrustState, fingerprint
from bundles.verify import Verified, verify
from registry.content import Extent, Located
from registry.errors import MediaError, SiteError
from registry.mirror.copy import copy
from registry.mirror.target import StoreTarget
from registry.oci.digest import Digest
from registry.progress import Silent
from registry.store import durable
from registry.store.faults import DigestMismatchError
from registry.store.scrub import scrub
from registry.store.store import Store
from tests.attacks.publisher import NOW, Publisher
from tests.sample_bundles import WEB, Sample, noise

BLOCK = durable.SHARED_BLOCK
BASE = noise("base", (9 << 20) + 17)
REPOSITORY = WEB.rpartition(":")[0]


@dataclass
class Sharing:
    """What a file system that shares blocks does when asked; `after` happens to the new file at once."""

    asked: list[tuple[int, int]] = field(default_factory=list)
    after: Callable[[int], object] = lambda _: None
    refusal: int = 0

    def ioctl(self, target: int, request: int, argument: bytes) -> int:
        assert request == 0x4020940D
        source, offset, length, to = struct.unpack("qQQQ", argument)
        self.asked.append((offset, length))
        size = os.fstat(source).st_size
        odd = length % BLOCK and offset + length != size
        if self.refusal or offset % BLOCK or to % BLOCK or odd or not length or offset + length > size:
            raise OSError(self.refusal or errno.EINVAL, "refused")
        os.pwrite(target, os.pread(source, length, offset), to)
        self.after(target)
        return 0


@pytest.fixture
def sharing(monkeypatch: pytest.MonkeyPatch) -> Sharing:
    found = Sharing()
    monkeypatch.setattr(fcntl, "ioctl", found.ioctl)
    return found


@pytest.fixture
def verified(tmp_path: Path) -> Iterator[Verified]:
    publisher = Publisher()
    Sample.large().publish(tmp_path / "b.tar", publisher)
    root = publisher.roots[0]
    found = verify(tmp_path / "b.tar", TrustState.begin(root, fingerprint(root)), now=NOW)
    yield found
    found.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def flip(target: int, offset: int) -> None:
    for byte in os.pread(target, 1, offset):
        os.pwrite(target, bytes([byte ^ 1]), offset)


def whole_blocks(verified: Verified) -> list[int]:
    """What of each blob can be shared: all large ones begin at a block, of the small ones one does now and then."""
    sizes = [one.size - one.size % BLOCK for one in verified.archive.table.members if one.offset % BLOCK == 0]
    return sorted(size for size in sizes if size)


def damage(verified: Verified, at: int) -> None:
    """Change a byte of the largest layer on the medium."""
    offset = verified.archive.members[blob_name(Digest.of(BASE))].offset + at
    durable.overwrite(verified.archive.medium.path, offset, bytes([BASE[at] ^ 1]))


def held(store: Store) -> bytes | None:
    content = store.blob(REPOSITORY, Digest.of(BASE))
    return content.read(0, content.size) if content else None


class Counted(Silent):
    """Progress that adds up."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.label = ""

    def meter(self, label: str, total: int, unit: str = "B") -> Counted:
        self.label = label
        self.done[f"{label} of"] = total
        return super().meter(label, total, unit)  # type: ignore[return-value]

    def advance(self, amount: int, item: str = "") -> None:  # noqa: ARG002
        self.done[self.label] = self.done.get(self.label, 0) + amount


def test_large_blobs_share_their_blocks_and_only_tails_and_small_ones_are_copied(
    sharing: Sharing, verified: Verified, store: Store
) -> None:
    progress = Counted()
    report = copy(verified.content(), StoreTarget(store), progress)
    assert sorted(length for _, length in sharing.asked) == whole_blocks(verified)
    assert whole_blocks(verified)[-2:] == [8 << 20, 9 << 20]
    assert report.bytes_shared == sum(whole_blocks(verified))
    assert 17 < report.bytes_copied < 10_000
    assert held(store) == BASE
    assert progress.done["copying blobs"] == progress.done["copying blobs of"]
    assert scrub(store, [], Silent()).damages == []


@pytest.mark.parametrize("refusal", [errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSPC])
def test_where_the_file_system_refuses_all_is_copied(
    sharing: Sharing, verified: Verified, store: Store, refusal: int
) -> None:
    sharing.refusal = refusal
    report = copy(verified.content(), StoreTarget(store), Silent())
    assert report.bytes_shared == 0
    assert report.bytes_copied > 17 << 20
    assert held(store) == BASE


def test_the_file_system_of_this_machine_gives_the_same_content(verified: Verified, store: Store) -> None:
    report = copy(verified.content(), StoreTarget(store), Silent())
    assert report.bytes_copied + report.bytes_shared > 17 << 20
    assert held(store) == BASE


@pytest.mark.parametrize("at", [0, 5 << 20, len(BASE) - 1])
def test_a_damaged_bundle_is_refused_with_the_place_of_the_damage_and_nothing_of_it_stays(
    sharing: Sharing, verified: Verified, store: Store, at: int
) -> None:
    damage(verified, at)
    with pytest.raises(MediaError) as caught:
        copy(verified.content(), StoreTarget(store), Silent())
    (finding,) = caught.value.findings
    assert finding.reference == "blob-damaged"
    assert Digest.of(BASE).hex in finding.where
    assert sharing.asked
    assert held(store) is None
    assert not store.files.path(Digest.of(BASE)).exists()
    assert list(store.files.incoming.iterdir()) == []
    assert store.tags(REPOSITORY) == []


def test_blocks_that_were_wrong_when_they_were_taken_are_read_again_and_never_stored(
    sharing: Sharing, verified: Verified, store: Store
) -> None:
    sharing.after = lambda target: flip(target, 5 << 20)
    progress = Counted()
    report = copy(verified.content(), StoreTarget(store), progress)
    assert report.bytes_shared < BLOCK * 8, "what was shared of the large ones was thrown away"
    assert held(store) == BASE
    assert progress.done["copying blobs"] == progress.done["copying blobs of"]


def test_a_medium_that_changes_after_its_blocks_were_taken_changes_nothing_here(
    sharing: Sharing, verified: Verified, store: Store
) -> None:
    sharing.after = lambda _: damage(verified, 5 << 20)
    report = copy(verified.content(), StoreTarget(store), Silent())
    assert report.bytes_shared == sum(whole_blocks(verified))
    assert held(store) == BASE


def test_shared_blocks_that_the_disk_cannot_read_are_the_mediums_fault(
    sharing: Sharing, verified: Verified, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = verified.archive.members[blob_name(Digest.of(BASE))]
    located = verified.archive.medium.located(bad.offset, bad.size)
    assert located
    broken, read = {located[0]: located[1]}, os.pread
    sharing.after = lambda target: broken.setdefault(target, 0) if os.fstat(target).st_size == 9 << 20 else None

    def pread(handle: int, length: int, offset: int) -> bytes:
        if len(broken) > 1 and handle in broken and offset <= broken[handle] + (5 << 20) < offset + length:
            raise OSError(errno.EIO, "Input/output error")
        return read(handle, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(MediaError) as caught:
        copy(verified.content(), StoreTarget(store), Silent())
    assert [finding.reference for finding in caught.value.findings] == ["medium-unreadable"]
    assert held(store) is None


def test_a_bundle_that_was_cut_short_is_refused(sharing: Sharing, verified: Verified, store: Store) -> None:
    os.truncate(verified.archive.medium.path, verified.archive.members[blob_name(Digest.of(BASE))].offset + (1 << 20))
    with pytest.raises(MediaError) as caught:
        copy(verified.content(), StoreTarget(store), Silent())
    assert {finding.reference for finding in caught.value.findings} == {"bundle-truncated"}
    assert sharing.asked
    assert held(store) is None


@dataclass
class Liar:
    """A content that points at other bytes than it gives."""

    extent: Extent
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("offset", "size"), [(0, 3 * BLOCK), (BLOCK, BLOCK + 9), (BLOCK, 9), (7, BLOCK), (0, 0)])
def test_where_a_content_says_it_lies_is_not_believed(
    sharing: Sharing, store: Store, tmp_path: Path, offset: int, size: int
) -> None:
    (tmp_path / "file").write_bytes(noise("other", 3 * BLOCK))
    data = noise("right", 2 * BLOCK + 5)
    with (tmp_path / "file").open("rb") as file:
        content = Liar(Extent(file.fileno(), offset, size), data)
        assert isinstance(content, Located)
        assert store.take_blob("a", Digest.of(data), content, lambda _: None).shared == 0
        with pytest.raises(DigestMismatchError):
            store.take_blob("a", Digest.of(b"neither"), content, lambda _: None)
    found = store.blob("a", Digest.of(data))
    assert found is not None
    assert found.read(0, found.size) == data
    assert not store.files.path(Digest.of(b"neither")).exists()
    assert all(length for _, length in sharing.asked), "0 would be taken as: to the end of the file"


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_between_stores_whole_files_are_shared_to_their_last_byte(
    sharing: Sharing, store: Store, tmp_path: Path, size: int
) -> None:
    data = noise("one", size)
    with Store.open(tmp_path / "other") as other:
        other.put_blob("a", Digest.of(data), [data])
        content = other.blob("a", Digest.of(data))
        assert content is not None
        taken = store.take_blob("a", Digest.of(data), content, lambda _: None)
        content.close()
    assert (taken.size, taken.shared) == (size, size)
    assert sharing.asked == [(0, size)]
    assert store.files.path(Digest.of(data)).read_bytes() == data


def test_a_scrub_mends_from_a_bundle_by_sharing(sharing: Sharing, verified: Verified, store: Store) -> None:
    copy(verified.content(), StoreTarget(store), Silent())
    sharing.asked.clear()
    with store.files.path(Digest.of(BASE)).open("r+b") as file:
        flip(file.fileno(), 77)
    seen = scrub(store, [verified.content()], Silent())
    assert [(one.digest, one.repaired) for one in seen.damages] == [(Digest.of(BASE), True)]
    assert [length for _, length in sharing.asked] == [9 << 20]
    assert held(store) == BASE


def free(monkeypatch: pytest.MonkeyPatch, store: Store, size: int) -> None:
    """Let the store's disk have `size` bytes free."""
    real = os.statvfs(store.folder)
    short = os.statvfs_result((*real[:4], size // real.f_frsize, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: short)


def test_too_little_space_for_a_copy_is_told_before_a_byte_moves(
    sharing: Sharing, verified: Verified, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharing.refusal = errno.EOPNOTSUPP
    free(monkeypatch, store, 17 << 20)
    with pytest.raises(SiteError) as caught:
        copy(verified.content(), StoreTarget(store), Silent())
    assert caught.value.reference == "space-short"
    assert 17 << 20 < int(caught.value.expected.split()[0]) < (17 << 20) + 20 * BLOCK
    assert list(store.files.incoming.iterdir()) == []
    assert list((store.files.blobs / "sha256").iterdir()) == []
    free(monkeypatch, store, 18 << 20)
    assert copy(verified.content(), StoreTarget(store), Silent()).bytes_shared == 0


def test_what_the_store_is_seen_to_share_needs_no_space(
    sharing: Sharing, verified: Verified, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, store, 20 * BLOCK)
    assert copy(verified.content(), StoreTarget(store), Silent()).bytes_shared == sum(whole_blocks(verified))
    assert len(sharing.asked) == 2 * len(whole_blocks(verified)), "each is tried, then taken"
    free(monkeypatch, store, 0)
    assert copy(verified.content(), StoreTarget(store), Silent()).copied == 0


def test_sharing_one_block_does_not_make_room_for_the_small_ones(
    sharing: Sharing, verified: Verified, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    free(monkeypatch, store, BLOCK)
    with pytest.raises(SiteError) as caught:
        copy(verified.content(), StoreTarget(store), Silent())
    assert caught.value.reference == "space-short"
    assert int(caught.value.expected.split()[0]) <= 20 * BLOCK
    assert [length for _, length in sharing.asked] == [BLOCK] * len(whole_blocks(verified))


def test_a_disk_that_does_not_say_its_size_is_tried(
    verified: Verified, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(store.folder)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*real[:2], 0, 0, 0, *real[5:])))
    assert copy(verified.content(), StoreTarget(store), Silent()).blobs_copied
