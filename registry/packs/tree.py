"""YAML of a pack: bounded, with the line of everything, and with the values that Helm would see.

Only the node tree is made. Depth is checked on the event stream first, because the C composer recurses and a deep
document would end the process; values are made on demand, and a bomb of aliases runs into a bound.

>>> tree = Tree.parse(b"charts: {web: {replicas: 2}}", "values.yaml")
>>> tree.value("charts", "web"), tree.line("charts", "web", "replicas")
({'replicas': 2}, 1)
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from registry.declaration import QUICK_LOADER, check_depth
from registry.packs.scalars import Value, plain

MAX_BYTES = 8 << 20
MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""Values that aliases may unfold to; the largest public pack has 20 000."""
_MERGE = "<<"
_RESOLVER = yaml.resolver.Resolver()


class Unquoted(str):
    """A plain scalar that holds a macro: what it means is known once the macro is resolved."""

    __slots__ = ()


@dataclass(frozen=True)
class Tree:
    """A YAML document whose top is a map; an empty document is an empty map."""

    root: yaml.MappingNode | None
    _maps: dict[int, dict[str, tuple[yaml.Node, int]]] = field(default_factory=dict, repr=False, compare=False)
    """By a map's identity: its keys, each with value and line. A map of many keys is searched often."""

    @classmethod
    def parse(cls, data: bytes) -> Tree:
        """Return the tree of `data`. Raises ValueError: no YAML, several documents, no map, too large, too deep."""
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        try:
            check_depth(data, MAX_DEPTH)
            root = yaml.compose(data, Loader=QUICK_LOADER)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(str(error) or type(error).__name__) from error
        if root is None or (isinstance(root, yaml.ScalarNode) and root.value in {"", "null", "~"}):
            return cls(None)
        if not isinstance(root, yaml.MappingNode):
            raise ValueError("a map was expected at the top")
        tree = cls(root)
        tree.value()  # what cannot be a value is refused here, so that nothing later can fail
        return tree

    @classmethod
    def positions(cls, data: bytes) -> Tree:
        """Return a tree of JSON that was parsed already, for its lines alone; empty where YAML reads it otherwise."""
        try:
            check_depth(data, MAX_DEPTH)
            root = yaml.compose(data.replace(b"\t", b" "), Loader=QUICK_LOADER)
        except (yaml.YAMLError, ValueError, RecursionError):
            root = None
        return cls(root if isinstance(root, yaml.MappingNode) else None)

    def node(self, *path: str) -> yaml.Node | None:
        """Return the node at a path of keys; `0`, `1` and so on are items of a list."""
        found: yaml.Node | None = self.root
        for key in path:
            below = self._below(found, key)
            found = below[0] if below else None
        return found

    def line(self, *path: str) -> int:
        """Return the line of the deepest node on the path that is there; 0 in an empty document."""
        found: yaml.Node | None = self.root
        line = 0
        for key in path:
            below = self._below(found, key)
            if below is None:
                break
            found, line = below
        return line

    def value(self, *path: str) -> Value:
        """Return what the YAML at a path describes; None if nothing is there."""
        found = self.node(*path) if path else self.root
        if found is None:
            return None if path else {}
        return _Reader().value(found, 0)

    def _below(self, node: yaml.Node | None, key: str) -> tuple[yaml.Node, int] | None:
        """Return what is under a key (the last one counts) or a number, and its line."""
        if isinstance(node, yaml.SequenceNode):
            item = child(node, key)
            return (item, line_of(item)) if item is not None else None
        if not isinstance(node, yaml.MappingNode):
            return None
        if id(node) not in self._maps:
            self._maps[id(node)] = {name: (value, line) for name, value, line in items(node)}
        return self._maps[id(node)].get(key)

    def scalars(self) -> Iterator[tuple[yaml.ScalarNode, str]]:
        """Yield every scalar once, with its dotted path; keys are left out."""
        yield from _scalars(self.root, "", set())

    def twice(self) -> Iterator[tuple[str, int]]:
        """Yield the dotted path and line of each key that its map has already."""
        yield from _twice(self.root, "", set())


