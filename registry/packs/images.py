"""The images of a pack: what it declares against what its charts, manifests and presets really start.

Declared lists alone are not to be trusted: a quarter of the public packs declare none. With Helm everything is
rendered; without it a static look at values and templates says what is possible, and the inventory says
`method: static`.

>>> inventory(content, helm).images[0]
Entry(reference='docker.io/library/web:1.0', declared=True, used=True, ...)
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.packs import manifests
from registry.packs.charts import Chart
from registry.packs.content import PackContent
from registry.packs.helm import Helm
from registry.packs.model import DeclaredImage
from registry.packs.presets import merged
from registry.packs.references import LATEST, Image, looks_like
from registry.packs.rendering import Made, Offered, Placeholders, rendered, variants
from registry.packs.scalars import Value
from registry.packs.tree import Tree

MOST_IMAGES = 20_000
_LITERAL = re.compile(r"^[\s-]*image:\s*[\"']?([^\s\"'{}#]+)[\"']?\s*(?:#.*)?$")
ANY = Offered()
"""A cluster of which nothing is known."""
_ANNOTATIONS = ("artifacthub.io/images", "images")


@dataclass
class Entry:
    """One image: who names it, and where."""

    image: Image
    declared: bool = False
    line: int = 0
    """Where it is declared in `values.yaml`."""
    used: bool = False
    possible: bool = False
    annotated: bool = False
    where: dict[str, None] = field(default_factory=dict)
    """`chart file: Kind/name: path`, in the order of their finding."""
    presets: dict[str, None] = field(default_factory=dict)
    """The presets that use it; the empty one is the pack's own values."""
    macros: tuple[str, ...] = ()
    shown: str = ""
    """The name for people; macros that reach it stand in it as they are written."""

    @property
    def title(self) -> str:
        """What people are told."""
        return self.shown or self.image.spelled

    def as_json(self) -> dict[str, Any]:
        """Return the entry as documented for `--json`."""
        return {
            "image": self.title,
            "declared": self.declared,
            "used": self.used,
            "possible": self.possible,
            "annotated": self.annotated,
            "presets": [name for name in self.presets if name],
            "macros": list(self.macros),
            "where": list(self.where)[:20],
        }


@dataclass
class Inventory:
    """All images of a pack, and what else its manifests reach for."""

    method: str
    helm: str = ""
    kube_versions: tuple[str, ...] = ()
    images: list[Entry] = field(default_factory=list)
    _known: dict[str, Entry] = field(default_factory=dict, repr=False)
    """By name and tag, by name and digest, and by all of it."""
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """Texts in the place of an image that are no reference, with where."""
    failed: list[Made] = field(default_factory=list)
    always: list[tuple[str, str]] = field(default_factory=list)
    egress: dict[str, str] = field(default_factory=dict)
    is_whole: bool = False
    """Whether everything that is listed was rendered at least once: else nobody knows what is unused."""

    def as_json(self) -> dict[str, Any]:
        """Return the inventory as documented for `--json`."""
        return {
            "method": self.method,
            **({"helm": self.helm} if self.helm else {}),
            "kubeVersions": list(self.kube_versions),
            "images": [entry.as_json() for entry in self.images],
            "failed": [
                {"file": one.file, "preset": one.preset, "kubeVersion": one.kube_version, "reason": one.fault}
                for one in self.failed
            ],
            "egress": [{"host": host, "where": where} for host, where in sorted(self.egress.items())],
        }

    def declare(self, declared: DeclaredImage) -> None:
        """Add an image that the pack declares; what is no reference is the declaration's own finding."""
        try:
            entry = self._entry(Image.parse(declared.reference), is_new=True)
        except ValueError:
            return
        entry.declared, entry.line = True, entry.line or declared.line

    def name(
        self, text: str, where: str, *, kind: str, preset: str = "", macros: Sequence[str] = (), shown: str = ""
    ) -> None:
        """Add that an image is named somewhere: `used`, `possible` or `annotated`."""
        try:
            image = Image.parse(text)
        except ValueError:
            self.unreadable.append((text, where))
            return
        entry = self._entry(image, is_new=False)
        setattr(entry, kind, True)
        entry.macros = tuple(dict.fromkeys((*entry.macros, *macros)))
        entry.shown = entry.shown or (shown if macros else "")
        entry.where[where] = None
        entry.presets[preset] = None

    def _entry(self, image: Image, *, is_new: bool) -> Entry:
        """Return the entry of the same image; a digest that only one of them names joins them by their tag."""
        names = [f"{image.name}@{image.digest}"] if image.digest else []
        names += [f"{image.name}:{image.tag or LATEST}"] if image.tag or not image.digest else []
        for name in [image.spelled] if is_new else names:
            known = self._known.get(name)
            if known is not None and (known.image == image or (not is_new and known.image.is_same(image))):
                return known
        entry = Entry(image)
        self.images.append(entry)
        for name in (*names, image.spelled):
            self._known.setdefault(name, entry)
        return entry


