"""Helm chart archives inside packs: bounded and free of links before any program sees them.

A chart is foreign input. Its tar.gz is walked once, in memory, with limits on members, bytes and how far it may unfold;
charts inside it are archives as well, and the same holds for them. Nothing is unpacked to a disk.

>>> Chart.read(data, "charts/web-1.0.0.tgz").name
'web'
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from registry.packs.scalars import Value
from registry.packs.tree import Tree

_READ = 1 << 18


@dataclass(frozen=True, slots=True)
class Limits:
    """What a chart may cost. The largest public one unfolds 0.5 MiB to 6 MiB in 300 members."""

    members: int = 10_000
    unpacked_bytes: int = 64 << 20
    ratio: int = 200
    judged_from: int = 1 << 20
    """Bytes from which on the ratio counts: a few repeated lines compress better than any bound."""
    depth: int = 4


LIMITS = Limits()


class ChartFault(ValueError):  # noqa: N818 - not raised to a person; becomes the finding that it names
    """What is wrong with a chart, under the name of its finding."""

    def __init__(self, finding: str, message: str) -> None:
        super().__init__(message)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as its archive holds it."""

    name: str
    version: str
    deprecated: bool
    dependencies: tuple[str, ...]
    """Names of the charts it needs in its own `charts/`."""
    annotations: Mapping[str, str]
    app_version: str
    values: Value
    templates: Mapping[str, str]
    """Path below the chart to text, its charts' included."""
    inner: tuple[Chart, ...]
    """The charts in its `charts/`."""

    @classmethod
    def read(cls, data: bytes, limits: Limits = LIMITS) -> Chart:
        """Return the chart in a tar.gz. Raises ChartFault."""
        return _chart(_members(data, limits, _Budget(limits)), limits)

    @property
    def missing(self) -> Sequence[str]:
        """Dependencies that are not there."""
        there = {chart.name for chart in self.inner}
        return [name for name in self.dependencies if name not in there]


class _Budget:
    """What all archives of one chart may cost together."""

    def __init__(self, limits: Limits) -> None:
        self.members, self.unpacked = limits.members, limits.unpacked_bytes

    def spend(self, members: int = 0, unpacked: int = 0) -> None:
        self.members -= members
        self.unpacked -= unpacked
        if self.members < 0:
            raise ChartFault("chart-unreadable", "too many members")
        if self.unpacked < 0:
            raise ChartFault("chart-unreadable", "too large when unpacked")


def _members(data: bytes, limits: Limits, budget: _Budget, depth: int = 0) -> dict[str, bytes]:
    if depth > limits.depth:
        raise ChartFault("chart-unreadable", f"charts nest deeper than {limits.depth}")
    plain = _unzipped(data, limits, budget)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:", errorlevel=2) as tar:
            for info in tar:
                budget.spend(members=1)
                path = _path(info)
                if info.isdir():
                    continue
                reader = tar.extractfile(info)
                content = reader.read() if reader else b""
                budget.spend(unpacked=len(content))
                if path.suffix == ".tgz" and path.parent.name == "charts":
                    below = _members(content, limits, budget, depth + 1)
                    found |= {f"{path.parent}/{name}": inner for name, inner in below.items()}
                else:
                    found[str(path)] = content
    except ChartFault:
        raise
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise ChartFault("chart-unreadable", str(error) or type(error).__name__) from error
    return found


def _path(info: tarfile.TarInfo) -> PurePosixPath:
    """Return a member's name. Raises ChartFault for one that leads out, and for what is neither file nor folder."""
    path = PurePosixPath(info.name)
    if path.is_absolute() or ".." in path.parts or "\\" in info.name or "\0" in info.name:
        raise ChartFault("chart-unreadable", f"a name leads out of the archive: {info.name[:100]!r}")
    if not (info.isreg() or info.isdir()):
        raise ChartFault("chart-unreadable", f"a link or special file: {info.name[:100]!r}")
    return path


def _unzipped(data: bytes, limits: Limits, budget: _Budget) -> bytes:
    whole = bytearray()
    most = min(budget.unpacked, max(limits.judged_from, len(data) * limits.ratio))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            while block := stream.read(_READ):
                whole += block
                if len(whole) > most + (1 << 20):  # the tar's own blocks are no content
                    raise ChartFault("chart-unreadable", f"{len(data)} bytes unfold to more than {most}")
    except (OSError, EOFError, zlib.error) as error:
        raise ChartFault("chart-unreadable", f"no tar.gz: {error}") from error
    return bytes(whole)


def _chart(files: Mapping[str, bytes], limits: Limits) -> Chart:
    tops = {PurePosixPath(name).parts[0] for name in files}
    top = next(iter(tops)) if len(tops) == 1 else ""
    if not top or f"{top}/Chart.yaml" not in files:
        raise ChartFault("chart-invalid", "one top folder with a Chart.yaml is expected")
    return _below({name.partition("/")[2]: data for name, data in files.items()}, limits.depth)


def _below(files: Mapping[str, bytes], depth: int) -> Chart:
    about = _yaml(files["Chart.yaml"], "Chart.yaml")
    name, version = about.get("name"), about.get("version")
    if not isinstance(name, str) or not name or not isinstance(version, str | int | float) or version == "":
        raise ChartFault("chart-invalid", "Chart.yaml lacks name or version")
    needs = about.get("dependencies") or _yaml(files.get("requirements.yaml", b""), "requirements.yaml").get(
        "dependencies"
    )
    annotations = about.get("annotations")
    return Chart(
        name=name,
        version=str(version),
        deprecated=about.get("deprecated") is True,
        dependencies=tuple(dict.fromkeys(_names(needs))),
        annotations={key: value for key, value in annotations.items() if isinstance(value, str)}
        if isinstance(annotations, dict)
        else {},
        app_version=str(about.get("appVersion") or ""),
        values=_yaml(files.get("values.yaml", b""), "values.yaml"),
        templates={
            path: data.decode("utf-8", "replace")
            for path, data in files.items()
            if "templates/" in path and path.endswith((".yaml", ".yml", ".tpl"))
        },
        inner=tuple(_inner(files, depth)) if depth else (),
    )


def _inner(files: Mapping[str, bytes], depth: int) -> Iterator[Chart]:
    folders: dict[str, dict[str, bytes]] = {}
    for name, data in files.items():
        start, _, rest = name.removeprefix("charts/").partition("/")
        if name.startswith("charts/") and rest:
            folders.setdefault(start, {})[rest] = data
    for _, below in sorted(folders.items()):
        if "Chart.yaml" in below:
            yield _below(below, depth - 1)


def _names(needs: object) -> Iterator[str]:
    for need in needs if isinstance(needs, list) else ():
        name = need.get("name") if isinstance(need, dict) else None
        if isinstance(name, str) and name:
            yield name


def _yaml(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = Tree.parse(data).value()
    except (ValueError, yaml.YAMLError) as error:
        raise ChartFault("chart-invalid", f"{name}: {error}") from error
    return value if isinstance(value, dict) else {}
