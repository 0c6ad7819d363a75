"""Python wheels from an index on loopback, resolved and fetched by the real pip."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bundles.archive.writer import build
from bundles.definition import WheelsEntry
from bundles.lock import Lock, LockedArtifact
from bundles.sources import wheels
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError
from registry.progress import Silent


@dataclass
class Index:
    """A package index: a folder of wheels, each of which can be anything."""

    folder: Path
    url: str

    def add(self, name: str, version: str, *needs: str, tag: str = "py3-none-any") -> Path:
        """Put a wheel there, with a module that says its version."""
        home = self.folder / name
        home.mkdir(parents=True, exist_ok=True)
        path = home / f"{name}-{version}-{tag}.whl"
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": f"VERSION = {version!r}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            + "".join(f"Requires-Dist: {one}\n" for one in needs),
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        }
        record = "".join(
            f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
            f"{len(text)}\n"
            for file, text in files.items()
        )
        with zipfile.ZipFile(path, "w") as archive:
            for file, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
                archive.writestr(file, text)
        return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    folder = tmp_path / "index"
    folder.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=http.serve_forever, daemon=True).start()
    found = Index(folder, f"http://127.0.0.1:{http.server_port}/")
    for name, value in {"INDEX_URL": found.url, "CONFIG_FILE": "/dev/null", "NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    for name in ("EXTRA_INDEX_URL", "TRUSTED_HOST", "FIND_LINKS"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    yield found
    http.shutdown()
    http.server_close()


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    (tmp_path / "scratch").mkdir()
    return Inputs(tmp_path, {}, tmp_path / "scratch")


def resolved(inputs: Inputs, *requirements: str, **more: str) -> LockedArtifact:
    entry = WheelsEntry.model_validate({"name": "tools", "requirements": list(requirements), **more})
    return wheels.resolve(entry, "1.0.0", inputs)


def titles(artifact: LockedArtifact) -> list[str]:
    return [getattr(blob.origin, "file", "") for blob in artifact.blobs[1:]]


def test_all_that_a_package_needs_comes_along(index: Index, inputs: Inputs) -> None:
    index.add("tool", "1.0", "library>=2")
    index.add("library", "1.9")
    index.add("library", "2.1")
    assert titles(resolved(inputs, "tool==1.0")) == ["library-2.1-py3-none-any.whl", "tool-1.0-py3-none-any.whl"]


def test_wheels_are_those_of_the_stated_platform_and_python(index: Index, inputs: Inputs) -> None:
    for tag in (
        "cp311-cp311-manylinux_2_28_aarch64",
        "cp311-cp311-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_17_aarch64",
    ):
        index.add("fast", "1.0", tag=tag)
    assert titles(resolved(inputs, "fast", platform="linux/arm64")) == [
        "fast-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    ]
    with pytest.raises(DefinitionError) as caught:
        resolved(inputs, "fast", platform="linux/arm64", glibc="2.17")
    assert caught.value.reference == "wheels-unresolvable"


def test_the_lock_is_the_same_twice_and_names_no_server(index: Index, inputs: Inputs) -> None:
    index.add("tool", "1.0")
    one, other = (resolved(inputs, "tool").model_dump_json() for _ in range(2))
    assert one == other
    assert "127.0.0.1" not in one


def test_what_was_locked_is_built_and_pip_installs_from_it(index: Index, inputs: Inputs, tmp_path: Path) -> None:
    index.add("tool", "1.0", "library>=2")
    index.add("library", "2.1")
    artifact = resolved(inputs, "tool")
    lock = Lock(product="x", version="1.0.0", platforms=["linux/amd64"], definition="d", artifacts=[artifact])
    fetch = Fetcher(inputs)
    build(lock, tmp_path / "b.tar", fetch, Silent())
    (tmp_path / "links").mkdir()
    for blob in artifact.blobs[1:]:
        with fetch(blob) as blocks:
            (tmp_path / "links" / getattr(blob.origin, "file", "")).write_bytes(b"".join(blocks))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", str(tmp_path / "links")]
    subprocess.run([*pip, "--target", str(tmp_path / "lib"), "tool"], check=True)
    assert "2.1" in (tmp_path / "lib/library.py").read_text()


def test_another_wheel_under_the_same_name_is_refused(index: Index, inputs: Inputs, tmp_path: Path) -> None:
    path = index.add("tool", "1.0")
    artifact = resolved(inputs, "tool")
    path.unlink()
    index.add("tool", "1.0", "more")
    lock = Lock(product="x", version="1.0.0", platforms=["linux/amd64"], definition="d", artifacts=[artifact])
    with pytest.raises(DefinitionError) as caught:
        build(lock, tmp_path / "b.tar", Fetcher(inputs), Silent())
    assert caught.value.reference == "source-changed"
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    "requirement", ["-r other.txt", "tool @ https://x", "../tool", "--index-url=x", "tool; x", "a\nb"]
)
def test_only_names_with_versions_pass(requirement: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        WheelsEntry(name="tools", requirements=[requirement])


@pytest.mark.parametrize("requirement", ["tool", "tool==1.0", "tool[extra]>=1,<2", "Tool_x ~=1.4.2", "a.b!=1.*"])
def test_names_with_versions_pass(requirement: str) -> None:
    assert WheelsEntry(name="tools", requirements=[requirement]).requirements == [requirement]


def test_a_package_that_nobody_has_is_named(index: Index, inputs: Inputs) -> None:
    with pytest.raises(DefinitionError) as caught:
        resolved(inputs, "nobody-has-this==9")
    assert "nobody-has-this==9" in caught.value.expected
    assert index.url
