"""dryport's client beside crane and skopeo, on one machine: what a gigabyte costs the client's CPU, down and up.

    python -m tests.bench.client [--mib N] [--json FILE]

All talk to one registry over plain loopback: distribution where it can be built (tests/lab/peers.py), else dryport's
own. Each client is a process of its own, start and imports counted; CPU time and memory are what the kernel says of it.
Everybody checks what comes down. What goes up is hashed by dryport and skopeo, and sent unread by crane. skopeo cannot
discard what it pulls, so it is compared where all write to a folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, REF_NAME
from tests.bench.registries.contenders import PASSWORD, Contender, Start, available, running
from tests.bench.registries.copier import manifest_of
from tests.lab.peers import PeerError, peer

MIB = 1 << 20
LAYERS = 8
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Figure:
    """What one client took for one piece of work."""

    client: str
    work: str
    cpu_per_gb: float
    seconds: float
    peak_mb: int


def write_layout(folder: Path, size: int) -> None:
    """Write an image of random layers as an OCI layout."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> Descriptor:
        digest = Digest.of(data)
        (blobs / digest.hex).write_bytes(data)
        return Descriptor(media_type, digest, len(data))

    layers = [put(os.urandom(size // LAYERS), f"{OCI_LAYER}+gzip").as_json() for _ in range(LAYERS)]
    diffs = [layer["digest"] for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}}
    named = put(strictjson.canonical(config), OCI_CONFIG).as_json()
    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": named, "layers": layers}
    entry = put(strictjson.canonical(value), OCI_MANIFEST).as_json() | {"annotations": {REF_NAME: "1"}}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def measured(client: str, work: str, size: int, command: list[str], environment: dict[str, str]) -> Figure:
    """Run a client and return what it took."""
    began, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, cwd=ROOT)
        pid = status = 0
        while not pid:
            time.sleep(0.01)
            peak = max(peak, _memory(process.pid))  # the kernel's own record of a child begins with its parent's
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)}: {said.read()[-2000:].decode(errors='replace')}")
    seconds = time.monotonic() - began
    return Figure(client, work, (used.ru_utime + used.ru_stime) / (size / 1e9), seconds, peak)


def _memory(process: int) -> int:
    """Return the most memory in MB that a process had so far."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        text = Path(f"/proc/{process}/status").read_text()
        return int(text.partition("VmHWM:")[2].split()[0]) >> 10
    return 0


def works(registry: Contender, layout: Path, scratch: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield client, work and command; pushes first, so that there is something to pull."""
    address, user = f"127.0.0.1:{registry.port}", "bench" if registry.name == "dryport" else ""
    crane, skopeo = _crane(), shutil.which("skopeo")
    login = ["--creds", f"bench:{PASSWORD}"] if user else []

    def part(kind: str, repository: str) -> list[str]:
        told = [kind, f"http://{address}", repository, str(layout), *([user, PASSWORD] if user else [])]
        return [sys.executable, "-m", "tests.bench.registries.copier", *told]

    yield "dryport", "push out of files", part("push", "bench/dryport")
    if crane:
        yield "crane", "push out of files", [crane, "push", "--insecure", str(layout), f"{address}/bench/crane:1"]
    if skopeo:
        to = f"docker://{address}/bench/skopeo:1"
        copy = [skopeo, "copy", "-q", "--preserve-digests", *login]
        yield "skopeo", "push out of files", [*copy, "--dest-tls-verify=false", f"oci:{layout}:1", to]
        yield "skopeo", "pull to a folder", [*copy, "--src-tls-verify=false", to, f"dir:{scratch / 'skopeo'}"]
    yield "dryport", "pull to a folder", part("folder", "bench/dryport")
    if crane:
        blobs = " && ".join(
            f"{crane} blob --insecure {address}/bench/crane@{layer.digest} >/dev/null"
            for layer in manifest_of(layout).blobs
        )
        yield "crane", "pull and discard", ["sh", "-c", blobs]
        pull = [crane, "pull", "--insecure", "--format=oci", f"{address}/bench/crane:1", str(scratch / "crane")]
        yield "crane", "pull to a folder", pull
    yield "dryport", "pull and discard", part("discard", "bench/dryport")


def _crane() -> str | None:
    try:
        return str(peer("crane"))
    except (PeerError, OSError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mib", type=int, default=384, help="size of the image")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    asked = parser.parse_args()
    programs = available()
    name = "distribution" if "distribution" in programs else "dryport"
    figures = []
    with tempfile.TemporaryDirectory(prefix="client-bench-") as text:
        folder = Path(text)
        write_layout(folder / "layout", asked.mib * MIB)
        home = {**os.environ, "HOME": text, "PYTHONPATH": str(ROOT)}
        with running(Start(name, programs[name], folder / "registry")) as registry:
            sys.stdout.write(f"against {name}, an image of {asked.mib} MiB\n")
            for client, work, command in works(registry, folder / "layout", folder):
                figure = measured(client, work, asked.mib * MIB, command, home)
                figures.append(figure)
                cost = f"{figure.cpu_per_gb:6.2f} cpu-s/GB {figure.seconds:7.2f} s {figure.peak_mb:5} MB"
                sys.stdout.write(f"{work:20} {client:9} {cost}\n")
                sys.stdout.flush()
    if asked.json:
        asked.json.write_text(json.dumps([asdict(one) for one in figures], indent=2) + "\n")


if __name__ == "__main__":
    main()
