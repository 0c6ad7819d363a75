"""Deltas that lie: about what they leave out, about their base, and between each other; each beside its honest twin."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bundles.archive.delta import Delta
from bundles.archive.reader import read_head
from bundles.archive.region import DELTA, pack_region
from bundles.delta import of_store
from bundles.verify import Verified, verify
from registry.content import Content
from registry.errors import DryportError, MediaError
from registry.mirror.copy import copy
from registry.mirror.target import StoreTarget
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.progress import Silent
from registry.store.store import Store
from tests.attacks.publisher import NOW, Publisher, Region, resigned
from tests.delta_samples import (
    NEW_LAYERS,
    OLD_LAYERS,
    blobs_of,
    release_and_delta,
    sign_delta,
    unsigned_delta,
)

PUBLISHER = Publisher(product="sample")
WEB = "registry.example.org/quickstart/web"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The older bundle, the newer one, and the delta from one to the other."""
    return release_and_delta(tmp_path_factory.mktemp("delta"), PUBLISHER)


def opened(path: Path) -> Verified:
    return verify(path, PUBLISHER.begin(), now=NOW)


def refused(path: Path) -> str:
    with pytest.raises(DryportError) as caught, closing(opened(path)) as verified:
        verified.check_all(Silent())
    assert caught.value.hint
    return caught.value.reference


def region_of(path: Path) -> Region:
    with read_head(path) as head:
        return dict(head.region)


def with_region(path: Path, region: Region, to: Path) -> Path:
    """Write a copy whose region holds other files."""
    with read_head(path) as head:
        at = head.region_offset
    packed, data = pack_region(region), path.read_bytes()
    to.write_bytes(data[:at] + packed + data[at + len(packed) :])
    return to


def changed_list(region: Region, **parts: object) -> Region:
    value: dict[str, Any] = json.loads(region[DELTA])
    return {**region, DELTA: strictjson.canonical({**value, **parts})}


def test_the_honest_one_is_taken(made: tuple[Path, Path, Path]) -> None:
    with closing(opened(made[2])) as verified:
        verified.check_all(Silent())


def test_a_list_that_was_changed_after_signing_is_refused(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    region = region_of(made[2])
    left = json.loads(region[DELTA])["leftOut"]
    base = {**json.loads(region[DELTA])["base"], "name": "sample 9.9.9, sequence 9"}
    for lie in ({"leftOut": left[1:]}, {"base": base}, {"index": str(Digest.of(b"another"))}):
        assert refused(with_region(made[2], changed_list(region, **lie), tmp_path / "d.tar")) == "metadata-mixed"


def test_a_list_that_was_taken_away_is_missed(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    region = {name: data for name, data in region_of(made[2]).items() if name != DELTA}
    assert refused(with_region(made[2], region, tmp_path / "d.tar")) == "metadata-mixed"


def test_a_full_bundle_does_not_become_a_delta(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    region = {**region_of(made[1]), DELTA: region_of(made[2])[DELTA]}
    assert refused(with_region(made[1], region, tmp_path / "d.tar")) == "metadata-mixed"


def test_the_regions_of_a_bundle_and_its_delta_cannot_be_swapped(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, new, delta = made
    assert refused(with_region(new, region_of(delta), tmp_path / "one.tar")) == "bundle-overlong"
    assert refused(with_region(delta, region_of(new), tmp_path / "other.tar")) == "bundle-truncated"


def test_signers_who_leave_out_what_is_not_in_the_release_are_not_believed(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """A holder of the release keys can make any release; a delta that makes no sense is still refused."""
    region = region_of(made[2])
    left = [*json.loads(region[DELTA])["leftOut"], Digest.of(b"never carried").hex]
    for lie in ({"leftOut": sorted(left)}, {"index": str(Digest.of(b"another release"))}):
        changed = changed_list(region, **lie)
        size, digest = len(changed[DELTA]), Digest.of(changed[DELTA]).hex

        def bind(one: dict[str, Any], size: int = size, digest: str = digest) -> None:
            one["targets"]["delta.json"] = {"length": size, "hashes": {"sha256": digest}}

        signed = resigned(changed, "targets", bind, PUBLISHER.release)
        assert refused(with_region(made[2], signed, tmp_path / "d.tar")) == "delta-invalid"


def test_a_base_that_does_not_have_it_is_found_out_whatever_the_delta_says(
    made: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Made against holdings that the site does not have, as a forged inventory would have it."""
    old, new, _ = made
    claimed = {*blobs_of(old), Digest.of(NEW_LAYERS["app"])}
    unsigned_delta(PUBLISHER, new, claimed, tmp_path / "d.tar")
    sign_delta(PUBLISHER, tmp_path / "d.tar", 2)
    with Store.open(tmp_path / "store") as store:
        with closing(opened(old)) as verified:
            copy(verified.content(), StoreTarget(store), Silent())
        with closing(opened(tmp_path / "d.tar")) as verified:
            with pytest.raises(MediaError) as caught:
                verified.content(of_store(store))
            assert caught.value.reference == "delta-base-missing"
            assert [Digest.of(NEW_LAYERS["app"]).hex in one.where for one in caught.value.findings] == [True]


def test_other_bytes_in_the_place_of_a_base_blob_are_not_stored(made: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """A base that answers for a blob with bytes of the right size: the store hashes what it takes."""

    class Liar:
        size = len(OLD_LAYERS["base"])
        extent = None

        def read(self, offset: int, length: int) -> bytes:
            return bytes(min(length, self.size - offset))

        def close(self) -> None:
            pass

    def find(digest: Digest) -> Content | None:
        lie = Liar()
        lie.size = next(len(data) for data in (*OLD_LAYERS.values(), b"carried\n") if Digest.of(data) == digest)
        return lie

    with Store.open(tmp_path / "store") as store, closing(opened(made[2])) as verified:
        with pytest.raises(DryportError):
            copy(verified.content(find), StoreTarget(store), Silent())
        assert Digest.of(OLD_LAYERS["base"]) not in store.blobs()
        assert store.resolve(WEB, "1.0.0") is None


def test_only_one_spelling_of_a_list_is_read(made: tuple[Path, Path, Path]) -> None:
    data = region_of(made[2])[DELTA]
    assert Delta.parse(data).encode() == data
    value = json.loads(data)
    for lie in (
        {"leftOut": []},
        {"leftOut": list(reversed(value["leftOut"]))},
        {"leftOut": [*value["leftOut"], value["leftOut"][-1]]},
        {"leftOut": ["../../etc/passwd"]},
        {"base": {**value["base"], "name": "two\nlines"}},
        {"base": {**value["base"], "kind": "Hope"}},
        {"more": True},
    ):
        with pytest.raises(ValueError, match=r".+"):
            Delta.parse(strictjson.canonical({**value, **lie}))
    with pytest.raises(ValueError, match="canonical"):
        Delta.parse(json.dumps(value).encode())
