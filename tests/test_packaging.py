"""What is installed beside dryport, under which names, and how quickly the command is there."""

from __future__ import annotations

import importlib.metadata
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
HELP_SECONDS = 0.15
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pinned(lock: Path) -> dict[str, str]:
    """Every package of a lock with its version."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ \\]+)", lock.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_our_import_packages_belong_to_nobody_else() -> None:
    # Another distribution is named `installer` and would overwrite ours without a word (house style, section 8). From a
    # checkout ours own no files, so nobody is listed; tests/interop/test_kit.py asks the same of the kit, exactly.
    owners = importlib.metadata.packages_distributions()
    assert {owner for name in ("installer", "bundles", "registry") for owner in owners.get(name, [])} <= {"dryport"}
    assert importlib.metadata.version("dryport") == PROJECT["version"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_no_lock_holds_a_distribution_with_one_of_our_names(lock: Path) -> None:
    assert pinned(lock).keys() & {"installer", "bundles", "registry", "playbooks", "poetry", "pdm"} == set()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_names_hashes_for_every_package_and_no_place_to_get_it(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^--", text, re.MULTILINE)
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(pinned(lock)) > 0
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_locks_are_current() -> None:
    runtime, dev = (pinned(ROOT / "requirements" / f"{name}.lock") for name in ("runtime", "dev"))
    assert runtime.items() <= dev.items()
    declared = [(runtime, PROJECT["dependencies"]), (dev, PROJECT["optional-dependencies"]["dev"])]
    outdated = [
        text
        for lock, texts in declared
        for text in texts
        if not Requirement(text).specifier.contains(lock.get(canonicalize_name(Requirement(text).name), "0"))
    ]
    assert outdated == [], "run: make lock"


def test_help_is_there_at_once() -> None:
    program = Path(sys.executable).parent / "dryport"
    seconds = []
    for _ in range(8):
        before = processor_seconds()
        subprocess.run([program, "--help"], check=True, capture_output=True)
        seconds.append(processor_seconds() - before)
    # Processor time: on an idle machine the same as the time a person waits, and on a busy one still the same.
    assert min(seconds) < HELP_SECONDS, seconds


def processor_seconds() -> float:
    """Processor time of all the programs that this process has run and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom installer.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"fastapi", "tuf", "securesystemslib", "cryptography", "pydantic", "sqlalchemy", "paramiko", "rich", "yaml"}
    assert heavy & set(done.stderr.split()) == set()
