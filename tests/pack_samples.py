"""Small packs, made on the spot: a folder, charts as archives, and what is asked of them."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from installer.cli.helming import find
from registry.packs.content import PackContent
from registry.packs.helm import Helm
from registry.packs.lint.report import Report, lint
from registry.packs.reading import read_files
from tests.conftest import absent

METADATA: Mapping[str, Any] = {
    "name": "web",
    "displayName": "Web",
    "version": "1.0.0",
    "layer": "addon",
    "addonType": "system app",
    "cloudTypes": ["all"],
    "annotations": {"source": "community"},
    "charts": ["charts/web-1.0.0.tgz"],
}
DIGEST = "sha256:" + "0" * 64
IMAGE = f"registry.example.org/team/web:1.0@{DIGEST}"
VALUES: Mapping[str, Any] = {
    "pack": {"namespace": "web", "content": {"images": [{"image": IMAGE}]}},
    "charts": {"web": {"image": IMAGE}},
}
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: web, image: {{ .Values.image | quote }}}]}}}
"""


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return a tar.gz of regular files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def chart(
    name: str = "web",
    version: str = "1.0.0",
    templates: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
    files: Mapping[str, bytes] | None = None,
    **about: object,
) -> bytes:
    """Return a chart's archive."""
    head = {"apiVersion": "v2", "name": name, "version": version, **about}
    shown = {"web.yaml": DEPLOYMENT} if templates is None else templates
    return archive(
        {
            f"{name}/Chart.yaml": yaml.safe_dump(head).encode(),
            f"{name}/values.yaml": yaml.safe_dump({"image": IMAGE} if values is None else dict(values)).encode(),
            **{f"{name}/templates/{path}": text.encode() for path, text in shown.items()},
            **{f"{name}/{path}": data for path, data in (files or {}).items()},
        }
    )


def make_pack(
    folder: Path,
    *,
    metadata: Mapping[str, Any] | str | None = None,
    values: Mapping[str, Any] | str | None = VALUES,
    files: Mapping[str, bytes | str | None] | None = None,
) -> Path:
    """Write a sound pack with changes: `metadata` is merged, a None takes a key or a file away."""
    if isinstance(metadata, str):
        text = metadata
    else:
        whole = {**METADATA, **(metadata or {})}
        text = json.dumps({key: value for key, value in whole.items() if value is not None}, indent=1)
    shown = values if isinstance(values, str) else None if values is None else yaml.safe_dump(dict(values))
    everything: dict[str, bytes | str | None] = {
        "pack.json": text,
        "values.yaml": shown,
        "logo.png": b"\x89PNG\r\n\x1a\n",
        "README.md": "# Web\n",
        "charts/web-1.0.0.tgz": chart(),
        **(files or {}),
    }
    for name, data in everything.items():
        if data is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def with_values(**changes: object) -> dict[str, Any]:
    """Return sound values with keys of `pack` changed; `_` in a name stands for nothing special."""
    return {**VALUES, "pack": {**VALUES["pack"], **changes}}


def content(folder: Path) -> PackContent:
    """Read a pack whole."""
    return PackContent.of(read_files(folder))


def judged(folder: Path, helm: Helm | None = None) -> Report:
    """Lint a pack."""
    return lint(read_files(folder), helm)


@contextmanager
def ready() -> Iterator[Helm]:
    """Give the Helm program; skip, or fail with CI=true, where there is none."""
    program = find()
    if program is None:
        absent("no helm on the path; make setup brings it")
    else:
        with Helm.ready(program) as helm:
            yield helm


def stored_zip_bomb(size: int) -> bytes:
    """Return a tar.gz that unfolds to `size` zeros in one file of a chart."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("web/zeros")
        info.size = size
        tar.addfile(info, io.BytesIO(bytes(size)))
    return buffer.getvalue()
