"""What a look at a bundle of 50 GB costs: seconds past the program's start, and bytes read.

python -m tests.bench.heads [GIBIBYTES]
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bundles.archive.artifacts import carried_lock
from bundles.diff import difference
from bundles.trust.metadata import fingerprint
from bundles.trust.verify import TrustState
from bundles.verify import look
from tests.bench.registries.starts import huge_bundle


@dataclass(frozen=True)
class Looked:
    """The costs of one look."""

    seconds: float
    read: int
    """Bytes that system calls gave."""


def measure(gibibytes: int = 50) -> dict[str, Looked]:
    """Look into a sparse bundle, and compare it with itself; signatures are checked each time."""
    with tempfile.TemporaryDirectory(prefix="heads-") as name:
        path, root = huge_bundle(Path(name), gibibytes)
        state = TrustState.begin(root.read_bytes(), fingerprint(root.read_bytes()))
        found = {}
        for what, times in (("inspect", 1), ("diff", 2)):
            began, before = time.perf_counter(), _read()
            locks = []
            for _ in range(times):
                seen = look(path, state, now=datetime.now(UTC))
                locks.append(carried_lock(seen.archive))
                seen.close()
            difference(locks[0], locks[-1])
            found[what] = Looked(time.perf_counter() - began, (_read() - before) // times)
    return found


def _read() -> int:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def main() -> None:
    for what, looked in measure(int(sys.argv[1]) if len(sys.argv) > 1 else 50).items():
        print(f"{what:8} {looked.seconds * 1000:6.1f} ms {looked.read / 1e6:6.2f} MB read of a bundle")


if __name__ == "__main__":
    main()
