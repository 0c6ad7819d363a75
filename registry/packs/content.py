"""A pack with everything in it understood: its values, charts, manifests and presets, and how they belong together.

>>> content = PackContent.of(read_files(Path("packs/web-1.0.0")))
>>> [(chart.path, chart.values_in(content.values)) for chart in content.charts]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from registry.errors import DefinitionError
from registry.packs import presets, values
from registry.packs.charts import Chart, ChartFault
from registry.packs.findings import Finding
from registry.packs.model import DeclaredImage, PackMetadata
from registry.packs.presets import Choice, Preset
from registry.packs.reading import PackFiles
from registry.packs.scalars import Value
from registry.packs.tree import Tree

Way = Literal["name", "file", "flat", "none"]
"""How a chart's values are found: by the chart's name, by its file's name, flat, or not at all."""
DEFAULT_NAMESPACE = "default"
_VERSION_END = re.compile(r"-v?[0-9]+(\.[0-9A-Za-z+_-]+)*$")


@dataclass(frozen=True, slots=True)
class ChartFile:
    """A listed chart: where it lies, what it is, or what is wrong with it, and how its values are found."""

    path: str
    data: bytes
    chart: Chart | None
    fault: ChartFault | None
    way: Way
    key: str

    @property
    def name(self) -> str:
        """The chart's name, else its file's."""
        return self.chart.name if self.chart else stems(self.path)[0]

    def values_in(self, whole: Value) -> Value:
        """Return the chart's part of a pack's values, as Helm is given it."""
        part = _map(whole).get("charts")
        return _map(part if self.way == "flat" else _map(part).get(self.key))


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A listed manifest: a Go template with `.Values`."""

    path: str
    text: str

    @property
    def key(self) -> str:
        """The key of its values under `manifests`."""
        return PurePosixPath(self.path).stem

    def values_in(self, whole: Value) -> Value:
        """Return the manifest's part of a pack's values."""
        return _map(_map(_map(whole).get("manifests")).get(self.key))


@dataclass(frozen=True)
class PackContent:
    """A pack, understood. What is wrong in a part is a finding and leaves the part empty."""

    files: PackFiles
    metadata: PackMetadata
    tree: Tree
    values: Value
    images: tuple[DeclaredImage, ...]
    charts: tuple[ChartFile, ...]
    manifests: tuple[ManifestFile, ...]
    presets: tuple[Preset, ...]
    choice: Choice
    findings: tuple[Finding, ...] = field(default=())
    """What reading the parts has shown: of values, images and presets."""

    @classmethod
    def of(cls, files: PackFiles) -> PackContent:
        """Return the pack in `files`. Raises DefinitionError if `pack.json` is none."""
        if "pack.json" not in files.contents:
            raise DefinitionError(
                "pack-json-missing", "there is no pack.json", where=files.where, hint="name a pack's folder or tar.gz"
            )
        metadata = PackMetadata.parse(files.contents["pack.json"], f"{files.where}: pack.json")
        tree, whole, images, notes = _values(files)
        found, faults = presets.read(files.contents.get(presets.FILE, b""))
        text = files.contents.get(values.FILE, b"").decode("utf-8", "replace")
        return cls(
            files=files,
            metadata=metadata,
            tree=tree,
            values=whole,
            images=images,
            charts=tuple(_charts(files, metadata, whole)),
            manifests=tuple(_manifests(files, metadata)),
            presets=found,
            choice=presets.enabled(text),
            findings=(*notes, *faults),
        )

    @property
    def installs(self) -> bool:
        """Whether it lists anything that is put on a cluster."""
        return bool(self.metadata.charts or self.metadata.manifests)

    @property
    def listed(self) -> set[str]:
        """The charts and manifests that are to be installed, as paths in the pack, there or not."""
        return {_inside(path) for path in (*self.metadata.charts, *self.metadata.manifests)}

    @property
    def section(self) -> Value:
        """What stands under `pack` in the values."""
        return _map(self.values.get("pack"))

    def namespace_in(self, whole: Value) -> str:
        """Return the namespace that values put the pack into."""
        named = _map(_map(whole).get("pack")).get("namespace")
        return named if isinstance(named, str) and named else DEFAULT_NAMESPACE

    def namespaces_in(self, whole: Value) -> set[str]:
        """Return all namespaces of the pack: its own, and the additional ones."""
        return {self.namespace_in(whole), *additional(_map(whole).get("pack"))}

    def release_in(self, whole: Value, chart: ChartFile) -> str:
        """Return a chart's release name: the override in the values, else the chart's name."""
        override = _map(_map(_map(whole).get("pack")).get("releaseNameOverride"))
        for key in (chart.name, *stems(chart.path)):
            if isinstance(override.get(key), str) and override[key]:
                return str(override[key])
        return chart.name


def stems(path: str) -> Sequence[str]:
    """Return a chart file's name without `.tgz` and version, then without `.tgz` alone."""
    name = PurePosixPath(path).name.removesuffix(".tgz")
    short = _VERSION_END.sub("", name)
    return (short, name) if short and short != name else (name,)


