"""Findings about `schema.yaml`, and about the values that it judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registry.packs.content import PackContent
from registry.packs.findings import Finding
from registry.packs.presets import merged
from registry.packs.scalars import Value
from registry.packs.schema import TYPES, Rule, SchemaFault, places, split_path
from registry.packs.tree import Tree

FILE, VALUES = "schema.yaml", "values.yaml"


def judge(content: PackContent) -> Iterator[Finding]:
    """Yield what is odd about a pack's schema, and which of its values do not fit."""
    data = content.files.contents.get(FILE)
    if data is None:
        return
    try:
        tree = Tree.parse(data)
    except ValueError as error:
        yield Finding("schema-invalid", str(error), FILE)
        return
    for path, line in tree.twice():
        yield Finding("schema-invalid", f"{path} stands twice", FILE, line)
    offered = [content.values, *(merged(content.values, preset.add) for preset in content.presets)]
    for path, entry in tree.value().items():
        yield from _entry(content, path, entry, tree.line(path), offered)


def rules(data: bytes) -> dict[str, Rule]:
    """Return the rules of a `schema.yaml`, without what cannot be read of it."""
    found: dict[str, Rule] = {}
    try:
        entries = Tree.parse(data).value()
    except ValueError:
        return found
    for path, entry in entries.items():
        template = entry.get("schema") if isinstance(entry, dict) else None
        try:
            split_path(path)
            found[path] = Rule.parse(template if isinstance(template, str) else "")
        except SchemaFault:
            continue
    return found


def _entry(content: PackContent, path: str, entry: Value, line: int, offered: Sequence[Value]) -> Iterator[Finding]:
    template = entry.get("schema") if isinstance(entry, dict) else None
    if not isinstance(template, str):
        yield Finding("schema-invalid", f"{path} has no text schema", FILE, line)
        return
    try:
        keys, rule = split_path(path), Rule.parse(template)
    except SchemaFault as error:
        yield Finding(error.finding, f"{path}: {error}", FILE, line)
        return
    for kind in rule.form.kinds if rule.form else ():
        if kind not in TYPES:
            yield Finding("schema-type-unknown", f"{path}: {kind} is read as string", FILE, line)
    found = list(places(content.values, keys))
    if rule.required and (not found or any(value in (None, "") for _, value in found)):
        yield Finding("value-to-fill", f"{path} is required and has no value", VALUES, _line(content, keys))
    elif not rule.required and not any(True for values in offered for _ in places(values, keys)):
        yield Finding("schema-path-unknown", f"{path} is not in the values", FILE, line)
    for at, value in found:
        if rule.form and value not in (None, "") and "{{" not in str(value) and (fault := rule.form.fault(value)):
            yield Finding("value-refused", f"{at}: {fault}", VALUES, _line(content, keys))


def _line(content: PackContent, keys: Sequence[str]) -> int:
    return content.tree.line(*(key for key in keys if key != "$[]"))
