"""A build's memory does not grow with what it carries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop
DEFINITION = """\
apiVersion: dryport/v1
kind: Bundle
product: sample
version: 1.0.0
platforms: [linux/amd64]
files:
  - {name: huge, file: {path: huge.bin}}
"""
MOST = 150 << 20


@pytest.mark.parametrize("size", [(), ("--volume-size", "512MiB")], ids=["one file", "volumes"])
def test_a_bundle_of_two_gigabytes_is_built_within_150_mb(tmp_path: Path, size: tuple[str, ...]) -> None:
    (tmp_path / "bundle.yaml").write_text(DEFINITION)
    with (tmp_path / "huge.bin").open("wb") as stream:
        stream.truncate(2 << 30)
    for words in (("lock", "bundle.yaml"), ("build", "bundle.yaml", "--out", "b.tar", *size)):
        program = [sys.executable, "-c", "from installer.cli.main import main; main()", "bundle", *words]
        process = subprocess.Popen(
            program, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        assert usage.ru_maxrss * 1024 < MOST
    for path in tmp_path.glob("b.tar*"):
        path.unlink()
