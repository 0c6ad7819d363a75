"""The OCI conformance program at the development level, with everything on that it can ask, over a guarded registry.

The program cannot be installed by a package: build it from the distribution specification's `conformance` folder and
name it by DRYPORT_CONFORMANCE. Without it, tests/contracts holds every box of the specification by itself.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store

PROGRAM = os.environ.get("DRYPORT_CONFORMANCE")
PASSWORD = "a password of this test alone"


@pytest.mark.skipif(not PROGRAM, reason="DRYPORT_CONFORMANCE names no OCI conformance program; tests/contracts ran")
@pytest.mark.parametrize("login", ["password", "token"])
def test_the_conformance_program_finds_no_failure(tmp_path: Path, login: str) -> None:
    users = tmp_path / "users"
    users.write_text(user_line("tester", PASSWORD, ["pull,push,delete:*"]) + "\n")
    store_folder = tmp_path / "store"
    store_folder.mkdir()
    (store_folder / "policy.yaml").write_text('rules: [{repositories: ["*"], sparse: all}]\n')
    results = tmp_path / "results"
    settings = Settings(users=users)
    if login == "token":
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        access = tmp_path / "access"
        settings = Settings(port=port, users=users, access=access, external_url=f"http://127.0.0.1:{port}")
    with Store.open(store_folder) as store, Running(settings, store) as running:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "OCI_VERSION": "dev",
            "OCI_REGISTRY": f"127.0.0.1:{running.port}",
            "OCI_TLS": "disabled",
            "OCI_REPO1": "conformance/one",
            "OCI_REPO2": "conformance/two",
            "OCI_USERNAME": "tester",
            "OCI_PASSWORD": PASSWORD,
            "OCI_DATA_SPARSE": "true",
            "OCI_DATA_SHA512": "true",
            "OCI_RESULTS_DIR": str(results),
        }
        done = subprocess.run(
            [str(PROGRAM)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
        )
    said = done.stdout + done.stderr
    assert (results / "results.yaml").is_file(), said[-3000:]
    assert done.returncode == 0, said[-3000:]
    assert "Sparse Manifests..............:       Pass" in said  # it was asked
    assert "sha512" in said
