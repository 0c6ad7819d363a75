"""docs/trust.md is true: its commands are run from the first to the last, and its table names real references."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bundles.trust.roles import ceremony
from tests.conftest import need
from tests.sample_bundles import Sample

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/trust.md"
PROGRAMS = ("dryport ", "openssl ", "sha256sum ", "tar ")
SITE = """\
apiVersion: dryport/v1
kind: Site
name: trial
domain: trial.example
target: baremetal
home: home
hosts: [{name: node1, address: 192.0.2.1, key: id}]
"""


def commands() -> Iterator[str]:
    """Yield the page's commands: indented lines, in order."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("    "):
            yield line.strip()


def run(command: str, folder: Path) -> str:
    """Run one command as a person would, with this environment's dryport first on PATH."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    root = folder / "roots/1.root.json"
    paper = str(ceremony(root.read_bytes()).fingerprint) if root.exists() else ""
    environment = {"PATH": programs, "HOME": str(folder), "FINGERPRINT": paper}
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_every_command_of_the_page_works_in_its_order(tmp_path: Path):
    need("openssl", "sha256sum", "tar")
    Sample.small().build(tmp_path / "quickstart.tar")
    (tmp_path / "dryport-kit.tar").write_bytes(b"stands for the kit, which has tests of its own")
    (tmp_path / "carol.passphrase").write_text("correct horse battery staple\n")
    (tmp_path / "site.yaml").write_text(SITE)
    said = {}
    for command in commands():
        if command == "FINGERPRINT=sha256:...":  # typed by a person; here it comes from the root before it was carried
            continue
        assert command.startswith(PROGRAMS), command
        for name in ("alice.pub", "release.pub"):  # carried to the site
            if (tmp_path / "keys" / name).exists():
                shutil.copyfile(tmp_path / "keys" / name, tmp_path / name)
        said[command] = run(command, tmp_path)
    assert len(said) >= 15
    assert [text.strip() for command, text in said.items() if command.startswith("openssl dgst")] == ["Verified OK"] * 2
    digests = {text.split()[0] for command, text in said.items() if command.startswith("sha256sum")}
    assert len(digests) == 1
    shown = [text for command, text in said.items() if command.startswith("dryport key show")]
    assert "0 missing" in shown[-1]


def test_the_page_names_only_references_that_exist():
    table = re.findall(r"^\| (`[a-z`, -]+) \|", PAGE.read_text(), re.MULTILINE)
    named = {reference for cell in table for reference in re.findall(r"`([a-z-]+)`", cell)}
    source = "".join(path.read_text() for folder in ("bundles", "installer") for path in (ROOT / folder).rglob("*.py"))
    parts = {"release-key-unknown", "root-below-threshold", "release-below-threshold"}  # put together from two words
    assert len(named) > 15
    assert {reference for reference in named - parts if f'"{reference}"' not in source} == set()


def test_what_decides_on_trust_stays_small_enough_to_be_read_by_one_person():
    """Four modules can make a bundle acceptable. `detached`, asked after them, can only refuse: it counts extra."""
    lines = {path.stem: len(path.read_text().splitlines()) for path in (ROOT / "bundles/trust").glob("*.py")}
    deciding = ("statement", "metadata", "chain", "verify")
    assert sum(lines[name] for name in deciding) <= 600
    assert lines["detached"] <= 100
    asked: set[str] = set()
    waiting = {"verify"}
    while waiting:
        asked |= waiting
        source = "".join((ROOT / f"bundles/trust/{name}.py").read_text() for name in waiting)
        modules = set(re.findall(r"^from bundles\.trust\.(\w+) import", source, re.MULTILINE))
        for row in re.findall(r"^from bundles\.trust import (.+)$", source, re.MULTILINE):
            modules |= set(row.split(", "))
        waiting = modules - asked
    assert asked == {*deciding, "detached"}
