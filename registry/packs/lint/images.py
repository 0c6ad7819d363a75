"""Findings about images: what is declared against what is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registry.packs.content import PackContent
from registry.packs.findings import Finding
from registry.packs.images import Entry, Inventory
from registry.packs.references import Image

FILE = "values.yaml"


def judge(content: PackContent, found: Inventory) -> Iterator[Finding]:
    """Yield what is odd about a pack's images."""
    yield from _declared(content)
    declared: dict[str, list[Entry]] = {}
    strays: dict[str, list[Image]] = {}
    for entry in found.images:
        if entry.declared:
            declared.setdefault(entry.image.path, []).append(entry)
        elif entry.used and not entry.macros:
            strays.setdefault(entry.image.path, []).append(entry.image)
    for entry in found.images:
        is_named = entry.used or entry.possible
        if entry.macros and is_named:
            yield Finding("image-by-macro", f"{entry.title} depends on {', '.join(entry.macros)}", _file(entry))
        elif not entry.declared:
            yield from _undeclared(entry, declared.get(entry.image.path, ()))
        elif (
            found.is_whole
            and not is_named
            and not any(_elsewhere(stray, entry.image) for stray in strays.get(entry.image.path, ()))
        ):
            text = f"{entry.title} is not named by what is installed"
            yield Finding("image-unused", text, FILE, entry.line)
    yield from _around(content, found)


def _around(content: PackContent, found: Inventory) -> Iterator[Finding]:
    """Yield what was seen beside images."""
    if found.method == "static" and content.installs:
        yield Finding("images-static", "there is no Helm: images were looked for without rendering")
    files: dict[str, list[str]] = {}
    for file, container in found.always:
        files.setdefault(file, []).append(container)
    for file, containers in files.items():
        more = f" and {len(containers) - 1} more" if len(containers) > 1 else ""
        yield Finding("image-pull-always", f"{containers[0]}{more}", file)
    for host, where in found.egress.items():
        file, _, place = where.partition(": ")
        yield Finding("egress-possible", f"{host} in {place}", file)


def _declared(content: PackContent) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    unpinned = 0
    for one in content.images:
        try:
            image = Image.parse(one.reference)
        except ValueError as error:
            yield Finding("image-invalid", str(error), FILE, one.line)
            continue
        if not image.has_host:
            yield Finding("image-host-implicit", f"{one.reference} means {image.spelled}", FILE, one.line)
        if image.spelled in seen:
            yield Finding(
                "image-twice", f"{one.reference} stands in line {seen[image.spelled]} already", FILE, one.line
            )
        seen.setdefault(image.spelled, one.line)
        unpinned += not image.is_pinned
    if unpinned:
        yield Finding("images-not-pinned", f"{unpinned} of {len(content.images)} declared images have no digest", FILE)


def _undeclared(entry: Entry, declared: Sequence[Entry]) -> Iterator[Finding]:
    image, file = entry.image, _file(entry)
    presets = [name for name in entry.presets if name]
    by = f" with preset {', '.join(presets)}" if presets and "" not in entry.presets else ""
    where = next(iter(entry.where), "").partition(": ")[2]
    if entry.used:
        if not image.tag and not image.digest:
            yield Finding("image-without-tag", f"{image.spelled} in {where} has neither tag nor digest", file)
        elif image.tag == "latest" and not image.digest:
            yield Finding("image-latest", f"{image.spelled} in {where} means another image every day", file)
        other = next((one for one in declared if _elsewhere(image, one.image)), None)
        if other:
            text = f"{image.spelled} is used{by} in {where}, declared is {other.image.spelled}"
            yield Finding("image-host-differs", text, file)
            return
        near = next((one.image for one in declared if one.image.name == image.name), None)
        beside = f"; declared is {near.spelled}" if near else ""
        yield Finding("image-undeclared", f"{image.spelled} is used{by} in {where}{beside}", file)
    elif entry.possible:
        yield Finding("image-possible", f"{image.spelled} is named{by} in {where or file}", file)
    else:
        yield Finding("image-annotated", f"{image.spelled} is in the chart's annotations", file)


def _elsewhere(used: Image, declared: Image) -> bool:
    return used.path == declared.path and used.host != declared.host and used.is_same_version(declared)


def _file(entry: Entry) -> str:
    return next(iter(entry.where), "").partition(": ")[0]
