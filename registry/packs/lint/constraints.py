"""Findings about what a pack asks of its cluster."""

from __future__ import annotations

from collections.abc import Iterator

from registry.packs.content import PackContent
from registry.packs.findings import Finding
from registry.packs.model import Dependency, Resource
from registry.packs.schema import places
from registry.packs.tree import Tree
from registry.packs.versions import Range, Version

FILE = "pack.json"
KINDS = frozenset({"required", "optional", "notSupported", "upgrade"})
RESOURCES = frozenset({"cpu", "memory", "diskSize"})
SCHEDULES = frozenset({"all", "worker", "control-plane", "master"})


def judge(content: PackContent) -> Iterator[Finding]:
    """Yield what is odd about a pack's constraints."""
    lines = Tree.positions(content.files.contents[FILE])
    constraints = content.metadata.constraints
    for number, dependency in enumerate(constraints.dependencies):
        line = lines.line("constraints", "dependencies", str(number))
        yield from _dependency(content, dependency, line)
    for number, resource in enumerate(constraints.resources):
        line = lines.line("constraints", "resources", str(number))
        yield from _resource(content, resource, line)


def _dependency(content: PackContent, one: Dependency, line: int) -> Iterator[Finding]:
    name = one.pack or "a dependency"
    for key, value in (("packName", one.pack), ("layer", one.layer)):
        if not value:
            yield Finding("dependency-incomplete", f"{name} has no {key}", FILE, line)
    if not one.is_typed:
        yield Finding("dependency-without-type", f"{name}: read as optional", FILE, line)
    elif one.kind not in KINDS:
        yield Finding("dependency-type-unknown", f"{name} is of type {one.kind!r}", FILE, line)
    yield from _named(content, one, name, line)
    yield from _bounds(one, name, line)


def _named(content: PackContent, one: Dependency, name: str, line: int) -> Iterator[Finding]:
    is_own = one.pack == content.metadata.name
    if is_own and one.kind != "upgrade":
        yield Finding("dependency-on-itself", f"{name} is {one.kind} for itself", FILE, line)
    if one.kind == "upgrade" and one.pack and not is_own:
        yield Finding("upgrade-from-another", f"it takes the place of {name}", FILE, line)


def _bounds(one: Dependency, name: str, line: int) -> Iterator[Finding]:
    for key, bound in (("minVersion", one.min_version), ("maxVersion", one.max_version)):
        try:
            version = Version.read(bound) if bound.strip() else None
        except ValueError:
            yield Finding("bound-invalid", f"{name}: {key} {bound!r} is no version", FILE, line)
            continue
        if version and (version.given < 3 or bound.strip()[:1] in {"v", "V"}):  # noqa: PLR2004 - all numbers written
            meant = str(Range(version)) if key == "minVersion" else str(Range(None, version))
            yield Finding("bound-padded", f"{name}: {key} {bound} means {meant}", FILE, line)
    try:
        if Range.parse(one.min_version, one.max_version).is_crossed:
            text = f"{name}: {one.min_version} is greater than {one.max_version}"
            yield Finding("bounds-crossed", text, FILE, line)
    except ValueError:
        pass


def _resource(content: PackContent, one: Resource, line: int) -> Iterator[Finding]:
    if one.kind not in RESOURCES:
        yield Finding("resource-invalid", f"{one.kind!r} is no resource", FILE, line)
    if one.min_limit is None and not one.components:
        yield Finding("resource-invalid", f"{one.kind}: neither minLimit nor components", FILE, line)
    if one.min_limit is not None and one.min_limit < 0:
        yield Finding("resource-invalid", f"{one.kind}: minLimit is negative", FILE, line)
    for component in one.components:
        if component.schedule not in SCHEDULES:
            yield Finding("resource-invalid", f"{one.kind}: scheduleType {component.schedule!r}", FILE, line)
        for path in filter(None, (component.request_path, component.replicas_path)):
            if not any(True for _ in places(content.values, path.split("."))):
                yield Finding("resource-path-unknown", f"{one.kind}: {path} is not in values.yaml", FILE, line)
