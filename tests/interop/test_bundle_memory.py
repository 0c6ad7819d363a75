"""A build's memory does not grow with what it carries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.mirrors.run import run

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
        command = [sys.executable, "-c", "from installer.cli.main import main; main()", "bundle", *map(str, words)]
        assert run([command], tmp_path).memory < MOST
    for path in tmp_path.glob("b.tar*"):
        path.unlink()
