"""A medium is the same after any command, also after one that was killed: bytes, times, and what lies beside it."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bundles.archive.reader import read_head
from bundles.archive.split import split
from bundles.archive.volumes import LEAST_BYTES
from bundles.archive.writer import sign_in_place
from bundles.trust.roles import Statement, sign_release
from bundles.trust.verify import fingerprint
from installer.cli.bundle import bundle
from registry.progress import Silent
from tests.attacks.publisher import Publisher
from tests.delta_samples import NEW_LAYERS
from tests.registry_process import COMMAND
from tests.sample_bundles import Sample, noise

PUBLISHER = Publisher(product="sample")
WRITERS = {"lock", "build", "sign"}
"""They make a bundle, before it is a medium."""
READERS: Mapping[str, Sequence[str]] = {
    "verify": ("bundle", "verify", "{medium}", "{trust}"),
    "inspect": ("bundle", "inspect", "{medium}"),
    "diff": ("bundle", "diff", "{medium}", "{other}"),
    "sbom": ("bundle", "sbom", "{medium}"),
    "delta": ("bundle", "delta", "{medium}", "--against", "{other}", "--out", "{out}/d.tar", "{trust}"),
    "repair": ("bundle", "repair", "{medium}", "--from", "{other}", "--out", "{out}", "{trust}"),
    "split": ("bundle", "split", "{medium}", "--volume-size", "16MiB", "--out-dir", "{out}"),
    "import": ("registry", "import", "--from", "{medium}", "--store", "{out}/store", "{trust}"),
    "copy": ("mirror", "copy", "bundle:{medium}", "oci:{out}/layout", "{trust}"),
}


def publish(sample: Sample, path: Path) -> None:
    """Sign as of now: commands look at the machine's clock."""
    sample.build(path)
    with read_head(path) as head:
        index = head.index
    now = datetime.now(UTC).replace(microsecond=0)
    said = Statement("sample", "1.0.0", 1, ("linux/amd64",), now - timedelta(hours=1), now + timedelta(days=9))
    sign_in_place(path, sign_release(index, said, PUBLISHER.roots, PUBLISHER.release))


@pytest.fixture(scope="module")
def stick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, the same in volumes, and a damaged copy of them."""
    folder = tmp_path_factory.mktemp("stick")
    layers = {**NEW_LAYERS, "large": noise("large", 24 << 20)}
    publish(Sample.of(layers), folder / "sample.tar")
    (folder / "volumes").mkdir()
    split(folder / "sample.tar", folder / "volumes", LEAST_BYTES, Silent())
    for path in (folder / "sample.tar", folder / "volumes/sample.tar.002-of-003"):
        damaged = bytearray(path.read_bytes())
        damaged[-9_000_000] ^= 1
        (folder / f"damaged-{path.name}").write_bytes(damaged)
    (folder / "1.root.json").write_bytes(PUBLISHER.roots[0])
    return folder


def state(folder: Path) -> list[tuple[object, ...]]:
    """Everything about a folder that a reader may not change."""
    found: list[tuple[object, ...]] = []
    for path in sorted(folder.rglob("*")):
        about = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        kept = (about.st_mode, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_size)
        found.append((str(path), *kept, digest))
    return found


def words(verb: str, stick: Path, medium: Path, out: Path) -> list[str]:
    trust = ["--root", f"{stick}/1.root.json", "--fingerprint", str(fingerprint(PUBLISHER.roots[0]))]
    spelled: list[str] = []
    for word in READERS[verb]:
        if word == "{trust}":
            spelled += trust
        else:
            spelled.append(word.format(medium=medium, other=stick / "sample.tar", out=out))
    return spelled


def begun(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def media(stick: Path) -> list[Path]:
    return [stick / "sample.tar", next((stick / "volumes").glob("*.001*")), stick / "damaged-sample.tar"]


def test_every_verb_that_reads_bundles_is_tried_here() -> None:
    assert set(bundle.commands) == WRITERS | (set(READERS) - {"import", "copy"})


@pytest.mark.parametrize("verb", READERS)
def test_no_command_changes_a_medium(verb: str, stick: Path, tmp_path: Path) -> None:
    before, ended, told = state(stick), [], []
    for number, medium in enumerate(media(stick)):
        (tmp_path / str(number)).mkdir()
        out = tmp_path / str(number) / "file.tar" if verb == "repair" and number != 1 else tmp_path / str(number)
        process = begun(words(verb, stick, medium, out))
        said = process.communicate(timeout=120)
        assert b"Traceback" not in said[1]
        ended.append(process.returncode)
        told.append(said[1].decode())
        assert state(stick) == before, f"{verb} of {medium.name}"
    assert ended[0] == 0, f"{verb} works on a whole bundle: {told[0]}"


@pytest.mark.parametrize("verb", ["verify", "repair", "split", "delta", "import"])
def test_no_killed_command_changes_a_medium(verb: str, stick: Path, tmp_path: Path) -> None:
    before, chance = state(stick), random.Random(verb)  # noqa: S311 - moments, not secrets
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        process = begun(words(verb, stick, media(stick)[number % 2], tmp_path / str(number)))
        time.sleep(chance.uniform(0.2, 1.2))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert state(stick) == before