def additional(section: Value) -> list[str]:
    """Return the additional namespaces of a pack's section."""
    more = _map(section).get("additionalNamespaces")
    if isinstance(more, dict):
        return [str(key) for key in more]
    return [part.strip() for part in more.split(",") if part.strip()] if isinstance(more, str) else []


def _values(files: PackFiles) -> tuple[Tree, Value, tuple[DeclaredImage, ...], list[Finding]]:
    if values.FILE not in files.contents:
        return Tree(None), {}, (), [Finding("values-missing", "there is no values.yaml", values.FILE)]
    data = files.contents[values.FILE]
    try:
        tree = Tree.parse(data)
        images, notes = values.declared_images(data, values.FILE)
    except (ValueError, DefinitionError) as error:
        said = error.message if isinstance(error, DefinitionError) else str(error)
        return Tree(None), {}, (), [Finding("values-invalid", said, values.FILE, _line(said))]
    whole = tree.value()
    faults = [
        Finding("values-invalid", f"{key} is no map", values.FILE, tree.line(key))
        for key in ("pack", "charts", "manifests")
        if whole.get(key) is not None and not isinstance(whole[key], dict)
    ]
    return tree, whole, images, [*notes, *faults]


def _charts(files: PackFiles, metadata: PackMetadata, whole: Value) -> Iterator[ChartFile]:
    listed = [path for path in dict.fromkeys(metadata.charts) if _inside(path) in files.contents]
    known = _map(_map(whole).get("charts"))
    for path in listed:
        data = files.contents[_inside(path)]
        chart: Chart | None = None
        fault: ChartFault | None = None
        try:
            chart = Chart.read(data)
        except ChartFault as error:
            fault = error
        way, key = _found(known, chart, path, is_alone=len(metadata.charts) == 1)
        yield ChartFile(_inside(path), data, chart, fault, way, key)


def _found(known: Value, chart: Chart | None, path: str, *, is_alone: bool) -> tuple[Way, str]:
    if chart and chart.name in known:
        return "name", chart.name
    for stem in stems(path):
        if stem in known:
            return "file", stem
    return ("flat", "") if is_alone and known else ("none", "")


def _manifests(files: PackFiles, metadata: PackMetadata) -> Iterator[ManifestFile]:
    for path in dict.fromkeys(metadata.manifests):
        if _inside(path) in files.contents:
            yield ManifestFile(_inside(path), files.contents[_inside(path)].decode("utf-8", "replace"))


def _inside(path: str) -> str:
    return str(PurePosixPath(path))


def _map(value: Value) -> dict[str, Value]:
    return value if isinstance(value, dict) else {}


def _line(said: str) -> int:
    found = re.findall(r"line ([0-9]{1,9})", said)
    return int(found[-1]) if found else 0
