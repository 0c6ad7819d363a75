"""Two real container images from Debian packages, as an OCI layout: without Docker, without root, without a registry.

    python -m tests.lab.demo_images OUT

`quickstart/web:1.0` serves a page, `quickstart/clock:1.0` tells the time; both stand on one base layer (busybox,
statically linked, and netbase). The packages come from the suites that the quickstart definition names, by way of the
machine's own apt configuration. Equal packages give equal bytes: names sorted, times and owners zero, a fixed header.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from bundles.definition import Definition
from bundles.lock import LockedBlob
from bundles.sources.apt.closure import package_layer
from bundles.sources.apt.entries import PackageSet, machine_entries, narrowed
from bundles.sources.apt.root import PrivateApt
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs

DEFINITION = Path(__file__).parents[2] / "bundles/definitions/quickstart/bundle.yaml"
PACKAGES = ("busybox-static", "netbase", "tzdata")
NOBODY = "65532:65532"
LEFT_OUT = ("usr/share/lintian", "usr/share/initramfs-tools", "usr/share/zoneinfo/right", "usr/share/zoneinfo/posix")
APPLETS = [
    "cat",
    "cut",
    "date",
    "echo",
    "env",
    "grep",
    "head",
    "hostname",
    "httpd",
    "id",
    "ls",
    "printf",
    "ps",
    "sed",
    "sh",
    "sleep",
    "tail",
    "test",
    "uname",
    "wc",
    "wget",
]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
REF_NAME = "org.opencontainers.image.ref.name"

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Quickstart</title>
<h1>It works.</h1>
<p>This page came across the air gap in a signed bundle, and out of the site's own registry.</p>
</html>
"""
CLOCK = """\
#!/bin/sh
# Tells the time in zone $TZ every $INTERVAL seconds, until it is told to stop.
trap 'exit 0' TERM INT
while :; do
  date '+%Y-%m-%d %H:%M:%S %Z'
  sleep "${INTERVAL:-10}" &
  wait $!
done
"""


@dataclass(frozen=True, slots=True)
class File:
    """What stands at a path of a layer: a file's bytes, or where a link points."""

    data: bytes = b""
    mode: int = 0o644
    link: str = ""


Tree = dict[str, File]


@dataclass(slots=True)
class Layout:
    """An OCI layout that is being written."""

    folder: Path
    images: list[dict[str, Any]] = field(default_factory=list)

    def add(self, media_type: str, data: bytes, **more: object) -> dict[str, Any]:
        """Store a blob and return its descriptor."""
        hexed = hashlib.sha256(data).hexdigest()
        blobs = self.folder / "blobs/sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        (blobs / hexed).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{hexed}", "size": len(data), **more}

    def add_image(self, reference: str, layers: Sequence[Tree], config: Mapping[str, Any]) -> None:
        """Store an image of one platform behind an index, under its full reference."""
        tars = [layer_tar(tree) for tree in layers]
        platform = {"architecture": "amd64", "os": "linux"}
        root = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]}
        body = {
            **platform,
            "config": config,
            "rootfs": root,
            "history": [{"created_by": "Debian packages"}] * len(tars),
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.add(CONFIG, encoded(body)),
            "layers": [self.add(LAYER, compressed(tar)) for tar in tars],
        }
        child = self.add(MANIFEST, encoded(manifest), platform=platform)
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}
        self.images.append(self.add(INDEX, encoded(index), annotations={REF_NAME: reference}))

    def close(self) -> None:
        """Write what makes the folder a layout; the index last, so that an unfinished one is none."""
        (self.folder / "oci-layout").write_bytes(encoded({"imageLayoutVersion": "1.0.0"}))
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.images}
        (self.folder / "index.json").write_bytes(encoded(index))


def encoded(value: object) -> bytes:
    """Return canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def layer_tar(tree: Tree) -> bytes:
    """Return a reproducible tar of `tree`, folders included."""
    folders = {str(above) for name in tree for above in PurePosixPath(name).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted({*tree, *folders}):
            info = tarfile.TarInfo(name)
            entry = tree.get(name)
            if entry is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif entry.link:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
                tar.addfile(info)
            else:
                info.size, info.mode = len(entry.data), entry.mode
                tar.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def compressed(data: bytes) -> bytes:
    """Return gzip without name and time."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=9, mtime=0) as stream:
        stream.write(data)
    return buffer.getvalue()


