"""Findings about presets: whether they lead anywhere, and whether what is called enabled is applied."""

from __future__ import annotations

from collections.abc import Iterator

from registry.packs.content import PackContent
from registry.packs.findings import Finding
from registry.packs.presets import FILE, holds
from registry.packs.schema import places

VALUES = "values.yaml"


def judge(content: PackContent) -> Iterator[Finding]:
    """Yield what is odd about a pack's presets and the comment that enables some."""
    offered = [content.values, *(preset.add for preset in content.presets)]
    for preset in content.presets:
        for path in preset.remove:
            if not any(True for values in offered for _ in places(values, path.split("."))):
                yield Finding("preset-remove-unknown", f"{preset.title} removes {path}", FILE, preset.line)
    choice = content.choice
    if choice.fault:
        yield Finding("preset-line-invalid", f"{choice.fault!r} is no list of Group:preset", VALUES, choice.line)
    known = {(preset.group, preset.name): preset for preset in content.presets}
    groups: set[str] = set()
    for group, name in choice.pairs:
        if group in groups:
            yield Finding("preset-group-twice", f"two presets of {group} are enabled", VALUES, choice.line)
        groups.add(group)
        enabled = known.get((group, name))
        if enabled is None:
            yield Finding("preset-enabled-unknown", f"there is no preset {group}:{name}", VALUES, choice.line)
        elif not holds(content.values, enabled.add):
            yield Finding("preset-not-applied", f"the values lack what {enabled.title} adds", VALUES, choice.line)
