"""Some rounds of kill -9 under pushes, deletions and collection; `tests.crash.store_killer FOLDER 500` runs many."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_killed_again_and_again_the_store_loses_tears_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.crash.store_killer", str(tmp_path / "store"), "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split("acknowledged ")[1].split(",")[0]) >= 5, done.stdout