def packages(scratch: Path) -> dict[str, tuple[str, Tree]]:
    """Return version and files of each package, from the suites of the quickstart definition."""
    entry = Definition.read(DEFINITION).apt[0]
    wanted = PackageSet(tuple(entry.suites), tuple(entry.components), entry.architecture)
    apt = PrivateApt.open(narrowed(machine_entries(), wanted), wanted, scratch)
    chosen = [choice for choice in apt.choose(PACKAGES) if choice.name in PACKAGES]
    fetch = Fetcher(Inputs(scratch, {}, scratch))
    return {
        choice.name: (choice.version, unpacked(package_layer(choice, fields, apt).blob, fetch, scratch))
        for choice, fields in zip(chosen, apt.stanzas(chosen), strict=True)
    }


def unpacked(package: LockedBlob, fetch: Fetcher, scratch: Path) -> Tree:
    """Return a package's files as dpkg-deb gives them; nothing of it is unpacked to a disk."""
    path = scratch / f"{package.digest.hex}.deb"
    with fetch(package) as blocks:
        path.write_bytes(data := b"".join(blocks))
    if not package.digest.matches(data):
        raise RuntimeError(f"{package.digest} is not what the package server gave")
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], check=True, capture_output=True)
    found: Tree = {}
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        for member in tar:
            name = member.name.removeprefix("./").rstrip("/")
            if member.isdir() or name.startswith(LEFT_OUT):
                continue
            content = None if member.issym() else tar.extractfile(member)  # a hard link gives its target's bytes
            link = member.linkname if member.issym() else ""
            found[name] = File(content.read() if content else b"", member.mode & 0o755, link)
    return found


def base(busybox: Tree, netbase: Tree) -> Tree:
    """Return the layer that both images stand on."""
    return {
        **{f"bin/{name}": File(link="busybox") for name in APPLETS},
        **busybox,
        **netbase,
        "etc/passwd": File(b"root:x:0:0:root:/:/bin/sh\nnobody:x:65532:65532:nobody:/:/bin/sh\n"),
        "etc/group": File(b"root:x:0:\nnobody:x:65532:\n"),
    }


def make(out: Path) -> Iterable[str]:
    """Make the layout at `out`, in place of an older one; yield a line on each image."""
    if out.exists() and not (out / "oci-layout").is_file() and any(out.iterdir()):
        raise SystemExit(f"{out} is there and is no OCI layout; name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".images-", dir=out.parent) as scratch:
        found = packages(Path(scratch))
        layout = Layout(Path(scratch, "layout"))
        shared = base(found["busybox-static"][1], found["netbase"][1])
        settings = {"User": NOBODY, "Env": ["PATH=/usr/bin:/bin"], "WorkingDir": "/"}
        layout.add_image(
            "registry.example.org/quickstart/web:1.0",
            [shared, {"www/index.html": File(PAGE.encode())}],
            settings | {"Cmd": ["httpd", "-f", "-p", "8080", "-h", "/www"], "ExposedPorts": {"8080/tcp": {}}},
        )
        layout.add_image(
            "registry.example.org/quickstart/clock:1.0",
            [shared, {**found["tzdata"][1], "usr/bin/clock": File(CLOCK.encode(), 0o755)}],
            settings | {"Env": ["PATH=/usr/bin:/bin", "TZ=UTC", "INTERVAL=10"], "Cmd": ["clock"]},
        )
        layout.close()
        if out.exists():
            shutil.rmtree(out)
        layout.folder.rename(out)
    yield f"base: {', '.join(f'{name} {version}' for name, (version, _) in sorted(found.items()))}"
    for image in layout.images:
        yield f"{image['annotations'][REF_NAME]} {image['digest']}"
    yield f"{sum(path.stat().st_size for path in out.rglob('*') if path.is_file())} bytes in {out}"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("python -m tests.lab.demo_images OUT")
    for line in make(Path(sys.argv[1])):
        print(line)
