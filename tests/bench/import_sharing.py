"""How long `dryport registry import` takes from a bundle, and what disk it costs: shared, and copied.

    python -m tests.bench.import_sharing [MEBIBYTES]

On XFS and btrfs, where blocks can be shared, and ext4, where they cannot; each on a loop device of its own, as root.
The second import of a line is the same with sharing taken away. The bundle is not in memory when an import begins.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bundles.trust.verify import TrustState, fingerprint
from bundles.verify import verify
from registry.mirror.copy import copy
from registry.mirror.report import CopyReport
from registry.mirror.target import StoreTarget
from registry.progress import Silent
from registry.store import durable
from registry.store.store import Store
from tests.attacks.publisher import NOW, Publisher
from tests.disks import disk, used
from tests.sample_bundles import Sample

LAYERS = 8
GOAL = 0.02
"""Of the content's size: what an import that shares may take of the disk."""


def take(bundle: Path, trusted: TrustState, store: Path) -> tuple[CopyReport, float]:
    handle = os.open(bundle, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)
    began = time.monotonic()
    verified = verify(bundle, trusted, now=NOW)
    with Store.open(store) as opened:
        report = copy(verified.content(), StoreTarget(opened), Silent())
    verified.close()
    return report, time.monotonic() - began


def measure(place: Path, mebibytes: int) -> list[str]:
    """Return one row, and raise SystemExit if what is shared costs too much."""
    publisher = Publisher()
    layers = {f"layer-{number}": os.urandom((mebibytes << 20) // LAYERS) for number in range(LAYERS)}
    bundle = place / "b.tar"
    Sample.of(layers).publish(bundle, publisher)
    content = sum(map(len, layers.values()))
    trusted = TrustState.begin(publisher.roots[0], fingerprint(publisher.roots[0]))
    cells, share = [], durable.share
    for name in ("first", "copied"):
        before = used(place)
        report, seconds = take(bundle, trusted, place / name)
        cost = (used(place) - before) / content
        if report.bytes_shared and cost > GOAL:
            raise SystemExit(f"{cost:.1%} of the content's size was taken, the goal is {GOAL:.0%}")
        cells += [f"{report.bytes_shared / content:7.1%}", f"{seconds:7.2f} s", f"{cost:7.1%}"]
        durable.share = lambda *_: 0
    durable.share = share
    return cells


def main() -> None:
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    sys.stdout.write(
        f"{mebibytes} MiB in {LAYERS} layers          as it is                    with sharing taken away\n"
        "            shared      time      disk     shared      time      disk\n"
    )
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        for kind in ("xfs", "btrfs", "ext4"):
            try:
                with disk(Path(name).resolve(), kind, (mebibytes << 20) * 3 + (1 << 30)) as place:
                    sys.stdout.write(f"{kind:10}{'   '.join(measure(place, mebibytes))}\n")
            except pytest.skip.Exception as reason:
                sys.stdout.write(f"{kind:10}left out: {reason}\n")


if __name__ == "__main__":
    main()
