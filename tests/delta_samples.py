"""Deltas made and signed as a publisher does it.

>>> signed_delta(PUBLISHER, tmp_path / "new.tar", held, tmp_path / "delta.tar", sequence=2)
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from bundles.archive.delta import Base
from bundles.archive.reader import Archive, read_head
from bundles.archive.writer import sign_in_place
from bundles.delta import DeltaReport, make
from bundles.trust.roles import Statement, sign_release
from bundles.verify import verify
from registry.oci.digest import Digest
from registry.progress import Silent
from tests.attacks.publisher import DAY, NOW, Publisher
from tests.sample_bundles import Sample, noise

OLD_LAYERS = {"base": noise("base", (9 << 20) + 17), "app": noise("app", 500_000), "tip": noise("tip", 70_000)}
NEW_LAYERS = {**OLD_LAYERS, "app": noise("app, mended", 510_000)}


def two_releases(folder: Path, publisher: Publisher) -> tuple[Path, Path]:
    """Return two signed bundles of a product; one layer changed from one to the other."""
    old, new = folder / "old.tar", folder / "new.tar"
    Sample.of(OLD_LAYERS, version="1.0.0").publish(old, publisher, 1)
    Sample.of(NEW_LAYERS, version="1.1.0").publish(new, publisher, 2)
    return old, new


def blobs_of(bundle: Path) -> frozenset[Digest]:
    """Return what a bundle lists."""
    with read_head(bundle) as head:
        return frozenset(entry.digest for entry in Archive(head).table.members)


def release_and_delta(folder: Path, publisher: Publisher) -> tuple[Path, Path, Path]:
    """Return the older bundle, the newer one, and the delta from one to the other, all signed."""
    old, new = two_releases(folder, publisher)
    signed_delta(publisher, new, blobs_of(old), folder / "delta.tar")
    return old, new, folder / "delta.tar"


def unsigned_delta(
    publisher: Publisher,
    full: Path,
    held: Collection[Digest],
    out: Path,
    *,
    name: str = "sample 1.0.0, sequence 1",
    volume_bytes: int | None = None,
) -> DeltaReport:
    """Make a delta of a full bundle against what is held."""
    base = Base(kind="Release", name=name, digest=str(Digest.of(b"base")))
    with closing(verify(full, publisher.begin(), now=NOW)) as verified:
        return make(verified.archive, base, held.__contains__, out, Silent(), volume_bytes=volume_bytes)


def sign_delta(publisher: Publisher, out: Path, sequence: int, version: str = "1.1.0") -> None:
    """Sign a delta as its release was signed."""
    with read_head(out) as head:
        index, earlier = head.index, head.region
    times = (NOW - DAY + timedelta(minutes=sequence), NOW + 100 * DAY)
    said = Statement("sample", version, sequence, ("linux/amd64",), *times)
    sign_in_place(out, sign_release(index, said, publisher.roots, publisher.release, earlier))


def signed_delta(publisher: Publisher, full: Path, held: Collection[Digest], out: Path) -> DeltaReport:
    """Make a delta of the second release and sign it."""
    report = unsigned_delta(publisher, full, held, out)
    sign_delta(publisher, out, 2)
    return report
