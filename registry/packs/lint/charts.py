"""Findings about charts and manifests: whether they can be read, rendered, and whose values they get."""

from __future__ import annotations

from collections.abc import Iterator

from registry.packs.content import ChartFile, PackContent
from registry.packs.findings import Finding
from registry.packs.images import Inventory

VALUES = "values.yaml"


def judge(content: PackContent) -> Iterator[Finding]:
    """Yield what is odd about a pack's charts, manifests, and the keys of their values."""
    for one in content.charts:
        if one.fault is not None:
            yield Finding(one.fault.finding, str(one.fault), one.path)
        yield from _chart(content, one)
    charts = content.values.get("charts")
    used = {one.key for one in content.charts}
    is_flat = any(one.way == "flat" for one in content.charts)
    for key in charts if isinstance(charts, dict) and not is_flat else ():
        if key not in used:
            yield Finding(
                "chart-key-unmatched", f"{key} is none of its charts", VALUES, content.tree.line("charts", key)
            )
    manifests = content.values.get("manifests")
    keys = {one.key for one in content.manifests}
    for key in manifests if isinstance(manifests, dict) else ():
        if key not in keys:
            line = content.tree.line("manifests", key)
            yield Finding("manifest-key-unmatched", f"{key} is none of its manifests", VALUES, line)


def failures(found: Inventory) -> Iterator[Finding]:
    """Yield what Helm refused: once for each file and reason, with the presets that it concerns."""
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for made in found.failed:
        reasons.setdefault((made.file, made.fault), {})[made.preset] = None
    for (file, reason), presets in reasons.items():
        titles = [title for title in presets if title]
        by = "" if "" in presets else f" (with preset {', '.join(titles)})"
        yield Finding("render-failed", f"{reason}{by}", file)


def _chart(content: PackContent, one: ChartFile) -> Iterator[Finding]:
    chart = one.chart
    if chart is None:
        return
    if chart.version != content.metadata.version:
        text = f"the chart is {chart.version}, the pack {content.metadata.version}"
        yield Finding("chart-version-differs", text, one.path)
    if chart.deprecated:
        yield Finding("chart-deprecated", f"{chart.name} is deprecated by its author", one.path)
    for name in chart.missing:
        yield Finding("chart-dependency-missing", f"{chart.name} depends on {name}, which is not in it", one.path)
    if one.way == "file":
        line = content.tree.line("charts", one.key)
        yield Finding(
            "chart-key-by-file", f"{one.key} is the name of the file; the chart is {chart.name}", VALUES, line
        )
    elif one.way == "flat":
        text = f"values of {chart.name} stand right below charts"
        yield Finding("chart-values-flat", text, VALUES, content.tree.line("charts"))
    elif one.way == "none":
        yield Finding("chart-values-missing", f"{chart.name} gets its own defaults", one.path)
