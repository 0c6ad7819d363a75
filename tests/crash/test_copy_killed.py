"""A copy that is killed at any moment: what is visible is whole, and the next run moves only what is missing."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from registry.mirror.copy import copy
from registry.mirror.inventory import inventory
from registry.mirror.target import StoreTarget
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_LAYER, OCI_MANIFEST
from registry.progress import Silent
from registry.store.store import Store
from tests.oci_samples import descriptor

IMAGES, LAYERS, SIZE = 12, 3, 400_000
SCRIPT = """
import sys
from pathlib import Path
from registry.mirror.copy import copy
from registry.mirror.target import StoreTarget
from registry.progress import Silent
from registry.store.store import Store
with Store.open(Path(sys.argv[1])) as origin, Store.open(Path(sys.argv[2])) as store:
    print("go", flush=True)
    copy(origin, StoreTarget(store), Silent())
"""


def test_a_copy_killed_again_and_again_ends_whole(tmp_path: Path) -> None:
    with Store.open(tmp_path / "origin") as origin:
        for number in range(IMAGES):
            layers = [hashlib.shake_256(f"{number}/{one}".encode()).digest(SIZE) for one in range(LAYERS)]
            for layer in layers:
                origin.put_blob(f"team/app{number}", Digest.of(layer), [layer])
            listed = [descriptor(layer, OCI_LAYER).as_json() for layer in layers]
            data = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": listed})
            origin.put_manifest(f"team/app{number}", data, OCI_MANIFEST, ["1.0"])
        held, kills = 0, 0
        for attempt in range(8):
            if not _killed(tmp_path, held + attempt, 0.005 * attempt):
                break
            kills += 1
            with Store.open(tmp_path / "store") as store:
                assert inventory(store).missing == []  # whatever has a tag is whole
                now = _held(tmp_path)
            assert now >= held  # nothing that was finished is lost
            held = now
        assert kills >= 2
        assert held > 0
        with Store.open(tmp_path / "store") as store:
            copy(origin, StoreTarget(store), Silent())
            assert [store.tags(name) for name in store.repositories()] == [["1.0"]] * IMAGES
            assert inventory(store).missing == []
            assert copy(origin, StoreTarget(store), Silent()).copied == 0


def _killed(folder: Path, more: int, seconds: float) -> bool:
    """Run a copy and kill it `seconds` after it holds `more` bytes; say whether it was still running."""
    command = [sys.executable, "-c", SCRIPT, str(folder / "origin"), str(folder / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while process.poll() is None and _held(folder) < more:
            time.sleep(0.001)
        time.sleep(seconds)
        if process.poll() is not None:
            return False
        os.kill(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def _held(folder: Path) -> int:
    return sum(file.stat().st_size for file in (folder / "store/blobs").rglob("*") if file.is_file())
