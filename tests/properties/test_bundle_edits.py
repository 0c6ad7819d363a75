"""No byte of a signed bundle may have another value: two thousand random edits, none accepted."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from bundles.archive import tar
from bundles.archive.layout import Layout
from bundles.archive.reader import read_head
from bundles.archive.region import PAD, pack_region
from bundles.verify import verify
from registry.errors import MediaError, TrustError
from registry.progress import Silent
from tests.attacks.publisher import NOW, Publisher
from tests.sample_bundles import Sample, noise

EDITS = 2000
PUBLISHER = Publisher(product="sample")


def accepted(path: Path) -> bool:
    try:
        verified = verify(path, PUBLISHER.begin(), now=NOW)
    except (MediaError, TrustError):
        return False
    try:
        verified.check_all(Silent())
    except MediaError:
        return False
    finally:
        verified.close()
    return True


def places(layout: Layout, used: int, count: int) -> list[int]:
    """Return places to edit: half in what means something, some in pax headers, half anywhere (mostly region's pad)."""
    chance = random.Random(20_311)  # noqa: S311 - places, no secrets
    pad = range(layout.region_offset + used, layout.members[2].offset - 512)
    meaningful = [at for at in range(layout.size) if at not in pad]
    pax = [at for one in layout.blobs if one.offset - one.begin > tar.BLOCK for at in range(one.begin, one.offset)]
    assert pax
    chosen = chance.sample(meaningful, count // 2) + chance.sample(pax, count // 10)
    return chosen + chance.sample(range(layout.size), count - len(chosen))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    path = tmp_path_factory.mktemp("edits") / "sample.tar"
    Sample.of({"base": b"x" * 9_001, "app": noise("app", tar.ALIGNED_SIZE)}).publish(path, PUBLISHER)
    with read_head(path) as head:
        used = pack_region(head.region).index(PAD.encode())
    layout = verify(path, PUBLISHER.begin(), now=NOW).archive.layout
    return path, places(layout, used, EDITS)


def test_no_edit_of_a_single_byte_is_accepted(bundle: tuple[Path, list[int]]):
    path, chosen = bundle
    chance = random.Random(7)  # noqa: S311 - values, no secrets
    whole = path.read_bytes()
    let_in = []
    edited = path.open("r+b", buffering=0)  # not durably: four thousand fsyncs prove nothing here
    for at in chosen:
        value = chance.choice([whole[at] ^ (1 << chance.randrange(8)), chance.choice([0, 32, 65, 255])])
        if value == whole[at]:
            value ^= 1
        os.pwrite(edited.fileno(), bytes([value]), at)
        if accepted(path):
            let_in.append((at, whole[at], value))
        os.pwrite(edited.fileno(), whole[at : at + 1], at)
    edited.close()
    assert let_in == []
    assert accepted(path), "the honest twin, after every edit was taken back"