def items(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node, int]]:
    """Yield key, value and line of a map's entries; nothing for what is no map."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode):
                yield str(name.value), value, line_of(name)


def child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """Return what a map has under a key (the last one counts), or a list's item by number."""
    if isinstance(node, yaml.SequenceNode) and key.isdecimal():
        return node.value[int(key)] if int(key) < len(node.value) else None
    found = None
    for name, value, _ in items(node):
        if name == key:
            found = value
    return found


def text(node: yaml.Node | None) -> str:
    """Return a scalar's text; nothing for what is none."""
    return str(node.value).strip() if isinstance(node, yaml.ScalarNode) else ""


def line_of(node: yaml.Node) -> int:
    """Return the line on which a node begins, counted from 1."""
    return int(node.start_mark.line) + 1


class _Reader:
    """Makes values from nodes; counts, so that aliases cannot unfold without bound."""

    def __init__(self) -> None:
        self.count = 0

    def value(self, node: yaml.Node, depth: int) -> Value:
        self._count(depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return self._map(node, depth)
        return scalar(node) if isinstance(node, yaml.ScalarNode) else None

    def _count(self, depth: int) -> None:
        self.count += 1
        if self.count > MAX_VALUES or depth > MAX_DEPTH:
            raise ValueError("the aliases unfold to too much")

    def _map(self, node: yaml.MappingNode, depth: int) -> dict[str, Value]:
        self._count(depth)
        merged: dict[str, Value] = {}
        own: dict[str, Value] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"a key is no text (a macro without quotes?), line {line_of(key)}")
            if key.value == _MERGE and not key.style:
                for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(base, yaml.MappingNode):
                        raise ValueError(f"only maps are merged, line {line_of(key)}")
                    merged = {**self._map(base, depth + 1), **merged}
            else:
                own[_key(key)] = self.value(value, depth + 1)
        return {**merged, **own}


def _key(node: yaml.ScalarNode) -> str:
    value = scalar(node)
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        raise ValueError(f"a key is null, line {line_of(node)}")
    return str(node.value) if isinstance(value, float) else str(value)


def scalar(node: yaml.ScalarNode) -> Value:
    """Return a scalar's value. Raises ValueError for a tag that does not fit."""
    words, tag = str(node.value), str(node.tag).removeprefix("tag:yaml.org,2002:")
    is_plain = not node.style
    if is_plain and "{{" in words:
        return Unquoted(words)
    if tag == "binary":
        try:
            return base64.b64decode("".join(words.split()), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ValueError(f"no text in base64, line {line_of(node)}") from error
    if is_plain:
        # Where the parser's own idea of a plain scalar is not a text, a text was asked for by a tag.
        implied = _RESOLVER.resolve(yaml.ScalarNode, words, (True, False))  # type: ignore[no-untyped-call]
        is_tagged = tag == "str" and implied != node.tag
        return words if is_tagged else plain(words)
    return plain(words) if tag in {"int", "float", "bool", "null"} else words


def _scalars(node: yaml.Node | None, path: str, seen: set[int]) -> Iterator[tuple[yaml.ScalarNode, str]]:
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield node, path
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _scalars(item, f"{path}[{number}]", seen)
    else:
        for name, value, _ in items(node):
            yield from _scalars(value, f"{path}.{name}" if path else name, seen)


def _twice(node: yaml.Node | None, path: str, seen: set[int]) -> Iterator[tuple[str, int]]:
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _twice(item, f"{path}[{number}]", seen)
    known: set[str] = set()
    for name, value, line in items(node):
        below = f"{path}.{name}" if path else name
        if name in known:
            yield below, line
        known.add(name)
        yield from _twice(value, below, seen)
