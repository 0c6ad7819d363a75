"""One lock, built as differently as machines can be, and after a kill: the same bytes."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import absent
from tests.sample_bundles import noise

pytestmark = pytest.mark.interop
DEFINITION = """\
apiVersion: dryport/v1
kind: Bundle
product: sample
version: 1.0.0
platforms: [linux/amd64]
playbooks: {folder: {path: plays}}
packs: [{folder: {path: pack}}]
files:
  - {name: large, file: {path: large.bin}}
  - {name: small, file: {path: small.bin}}
"""
ELSEWHERE: dict[str, dict[str, str]] = {
    "another time zone": {"TZ": "Pacific/Kiritimati"},
    "another locale": {"LC_ALL": "C", "LANG": "C"},
    "another hash seed": {"PYTHONHASHSEED": "4711"},
    "no environment": {},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A definition, its lock, and the bundle that is the measure."""
    folder = tmp_path_factory.mktemp("made")
    write(folder)
    run(folder, "lock", "bundle.yaml")
    run(folder, "build", "bundle.yaml", "--out", "bundle.tar")
    return folder


def write(folder: Path, *, backwards: bool = False) -> None:
    """Write the sources; `backwards` makes every folder's entries come in another order."""
    names = ["a.yml", "b.yml", "c/d.yml", "c/e.yml"]
    for name in reversed(names) if backwards else names:
        (folder / "plays" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "plays" / name).write_text(f"- hosts: {name}\n")
    (folder / "pack").mkdir()
    (folder / "pack/values.yaml").write_text("pack: {}\n")
    (folder / "pack/pack.json").write_text(
        '{"name": "some", "displayName": "Some", "version": "1.0.0", "layer": "addon"}'
    )
    (folder / "large.bin").write_bytes(noise("large", 40 << 20))
    (folder / "small.bin").write_bytes(noise("small", 300))
    (folder / "bundle.yaml").write_text(DEFINITION)


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from installer.cli.main import main; main()", "bundle", *words]


def run(folder: Path, *words: str, before: list[str] | None = None, env: dict[str, str] | None = None) -> None:
    surroundings = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), **(env or {})}
    done = subprocess.run(
        [*(before or []), *command(*words)], cwd=folder, env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@pytest.mark.parametrize("surroundings", ELSEWHERE)
def test_surroundings_do_not_show(made: Path, tmp_path: Path, surroundings: str) -> None:
    run(made, "build", "bundle.yaml", "--out", str(tmp_path / "b.tar"), env=ELSEWHERE[surroundings])
    assert digest(tmp_path / "b.tar") == digest(made / "bundle.tar")


def test_another_umask_and_another_user_do_not_show(made: Path) -> None:
    if os.geteuid():
        absent("another user can be put on by root alone")
    place = Path("/tmp") / f"dryport-other-user-{os.getpid()}"
    shutil.copytree(made, place)
    # This Python may lie where only root may look; the other user may look there too, and write nowhere else.
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    other += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    try:
        for path in [place, *place.rglob("*")]:
            path.chmod(0o777 if path.is_dir() else 0o666)
        (place / "bundle.tar").unlink()
        script = ["sh", "-c", 'umask 0077 && exec "$@"', "sh"]
        run(place, "build", "bundle.yaml", "--out", "other.tar", before=[*other, *script])
        about = (place / "other.tar").stat()
        assert (about.st_uid, about.st_mode & 0o777) == (65534, 0o600)
        assert digest(place / "other.tar") == digest(made / "bundle.tar")
    finally:
        shutil.rmtree(place)


def test_the_order_of_folders_does_not_show_in_lock_or_bundle(made: Path, tmp_path: Path) -> None:
    write(tmp_path, backwards=True)
    run(tmp_path, "lock", "bundle.yaml")
    run(tmp_path, "build", "bundle.yaml", "--out", "bundle.tar")
    assert (tmp_path / "bundle.lock.json").read_bytes() == (made / "bundle.lock.json").read_bytes()
    assert digest(tmp_path / "bundle.tar") == digest(made / "bundle.tar")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_build_that_was_killed_and_taken_up_does_not_show(made: Path, tmp_path: Path, share: float) -> None:
    out, part = tmp_path / "b.tar", tmp_path / "b.tar.part"
    size = (made / "bundle.tar").stat().st_size
    process = subprocess.Popen(
        command("build", "bundle.yaml", "--out", str(out)),
        cwd=made,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not (part.exists() and part.stat().st_blocks * 512 > size * share):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    run(made, "build", "bundle.yaml", "--out", str(out))
    assert digest(out) == digest(made / "bundle.tar")
    assert list(tmp_path.iterdir()) == [out]
