"""The whole kit, built twice from this checkout and run as an isolated machine would run it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundles.kit.launcher import PYTHON
from tests.conftest import absent, need
from tests.test_packaging import HELP_SECONDS, processor_seconds

ROOT = Path(__file__).parents[2]
ISOLATED = {"PATH": "/usr/bin:/bin"}
PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.command: "true"
      changed_when: false
    - ansible.builtin.assert: {that: "'né' | length == 2"}
"""


@dataclass(frozen=True)
class Built:
    tar: Path
    """The kit."""
    top: Path
    """The kit, unpacked."""
    project: Path
    """The checkout it was built from."""
    traces: tuple[str, ...]
    """Names of this machine that must not be in it."""


def checkout(folder: Path, source: Path = ROOT) -> Path:
    """Copy what a kit is built from into a folder with a telling name."""
    folder.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(source / name, folder)
    for name in ("installer", "bundles", "registry", "requirements"):
        shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def build(project: Path, out: Path, scratch: Path, *, umask: int, zone: str) -> subprocess.CompletedProcess[str]:
    scratch.mkdir(parents=True)
    program = [sys.executable, "-c", "from installer.cli.main import main; main()"]
    command = [*program, "kit", "build", "--project", project, "--out", out]
    env = {**os.environ, "TMPDIR": str(scratch), "TZ": zone}
    return subprocess.run(command, env=env, umask=umask, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Built:
    if sys.version_info[:2] != PYTHON:
        absent("a kit is built by Python 3.11 alone; make setup takes it when it is there")
    base = tmp_path_factory.mktemp("kit")
    project = checkout(base / "first checkout")
    done = build(project, base / "out", base / "first scratch", umask=0o022, zone="Pacific/Auckland")
    assert done.returncode == 0, done.stderr
    (tar,) = (base / "out").iterdir()
    place = base / "read only"
    with tarfile.open(tar) as archive:
        archive.extractall(place, filter="tar")
    (top,) = place.iterdir()
    traces = ["first checkout", "first scratch", base.name]
    if sys.prefix != sys.base_prefix:
        traces.append(sys.prefix)
    return Built(tar, top, project, tuple(traces))


def run(kit: Built, program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    version = subprocess.run(
        ["/usr/bin/env", "python3", "-V"], env=ISOLATED, capture_output=True, text=True, check=True
    )
    if not version.stdout.startswith("Python {}.{}.".format(*PYTHON)):
        absent("the system's own Python is not 3.11")
    command = [kit.top / "bin" / program, *arguments]
    return subprocess.run(command, env=ISOLATED, cwd="/", capture_output=True, text=True, check=False, timeout=60)


def names(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*"))


def test_a_second_build_elsewhere_gives_the_same_bytes(kit: Built, tmp_path: Path) -> None:
    second = tmp_path / "quite another"
    project = checkout(second / "folder", kit.project)
    done = build(project, second / "out", second / "scratch", umask=0o077, zone="America/Lima")
    assert done.returncode == 0, done.stderr
    assert (second / "out" / kit.tar.name).read_bytes() == kit.tar.read_bytes()
    assert list((second / "scratch").iterdir()) == []


def test_nothing_in_the_kit_tells_of_the_machine_that_built_it(kit: Built) -> None:
    data = kit.tar.read_bytes()
    assert [trace for trace in kit.traces if trace.encode() in data] == []


def test_the_kit_holds_what_its_checksums_say_and_nothing_else(kit: Built) -> None:
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=kit.top, check=False)
    assert done.returncode == 0
    listed = {line.split("  ", 1)[1] for line in (kit.top / "SHA256SUMS").read_text().splitlines()}
    assert listed | {"SHA256SUMS"} == {str(path.relative_to(kit.top)) for path in kit.top.rglob("*") if path.is_file()}
    assert {path.name for path in kit.top.iterdir()} == {"bin", "lib", "kit.json", "LICENSES", "SHA256SUMS"}
    assert not (kit.top / "lib" / "bin").exists()


def test_every_module_is_compiled_and_never_looked_at_again(kit: Built) -> None:
    modules = list((kit.top / "lib").rglob("*.py"))
    assert len(modules) > 1000
    for module in modules:
        head = (module.parent / "__pycache__" / f"{module.stem}.cpython-311.pyc").read_bytes()[:8]
        assert int.from_bytes(head[4:], "little") == 1, module  # PEP 552: hash-based, not checked


def test_our_import_packages_belong_to_dryport_alone_in_the_kit(kit: Built) -> None:
    owners: dict[str, set[str]] = {"installer": set(), "bundles": set(), "registry": set()}
    for one in importlib.metadata.distributions(path=[str(kit.top / "lib")]):
        for name in {path.parts[0] for path in one.files or ()} & owners.keys():
            owners[name].add(one.name)
    assert owners == {"installer": {"dryport"}, "bundles": {"dryport"}, "registry": {"dryport"}}


def test_the_kit_states_every_packages_licence(kit: Built) -> None:
    text = (kit.top / "LICENSES").read_text()
    assert "see its source" not in text
    for line in text.splitlines():
        if line.startswith("    lib/"):
            assert (kit.top / line.strip()).is_file(), line


def test_the_kit_starts_on_the_systems_python_alone_and_leaves_no_trace(kit: Built, tmp_path: Path) -> None:
    before = names(kit.top)
    link = tmp_path / "dryport"
    link.symlink_to(kit.top / "bin" / "dryport")
    done = run(kit, str(link), "--version")
    assert (done.returncode, done.stderr) == (0, "")
    version = kit.tar.name.removeprefix("dryport-kit-").split("-")[0]
    assert done.stdout == f"dryport, version {version}\n"
    assert names(kit.top) == before


def test_every_group_of_verbs_loads_from_the_kit(kit: Built) -> None:
    from installer.cli.main import GROUPS  # noqa: PLC0415 - only this test looks inside

    failed = {group: done.stderr for group in GROUPS if (done := run(kit, "dryport", group, "--help")).returncode}
    assert failed == {}


def test_help_from_the_kit_is_there_at_once(kit: Built) -> None:
    seconds = []
    for _ in range(8):
        before = processor_seconds()
        assert run(kit, "dryport", "--help").returncode == 0
        seconds.append(processor_seconds() - before)
    assert min(seconds) < HELP_SECONDS, seconds


def test_ansible_plays_from_the_kit(kit: Built, tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    before = names(kit.top)
    done = run(kit, "ansible-playbook", "-i", "localhost,", "-c", "local", tmp_path / "play.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok=2" in done.stdout
    assert names(kit.top) == before


def test_openssl_alone_checks_the_signature(kit: Built, tmp_path: Path) -> None:
    need("openssl")
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    openssl = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]
    subprocess.run([*openssl, key], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    copy = tmp_path / kit.tar.name
    shutil.copy(kit.tar, copy)
    signed = run(kit, "dryport", "kit", "sign", copy, "--key", key)
    assert signed.returncode == 0, signed.stderr
    check = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", f"{copy}.sig", copy]
    assert subprocess.run(check, check=False, capture_output=True).returncode == 0
    with copy.open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"x")
    assert subprocess.run(check, check=False, capture_output=True).returncode != 0


def test_a_package_that_is_not_what_the_lock_says_stops_the_build(tmp_path: Path) -> None:
    project = checkout(tmp_path / "checkout")
    lock = project / "requirements" / "runtime.lock"
    line = next(line for line in lock.read_text().splitlines() if line.startswith("click=="))
    lock.write_text(f"{line}\n    --hash=sha256:{'0' * 64}\n")
    done = build(project, tmp_path / "out", tmp_path / "scratch", umask=0o022, zone="UTC")
    assert done.returncode == 6
    assert "kit-install-failed" in done.stderr
    assert "0" * 64 in done.stderr
    assert not (tmp_path / "out").exists()
