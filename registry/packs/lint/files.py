"""Findings about which files a pack holds and lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from registry.packs.content import PackContent
from registry.packs.findings import Finding
from registry.packs.tree import Tree

FILE = "pack.json"


def judge(content: PackContent) -> Iterator[Finding]:
    """Yield what is odd about a pack's files."""
    files, metadata = content.files, content.metadata
    if files.folder and files.folder != metadata.title:
        yield Finding("folder-name-differs", f"the folder is called {files.folder}, the pack {metadata.title}")
    if "logo.png" not in files.names:
        yield Finding("logo-missing", "there is no logo.png")
    if not any(name.lower() == "readme.md" for name in files.names):
        yield Finding("readme-missing", "there is no README.md")
    yield from _listed(content)
    listed = {str(PurePosixPath(path)) for path in (*metadata.charts, *metadata.manifests)}
    for name in sorted(files.names - listed):
        path = PurePosixPath(name)
        if _is_chart(path) or _is_manifest(path):
            yield Finding("file-not-listed", f"{name} is not listed in pack.json", name)
        if path.name == "Chart.yaml" and path.parts[0] == "charts" and len(path.parts) == 3:  # noqa: PLR2004
            yield Finding("chart-copy-ignored", f"{path.parent} is an unpacked chart", str(path.parent))
    if metadata.layer in {"cni", "csi", "addon"} and not content.installs:
        yield Finding("nothing-to-install", "it lists neither charts nor manifests", FILE)


def _listed(content: PackContent) -> Iterator[Finding]:
    lines = Tree.positions(content.files.contents[FILE])
    metadata = content.metadata
    key = "kubeManifests" if lines.node("kubeManifests") is not None else "KubeManifests"
    for name, paths in (("charts", metadata.charts), (key, metadata.manifests)):
        known: set[str] = set()
        for number, text in enumerate(paths):
            path, line = PurePosixPath(text), lines.line(name, str(number))
            if path.is_absolute() or ".." in path.parts or "\\" in text or not text:
                yield Finding("listed-path-unsafe", f"{name} lists {text!r}", FILE, line)
            elif str(path) not in content.files.names:
                yield Finding("listed-file-missing", f"{name} lists {text}, which is not there", FILE, line)
            if str(path) in known:
                yield Finding("listed-twice", f"{name} lists {text} twice", FILE, line)
            known.add(str(path))


def _is_chart(path: PurePosixPath) -> bool:
    return path.suffix == ".tgz" and str(path.parent) == "charts"


def _is_manifest(path: PurePosixPath) -> bool:
    return path.parts[0] == "manifests" and path.suffix in {".yaml", ".yml"}
