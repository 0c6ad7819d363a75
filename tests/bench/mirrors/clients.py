"""Who carries the images: dryport and others, each by the commands that a person would give; registries by port.

`fetch` makes a client's own archive of what a registry has, `send` brings it to another registry, `copy` goes from one
registry to the other. What a client cannot do is an empty list.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.bench.mirrors.content import BASE, TAG, Images
from tests.lab.peers import PeerError, peer

Commands = Sequence[Sequence[str]]
ROOT = Path(__file__).parents[3]


class Client(Protocol):
    """One program."""

    def copy(self, images: Images, source: int, target: int) -> Commands: ...

    def fetch(self, images: Images, source: int, folder: Path) -> Commands: ...

    def send(self, images: Images, folder: Path, target: int) -> Commands: ...


@dataclass(frozen=True)
class Dryport:
    """All images by one command; its archive is an OCI layout."""

    program: str

    def copy(self, images: Images, source: int, target: int) -> Commands:  # noqa: ARG002
        return [self._copy(f"http://127.0.0.1:{source}/{BASE}", f"http://127.0.0.1:{target}/{BASE}")]

    def fetch(self, images: Images, source: int, folder: Path) -> Commands:  # noqa: ARG002
        return [self._copy(f"http://127.0.0.1:{source}", f"oci:{folder / 'layout'}")]

    def send(self, images: Images, folder: Path, target: int) -> Commands:  # noqa: ARG002
        return [self._copy(f"oci:{folder / 'layout'}", f"http://127.0.0.1:{target}")]

    def _copy(self, source: str, target: str) -> Sequence[str]:
        command = [self.program, "-c", "from installer.cli.main import main; main()", "mirror", "copy"]
        return [*command, source, target]


@dataclass(frozen=True)
class Skopeo:
    """All images by one command, one after the other; its archive is a folder for each image."""

    program: str

    def copy(self, images: Images, source: int, target: int) -> Commands:
        return [self._sync("yaml", "docker", str(self._wanted(images, source)), f"127.0.0.1:{target}/{BASE}")]

    def fetch(self, images: Images, source: int, folder: Path) -> Commands:
        return [self._sync("yaml", "dir", str(self._wanted(images, source)), str(folder))]

    def send(self, images: Images, folder: Path, target: int) -> Commands:  # noqa: ARG002
        return [self._sync("dir", "docker", str(folder), f"127.0.0.1:{target}/{BASE}")]

    def _wanted(self, images: Images, source: int) -> Path:
        path = images.layout.parent / f"skopeo-{source}.yaml"
        names = {name: [TAG] for name in images.digests}
        path.write_text(json.dumps({f"127.0.0.1:{source}": {"tls-verify": False, "images": names}}))
        return path

    def _sync(self, kind: str, to: str, source: str, target: str) -> Sequence[str]:
        verify = ["--dest-tls-verify=false"] if to == "docker" else []
        return [self.program, "--insecure-policy", "sync", "--src", kind, "--dest", to, *verify, source, target]


@dataclass(frozen=True)
class Crane:
    """One command for each image; its archive is a layout for each image."""

    program: str

    def copy(self, images: Images, source: int, target: int) -> Commands:
        return [[self.program, "copy", _at(source, name), _at(target, name)] for name in images.digests]

    def fetch(self, images: Images, source: int, folder: Path) -> Commands:
        return [
            [self.program, "pull", "--format=oci", _at(source, name), str(folder / name)] for name in images.digests
        ]

    def send(self, images: Images, folder: Path, target: int) -> Commands:
        return [[self.program, "push", str(folder / name), _at(target, name)] for name in images.digests]


@dataclass(frozen=True)
class Oras:
    """One command for each image, with what refers to it; its archive is a layout for each image."""

    program: str

    def copy(self, images: Images, source: int, target: int) -> Commands:
        ends = ["--from-plain-http", "--to-plain-http"]
        return [self._copy(*ends, _at(source, name), _at(target, name)) for name in images.digests]

    def fetch(self, images: Images, source: int, folder: Path) -> Commands:
        ends = ["--from-plain-http", "--to-oci-layout"]
        return [self._copy(*ends, _at(source, name), f"{folder / name}:{TAG}") for name in images.digests]

    def send(self, images: Images, folder: Path, target: int) -> Commands:
        ends = ["--from-oci-layout", "--to-plain-http"]
        return [self._copy(*ends, f"{folder / name}:{TAG}", _at(target, name)) for name in images.digests]

    def _copy(self, *words: str) -> Sequence[str]:
        return [self.program, "copy", "-r", "--no-tty", *words]


@dataclass(frozen=True)
class Imgpkg:
    """All images by one command into one repository; between registries by way of its archive, a tar."""

    program: str

    def copy(self, images: Images, source: int, target: int) -> Commands:
        folder = images.layout.parent / "imgpkg"
        folder.mkdir(exist_ok=True)
        return [*self.fetch(images, source, folder), *self.send(images, folder, target)]

    def fetch(self, images: Images, source: int, folder: Path) -> Commands:
        lock = folder / "images.yml"
        listed = [{"image": f"127.0.0.1:{source}/{name}@{digest}"} for name, digest in images.digests.items()]
        lock.write_text(
            json.dumps({"apiVersion": "imgpkg.carvel.dev/v1alpha1", "kind": "ImagesLock", "images": listed})
        )
        return [self._copy("--lock", str(lock), "--to-tar", str(folder / "images.tar"))]

    def send(self, images: Images, folder: Path, target: int) -> Commands:  # noqa: ARG002
        return [self._copy("--tar", str(folder / "images.tar"), "--to-repo", f"127.0.0.1:{target}/{BASE}/all")]

    def _copy(self, *words: str) -> Sequence[str]:
        return [self.program, "copy", "--registry-insecure", *words]


def _at(port: int, name: str) -> str:
    return f"127.0.0.1:{port}/{name}:{TAG}"


def available() -> Mapping[str, Client]:
    """Return the clients that this machine has."""
    found: dict[str, Client] = {"dryport": Dryport(sys.executable)}
    if skopeo := shutil.which("skopeo"):
        found["skopeo"] = Skopeo(skopeo)
    for name, kind in (("crane", Crane), ("oras", Oras), ("imgpkg", Imgpkg)):
        try:
            found[name] = kind(str(peer(name)))
        except (PeerError, OSError):
            continue
    return found


def environment(home: Path) -> Mapping[str, str]:
    """Return what the clients run with: no login, no state, of whoever measures."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR"}}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT)}