def inventory(content: PackContent, helm: Helm | None, offered: Offered = ANY) -> Inventory:
    """Return the images of a pack."""
    found = Inventory("helm" if helm else "static", helm.version if helm else "")
    for declared in content.images:
        found.declare(declared)
    if helm is None:
        _look_through(content, found, frozenset())
    else:
        found.kube_versions = offered.versions
        _read_rendered(content, helm, found, offered)
    for chart in content.charts:
        for text in _annotated(chart.chart) if chart.chart else ():
            found.name(text, chart.path, kind="annotated")
    return found


def _read_rendered(content: PackContent, helm: Helm, found: Inventory, offered: Offered) -> None:
    placeholders = Placeholders()
    inside = {name for _, values in variants(content) for name in content.namespaces_in(values)}
    done: set[tuple[str, str]] = set()
    seen: set[tuple[str, str]] = set()
    for made in rendered(content, helm, placeholders, offered):
        if made.fault:
            found.failed.append(made)
            continue
        try:
            documents = manifests.parse(made.text)
        except ValueError as error:
            found.failed.append(Made(made.file, made.name, made.preset, made.kube_version, fault=str(error)))
            continue
        done.add((made.file, made.preset))
        for named in manifests.found(documents):
            if len(found.images) > MOST_IMAGES:
                found.failed.append(Made(made.file, made.name, fault=f"more than {MOST_IMAGES} images"))
                return
            kind = "used" if named.is_used else "possible"
            where = f"{made.file}: {named.where}"
            macros, shown = placeholders.behind(named.text), placeholders.told(named.text)
            found.name(named.text, where, kind=kind, preset=made.preset, macros=macros, shown=shown)
        for container in manifests.pulls_always(documents):
            if (made.file, container) not in seen:
                seen.add((made.file, container))
                found.always.append((made.file, container))
        for host, where in manifests.egress(documents).items():
            service, _, namespace = host.partition(".")
            if not placeholders.behind(host) and not (service and namespace in inside):
                found.egress.setdefault(host, f"{made.file}: {where}")
    _look_through(content, found, done)
    found.is_whole = content.listed <= {file for file, _ in done}


def _look_through(content: PackContent, found: Inventory, done: Collection[tuple[str, str]]) -> None:
    """Add what values and templates name, started or not, of each file and preset that did not render."""
    for title, values in variants(content):
        for text, where, file in _static(content, values):
            if (file, title) not in done:
                found.name(text, f"{file}: {where}", kind="possible", preset=title)


def _static(content: PackContent, values: Value) -> Iterator[tuple[str, str, str]]:
    """Yield images that values and templates name: text, where, file."""
    for chart in content.charts:
        if chart.chart is not None:
            named = possible(chart.chart, chart.values_in(values))
            yield from ((text, path, chart.path) for text, path in named)
    for one in content.manifests:
        yield from ((text, path, one.path) for text, path in _in_values(one.values_in(values), None))
        yield from ((image, "", one.path) for image in _literal(one.text))


def possible(chart: Chart, values: Value) -> Iterator[tuple[str, str]]:
    """Yield what a chart's values and templates name, started or not: text, and where in the chart."""
    yield from _in_values(merged(_defaults(chart), values), chart)
    for path, text in chart.templates.items():
        if "templates/tests/" not in path:
            yield from ((image, path) for image in _literal(text))


def _defaults(chart: Chart) -> Value:
    """Return a chart's default values, with those of the charts inside it under their names."""
    below = {inner.name: _defaults(inner) for inner in chart.inner}
    return merged(below, chart.values)


def _in_values(value: Value, chart: Chart | None, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        joined = manifests.pair(value, chart.app_version if chart else "")
        if joined and looks_like(joined):
            yield joined, path
        for key, below in value.items():
            if key == "image" and isinstance(below, str) and looks_like(below):
                yield below, f"{path}.{key}".lstrip(".")
            else:
                yield from _in_values(below, chart, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _in_values(below, chart, f"{path}[{number}]")


def _literal(text: str) -> Iterator[str]:
    for line in text.splitlines():
        found = _LITERAL.match(line) if "image:" in line and len(line) < 1000 else None  # noqa: PLR2004
        if found and looks_like(found[1]):
            yield found[1]


def _annotated(chart: Chart) -> Iterable[str]:
    """Yield the images that a chart's annotations list, as text of a YAML list."""
    for name in _ANNOTATIONS:
        text = chart.annotations.get(name, "")
        try:
            listed = Tree.parse(b"list:\n" + "\n".join(f" {line}" for line in text.splitlines()).encode()).value("list")
        except ValueError:
            continue
        for one in listed if isinstance(listed, list) else ():
            image = one.get("image") if isinstance(one, dict) else one
            if isinstance(image, str) and image:
                yield image
