"""`presets.yaml`: named changes of values, one of each group at a time.

Choosing a preset takes away the paths in `remove`, then merges what `add` describes. The choice is recorded in a
comment before the first key of `values.yaml`.

>>> enabled("# spectrocloud.com/enabled-presets: Backend:disable-api")
Choice(pairs=(('Backend', 'disable-api'),), line=1)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

from registry.packs.findings import Finding
from registry.packs.scalars import Value
from registry.packs.tree import Tree, child, items, line_of, text

FILE = "presets.yaml"
MOST_PRESETS = 200
_MARK = "spectrocloud.com/enabled-presets"


@dataclass(frozen=True, slots=True)
class Preset:
    """A named change of values."""

    group: str
    name: str
    display_name: str
    remove: tuple[str, ...]
    add: Value
    line: int = 0

    @property
    def title(self) -> str:
        """`Group:name`, as it is enabled."""
        return f"{self.group}:{self.name}"

    def apply(self, values: Value) -> Value:
        """Return the values with this preset chosen."""
        for path in self.remove:
            values = without(values, path.split("."))
        return merged(values, self.add)


@dataclass(frozen=True, slots=True)
class Choice:
    """The presets that a `values.yaml` calls enabled, and where it does; `fault` says what cannot be read."""

    pairs: tuple[tuple[str, str], ...] = ()
    line: int = 0
    fault: str = ""


def read(data: bytes) -> tuple[tuple[Preset, ...], tuple[Finding, ...]]:
    """Return the presets in a `presets.yaml`, and what is odd about them; what cannot be read is left out."""
    try:
        tree = Tree.parse(data)
    except ValueError as error:
        return (), (Finding("presets-invalid", str(error), FILE),)
    if tree.root is None:
        return (), ()
    entries = tree.node("presets")
    if not isinstance(entries, yaml.SequenceNode):
        return (), (Finding("presets-invalid", "there is no list presets", FILE, tree.line("presets")),)
    found: list[Preset] = []
    findings: list[Finding] = []
    if len(entries.value) > MOST_PRESETS:
        text = f"{len(entries.value)} presets, at most {MOST_PRESETS} are read"
        findings.append(Finding("presets-invalid", text, FILE, tree.line("presets")))
    for entry in entries.value[:MOST_PRESETS]:
        for one in _preset(entry):
            (found if isinstance(one, Preset) else findings).append(one)  # type: ignore[arg-type]
    known: set[str] = set()
    for preset in found:
        if preset.title in known:
            findings.append(Finding("preset-name-twice", f"{preset.title} is there twice", FILE, preset.line))
        known.add(preset.title)
    return tuple(found), tuple(findings)


def enabled(values_text: str) -> Choice:
    """Return the choice recorded in the comments before the first key of a `values.yaml`."""
    for number, line in enumerate(values_text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#") and stripped != "---":
            break
        name, colon, listed = stripped.lstrip("# ").partition(":")
        if name.strip() != _MARK or not colon:
            continue
        pairs = [part.partition(":") for part in listed.split(",") if part.strip()]
        if any(not separator or not group.strip() or not preset.strip() for group, separator, preset in pairs):
            return Choice((), number, listed.strip())
        return Choice(tuple((group.strip(), preset.strip()) for group, _, preset in pairs), number)
    return Choice()


def merged(base: Value, over: Value) -> Value:
    """Return `base` with `over` on top: maps merge, all else is replaced; a null stays, so that Helm deletes by it."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {**base, **{key: merged(base[key], value) if key in base else value for key, value in over.items()}}


def without(values: Value, path: Sequence[str]) -> Value:
    """Return the values without a path; a path that leads nowhere changes nothing."""
    if not isinstance(values, dict) or not path:
        return values
    for length in range(len(path), 0, -1):  # a key may hold dots itself
        key = ".".join(path[:length])
        if key in values:
            if length == len(path):
                return {name: value for name, value in values.items() if name != key}
            return {**values, key: without(values[key], path[length:])}
    return values


def holds(values: Value, added: Value) -> bool:
    """Say whether everything that a preset adds is in the values already."""
    return bool(merged(values, added) == values)


def _added(node: yaml.Node) -> Value:
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError("add is no text")
    return Tree.parse(str(node.value).encode()).value()


def _preset(entry: yaml.Node) -> Iterator[Preset | Finding]:
    line = line_of(entry)
    name, group = text(child(entry, "name")), text(child(entry, "group"))
    removed = child(entry, "remove")
    listed = removed.value if isinstance(removed, yaml.SequenceNode) else []
    is_null = removed is None or (isinstance(removed, yaml.ScalarNode) and removed.value in {"", "null", "~"})
    if not name or (not is_null and not isinstance(removed, yaml.SequenceNode)) or not all(map(text, listed)):
        words = "a preset without a name" if not name else f"remove of {name} is no list of texts"
        yield Finding("presets-invalid", words, FILE, line)
        return
    if not group:
        yield Finding("preset-group-missing", f"{name} belongs to no group", FILE, line)
    added: Value = {}
    node = child(entry, "add")
    if node is not None:
        at = next((at for key, _, at in items(entry) if key == "add"), line)
        try:
            added = _added(node)
        except ValueError as error:
            yield Finding("preset-add-invalid", f"{name}: {error}", FILE, at)
            return
    display = text(child(entry, "displayName"))
    yield Preset(group, name, display, tuple(text(path) for path in listed), added, line)
