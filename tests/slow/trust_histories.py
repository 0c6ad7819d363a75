"""Compares dryport's trust with a stock TUF client over many histories of sticks.

    python -m tests.slow.trust_histories [HISTORIES [SEED]]

The last line says how many sticks of how many histories both accepted, both refused, and on which they deviated as
tests/properties/trust_history.py lists. Ends with 1 if anything else happened, and tells the seeds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.properties.trust_history import compare

COUNT = 10_000


def played(seed: int) -> tuple[int, Counter[str], list[str]]:
    """Play one history in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="trust-history-") as folder:
        return compare(seed, Path(folder) / "site")


def main(count: int = COUNT, seed: int = 1) -> int:
    """Play the histories; return 1 if one of them shows a difference that is not listed."""
    begun, sticks, seen = time.monotonic(), 0, Counter[str]()
    violations: list[str] = []
    with ProcessPoolExecutor() as pool:
        for read, one, wrong in pool.map(played, range(seed, seed + count), chunksize=50):
            sticks += read
            seen += one
            violations += wrong
    for line in violations:
        sys.stdout.write(f"VIOLATION {line}\n")
    counts = ", ".join(f"{name} {number}" for name, number in sorted(seen.items()))
    seconds = time.monotonic() - begun
    sys.stdout.write(f"{count} histories, {sticks} sticks, {len(violations)} violations in {seconds:.0f} s: {counts}\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
