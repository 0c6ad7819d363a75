"""Edits signed bundles at random, again and again, and looks whether one is accepted; each beside its honest twin.

    python -m tests.slow.bundle_edits [EDITS [SEED]]

Bits flipped, bytes overwritten, ends cut off or put on, members and volumes swapped, metadata taken from another bundle
of the same publisher. Every edit changes at least one byte. One in ten is of a bundle in volumes. Ends with what was
accepted, which has to be nothing, and with the honest twins that were refused, which has to be none.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bundles.archive.layout import Layout, carried
from bundles.archive.reader import read_head
from bundles.archive.region import REGION_BYTES
from bundles.archive.split import split
from bundles.archive.volumes import HEADER_BYTES, LEAST_BYTES
from bundles.verify import verify
from registry.errors import DryportError
from registry.progress import Silent
from tests.attacks.publisher import NOW, Publisher
from tests.sample_bundles import Sample, noise

PUBLISHER = Publisher(product="sample")
IN_VOLUMES = 10
Edit = Callable[["Honest", random.Random, list[Path]], None]


@dataclass
class Honest:
    """A bundle as it was published: its files, and another bundle of the same publisher."""

    files: list[Path]
    layout: Layout
    region_offset: int
    other_region: bytes
    skip: int
    """Bytes of a file before its share of the tar."""
    whole: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.whole = [path.read_bytes() for path in self.files]


def flip(_: Honest, chance: random.Random, files: list[Path]) -> None:
    path = chance.choice(files)
    _put(path, at := chance.randrange(path.stat().st_size), bytes([_byte(path, at) ^ (1 << chance.randrange(8))]))


def overwrite(_: Honest, chance: random.Random, files: list[Path]) -> None:
    path = chance.choice(files)
    at, length = chance.randrange(path.stat().st_size), chance.randrange(1, 600)
    data = chance.randbytes(length)
    with path.open("rb") as stream:
        stream.seek(at)
        before = stream.read(length)
    data = data[: len(before)]
    _put(path, at, data if data != before else bytes(byte ^ 1 for byte in before))


def cut(_: Honest, chance: random.Random, files: list[Path]) -> None:
    path = chance.choice(files)
    with path.open("r+b") as stream:
        stream.truncate(chance.randrange(path.stat().st_size))


def lengthen(_: Honest, chance: random.Random, files: list[Path]) -> None:
    with chance.choice(files).open("ab") as stream:
        stream.write(chance.choice([b"\0", b"x", bytes(512), bytes(10240)]))


def swap_members(honest: Honest, chance: random.Random, files: list[Path]) -> None:
    """Two members of one size change places, or one stands where another should; within the first file."""
    path, size = files[0], files[0].stat().st_size - honest.skip
    members = [one for one in honest.layout.blobs if one.end < size and one.size]
    one, other = chance.sample(members, 2)
    length = min(one.size, other.size)
    first, second = (_bytes(path, honest.skip + member.offset, length) for member in (one, other))
    if first == second:
        flip(honest, chance, files)
        return
    _put(path, honest.skip + one.offset, second)
    _put(path, honest.skip + other.offset, first)


def take_region(honest: Honest, chance: random.Random, files: list[Path]) -> None:
    """All of another bundle's signed metadata, or its beginning."""
    length = chance.choice([REGION_BYTES, 512 * chance.randrange(4, 40)])
    at = honest.skip + honest.region_offset
    if _bytes(files[0], at, length) == honest.other_region[:length]:
        length = REGION_BYTES
    _put(files[0], at, honest.other_region[:length])


def swap_volumes(honest: Honest, chance: random.Random, files: list[Path]) -> None:
    if len(files) == 1:
        flip(honest, chance, files)
        return
    one, other = chance.sample(range(len(files)), 2)
    data, way = (honest.whole[one], honest.whole[other]), chance.randrange(3)
    if way == 0:  # the files change names
        files[one].write_bytes(data[1])
        files[other].write_bytes(data[0])
        files[one].write_bytes(data[0][:HEADER_BYTES] + data[1][HEADER_BYTES:])
    elif way == 1:  # one stands for two
        files[one].write_bytes(data[1])
    else:  # one is gone
        files[one].unlink()


EDITS: Mapping[Edit, int] = {
    flip: 40,
    overwrite: 20,
    cut: 10,
    lengthen: 5,
    swap_members: 10,
    take_region: 10,
    swap_volumes: 5,
}
"""How often each is made, in parts."""


def _byte(path: Path, at: int) -> int:
    return _bytes(path, at, 1)[0]


def _bytes(path: Path, at: int, length: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(at)
        return stream.read(length)


def _put(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


def prepare(folder: Path) -> tuple[Honest, Honest]:
    """Publish a small bundle, and a larger one in volumes."""
    other = folder / "other.tar"
    Sample.of({"base": noise("another base", 50_001), "app": noise("app", 30_000)}, version="1.0.1").publish(
        other, PUBLISHER, 2
    )
    with read_head(other) as head:
        at = head.region_offset
    region = other.read_bytes()[at : at + REGION_BYTES]
    made = []
    for name, sample in (
        ("small", Sample.small()),
        ("large", Sample.of({"base": noise("base", 11 << 20), "app": noise("app", 9 << 20)})),
    ):
        path = folder / f"{name}.tar"
        sample.publish(path, PUBLISHER)
        layout = Layout.of_lock(carried(sample.lock))
        (folder / name).mkdir()
        files = [path] if name == "small" else split(path, folder / name, LEAST_BYTES, Silent())
        made.append(Honest(files, layout, layout.region_offset, region, 0 if name == "small" else HEADER_BYTES))
    return made[0], made[1]


def is_accepted(path: Path) -> bool:
    """Verify a bundle to its last byte."""
    try:
        with closing(verify(path, PUBLISHER.begin(), now=NOW)) as verified:
            verified.check_all(Silent())
    except DryportError:
        return False
    return True


def run(edits: int, seed: int) -> list[str]:
    """Return what was accepted, and honest twins that were refused."""
    chance, violations = random.Random(seed), []  # noqa: S311 - nothing secret
    with tempfile.TemporaryDirectory(prefix="edits-") as name:
        folder = Path(name)
        small, large = prepare(folder)
        place = folder / "edited"
        for number in range(edits):
            honest = large if number % IN_VOLUMES == 0 else small
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            files = [place / path.name for path in honest.files]
            for path, data in zip(files, honest.whole, strict=True):
                path.write_bytes(data)
            if number % 100 < IN_VOLUMES and not is_accepted(files[0]):
                violations.append(f"{number}: the honest twin was refused")
            (edit,) = chance.choices(list(EDITS), list(EDITS.values()))
            edit(honest, chance, files)
            left = next(path for path in files if path.exists())
            if [path.read_bytes() if path.exists() else b"" for path in files] == honest.whole:
                continue  # an edit that came back to where it began is none
            if is_accepted(left):
                violations.append(f"{number}: {edit.__name__} was accepted")
    return violations


def main() -> int:
    asked = [int(one) for one in sys.argv[1:3]]
    edits, seed = asked[0] if asked else 10_000, asked[1] if len(asked) > 1 else 1
    violations = run(edits, seed)
    for line in violations:
        print(line)
    print(f"{edits} edits of seed {seed}, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
