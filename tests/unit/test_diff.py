"""What a release brings: artefacts, OS packages and bytes, read from two heads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundles.archive.artifacts import carried_lock
from bundles.archive.layout import Layout, carried
from bundles.archive.reader import glance, read_head
from bundles.archive.region import REGION_BYTES
from bundles.diff import Change, difference
from bundles.lock import AptPackage, Lock, LockedArtifact, LockedBlob
from bundles.sources.artifact import Layer, made
from bundles.verify import look, verify
from registry.errors import MediaError, TrustError
from registry.oci.digest import Digest
from registry.store import durable
from tests.attacks.publisher import NOW, Publisher
from tests.sample_bundles import Sample, noise


def closure(*packages: tuple[str, str, int]) -> LockedArtifact:
    """An apt closure of packages, each a name, a version and a size."""
    layers = [
        Layer(
            f"pool/{name}_{version}.deb",
            LockedBlob(
                digest=Digest.of(f"{name} {version}".encode()),
                size=size,
                media_type="application/vnd.debian.binary-package",
                origin=AptPackage(
                    suites=["stable"],
                    components=["main"],
                    architecture="amd64",
                    package=name,
                    version=version,
                    path=f"pool/{name}_{version}.deb",
                ),
            ),
        )
        for name, version, size in packages
    ]
    return made("apt", "application/vnd.dryport.apt.v1", "dryport/apt/host:1.0.0", layers)


def lock_of(*artifacts: LockedArtifact, version: str = "1.0.0") -> Lock:
    return Lock(
        product="plane",
        version=version,
        platforms=["linux/amd64"],
        definition=str(Digest.of(b"d")),
        artifacts=list(artifacts),
    )


def image(ref: str, text: str) -> LockedArtifact:
    return made("image", "application/vnd.example", ref, [Layer.text("layer", text, "text/plain")])


def test_a_release_against_itself_brings_nothing() -> None:
    lock = Sample.small().lock
    found = difference(lock, lock)
    assert (found.changes, found.new_bytes, found.gone_bytes) == ((), 0, 0)
    assert found.kept_bytes == sum(blob.size for blob in lock.blobs())


def test_an_image_of_another_tag_is_a_change_and_others_come_and_go() -> None:
    before = lock_of(image("r.example/web:1.0", "one"), image("r.example/old:1", "old"))
    after = lock_of(image("r.example/web:1.1", "two two"), image("r.example/new:1", "new"))
    found = difference(before, after)
    assert [(one.what, one.name, one.before, one.after) for one in found.changes] == [
        ("added", "r.example/new", None, "1"),
        ("removed", "r.example/old", "1", None),
        ("changed", "r.example/web", "1.0", "1.1"),
    ]
    assert found.new_bytes == sum(one.size for one in found.changes if one.after)


def test_a_tag_that_moved_is_told_by_its_digests() -> None:
    (change,) = difference(lock_of(image("r.example/web:1", "a")), lock_of(image("r.example/web:1", "b"))).changes
    assert change.what == "changed"
    assert change.before != change.after
    assert "sha256:" in str(change.before)


def test_two_tags_against_three_are_no_guess() -> None:
    before = lock_of(image("r.example/web:1", "a"), image("r.example/web:2", "b"))
    after = lock_of(image("r.example/web:2", "b"), image("r.example/web:3", "c"), image("r.example/web:4", "d"))
    assert [(one.before, one.after) for one in difference(before, after).changes] == [
        (None, "3"),
        (None, "4"),
        ("1", None),
    ]


def test_os_packages_are_compared_one_by_one() -> None:
    before = lock_of(closure(("tool", "1.0", 100), ("gone", "1", 50)))
    after = lock_of(closure(("tool", "1.1", 120), ("fresh", "2", 70)))
    packages = [one for one in difference(before, after).changes if one.kind == "os-package"]
    assert packages == [
        Change("os-package", "host: fresh:amd64", None, "2", 70),
        Change("os-package", "host: gone:amd64", "1", None, 50),
        Change("os-package", "host: tool:amd64", "1.0", "1.1", 120),
    ]


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[Path, Publisher]:
    publisher = Publisher()
    path = tmp_path / "sample.tar"
    Sample.of({"base": noise("base", 30 << 20), "app": noise("app", 12 << 20)}).publish(path, publisher)
    return path, publisher


def read_bytes() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def test_a_look_reads_the_head_alone(bundle: tuple[Path, Publisher]) -> None:
    path, publisher = bundle
    for state in (None, publisher.begin()):
        before = read_bytes()
        seen = look(path, state, now=NOW)
        assert carried_lock(seen.archive).product == "sample"
        seen.close()
        assert read_bytes() - before < 200_000


def test_a_look_at_damaged_content_is_fine_and_a_verification_is_not(bundle: tuple[Path, Publisher]) -> None:
    path, publisher = bundle
    durable.overwrite(path, path.stat().st_size - 5_000_000, b"damaged")
    durable.overwrite(path, path.stat().st_size - 100, b"x")
    look(path, publisher.begin(), now=NOW).close()
    with pytest.raises(MediaError):
        verify(path, publisher.begin(), now=NOW)


def test_a_look_believes_nothing_that_is_not_signed(bundle: tuple[Path, Publisher], tmp_path: Path) -> None:
    path, publisher = bundle
    with pytest.raises(TrustError):
        look(path, Publisher().begin(), now=NOW)
    with read_head(path) as head:
        at = head.region_offset
    data = bytearray(path.read_bytes())
    data[1536 + 200] ^= 1  # index.json
    (tmp_path / "edited.tar").write_bytes(bytes(data))
    with pytest.raises((TrustError, MediaError)):
        look(tmp_path / "edited.tar", publisher.begin(), now=NOW)
    data = bytearray(path.read_bytes())
    data[at : at + REGION_BYTES] = os.urandom(REGION_BYTES)
    (tmp_path / "torn.tar").write_bytes(bytes(data))
    with pytest.raises(MediaError):
        glance(tmp_path / "torn.tar")


def test_the_table_that_a_look_reads_is_the_one_that_the_index_names(bundle: tuple[Path, Publisher]) -> None:
    path, publisher = bundle
    layout = Layout.of_lock(carried(Sample.of({"base": noise("base", 30 << 20), "app": noise("app", 12 << 20)}).lock))
    durable.overwrite(path, layout.table_member.offset + 30, b"x")
    with pytest.raises(MediaError) as caught:
        look(path, publisher.begin(), now=NOW)
    assert caught.value.reference == "table-damaged"
