"""`schema.yaml`: which values a pack allows, as a template for each path.

A template is `{{ required | format "${number:[1-9]}" | hints "How many" }}`. A format is literal text around typed
places; a place is a type, optionally with a pattern in slashes, a range or a list of words. A value fits if its text is
made of exactly these pieces.

>>> Format.parse("${ipv4} - ${ipv4}").fault("10.0.0.1 - 10.0.0.9")
''
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from registry.packs.patterns import Pattern
from registry.packs.scalars import Value
from registry.packs.versions import Version

TYPES = frozenset({"string", "number", "boolean", "bool", "password", "list", "ipv4", "version"})
MAX_TEMPLATE = 64 << 10
_PLACE = re.compile(r"\$\{")
_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?"
_RANGE = re.compile(rf"\s*({_NUMBER})\s*-\s*({_NUMBER})\s*")
_PART = re.compile(r'\s*(?:(?P<word>[A-Za-z]+)|(?P<bar>\|)|(?P<text>"(?:[^"\\]|\\.)*"))')
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_SHAPES = {
    "number": _NUMBER,
    "boolean": "true|false",
    "bool": "true|false",
    "ipv4": rf"{_BYTE}(?:\.{_BYTE}){{3}}",
    "version": r"v?[0-9]+(?:\.[0-9]+){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?",
}


class SchemaFault(ValueError):  # noqa: N818 - not raised to a person; becomes the finding that it names
    """What is wrong with a template, under the name of its finding."""

    def __init__(self, finding: str, message: str) -> None:
        super().__init__(message)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Place:
    """A typed place in a format."""

    kind: str
    shape: str
    """What its text looks like, in RE2's syntax."""
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place that `${text}` stands for. Raises SchemaFault."""
        kind, colon, rest = text.partition(":")
        kind, rest = kind.strip().lower(), rest.strip()
        if not colon:
            return cls(kind, _SHAPES.get(kind, "(?s:.*)"))
        if len(rest) > 1 and rest.startswith("/") and rest.endswith("/"):
            try:
                Pattern.compile(rest[1:-1])
            except ValueError as error:
                raise SchemaFault("schema-pattern-invalid", f"{rest}: {error}") from error
            return cls(kind, _without_anchors(rest[1:-1]))
        if not (rest.startswith("[") and rest.endswith("]")):
            raise SchemaFault("schema-template-invalid", f"${{{text}}}: a /pattern/ or a [range] is expected")
        if kind in {"number", "version"} or (kind != "list" and _RANGE.fullmatch(rest[1:-1])):
            return cls._ranged(kind, rest[1:-1])
        words = tuple(word.strip() for word in rest[1:-1].split(",") if word.strip())
        if not words:
            raise SchemaFault("schema-range-invalid", f"${{{text}}}: a list of no words")
        return cls(kind, "|".join(map(re.escape, words)), words=words)

    @classmethod
    def _ranged(cls, kind: str, text: str) -> Place:
        found = _RANGE.fullmatch(text)
        if found is None:
            raise SchemaFault("schema-range-invalid", f"[{text}] is not [low-high]")
        low, high = float(found[1]), float(found[2])
        if low > high:
            raise SchemaFault("schema-range-invalid", f"[{text}]: {found[1]} is greater than {found[2]}")
        return cls(kind, _SHAPES.get(kind, _NUMBER), low, high)

    def fault(self, text: str) -> str:
        """Say what is wrong with a text that has the place's shape; nothing if it fits."""
        if self.low is None or self.high is None:
            return ""
        number = float(".".join(map(str, Version.read(text).numbers[:2]))) if self.kind == "version" else float(text)
        return "" if self.low <= number <= self.high else f"{text} is not between {self.low:g} and {self.high:g}"


@dataclass(frozen=True, slots=True)
class Format:
    """A format: literal text and places in a row."""

    source: str
    pieces: tuple[str | Place, ...]
    whole: Pattern

    @classmethod
    def parse(cls, source: str) -> Format:
        """Return the format. Raises SchemaFault."""
        pieces: list[str | Place] = []
        at = 0
        while found := _PLACE.search(source, at):
            end = _closing(source, found.end())
            pieces += [source[at : found.start()], Place.parse(source[found.end() : end])]
            at = end + 1
        pieces = [piece for piece in [*pieces, source[at:]] if piece]
        shape = "".join(f"({piece.shape})" if isinstance(piece, Place) else re.escape(piece) for piece in pieces)
        try:
            return cls(source, tuple(pieces), Pattern.compile(shape))
        except ValueError as error:
            raise SchemaFault("schema-pattern-invalid", f"{source}: {error}") from error

    @property
    def kinds(self) -> Iterator[str]:
        """The types of the places."""
        return (piece.kind for piece in self.pieces if isinstance(piece, Place))

    @property
    def is_secret(self) -> bool:
        """Whether a value must not be shown."""
        return "password" in self.kinds

    def fault(self, value: Value) -> str:
        """Say what is wrong with a value; nothing if it fits."""
        if len(self.pieces) == 1 and isinstance(self.pieces[0], Place) and self.pieces[0].kind == "list":
            place = self.pieces[0]
            wrong = [one for one in (value if isinstance(value, list) else [value]) if self._fault(one)]
            return f"{_shown(wrong[0])} is not one of {', '.join(place.words)}" if wrong and place.words else ""
        return self._fault(value)

    def _fault(self, value: Value) -> str:
        if isinstance(value, (list, dict)):
            return f"a {'list' if isinstance(value, list) else 'map'} where {self.source} is expected"
        text = spelled(value)
        seen = "the value" if self.is_secret else _shown(value)
        if not self.whole.matches(text):
            return f"{seen} is not {self.source}"
        if len(self.pieces) == 1 and isinstance(self.pieces[0], Place):
            return self.pieces[0].fault(text)
        return ""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a path's template asks."""

    required: bool = False
    readonly: bool = False
    form: Format | None = None
    hints: tuple[str, ...] = ()

    @classmethod
    def parse(cls, template: str) -> Rule:
        """Return the rule in a template. Raises SchemaFault."""
        inner = template.strip()
        if not (inner.startswith("{{") and inner.endswith("}}")) or len(inner) > MAX_TEMPLATE:
            raise SchemaFault("schema-template-invalid", "a template is {{ ... }}")
        required = readonly = False
        form: Format | None = None
        hints: tuple[str, ...] = ()
        for word, texts in _commands(inner[2:-2]):
            match word, len(texts):
                case "required", 0:
                    required = True
                case "readonly", 0:
                    readonly = True
                case "format", 1:
                    form = Format.parse(texts[0])
                case "hints", count if count:
                    hints = tuple(texts)
                case _:
                    raise SchemaFault("schema-template-invalid", f"{word} with {len(texts)} text(s)")
        return cls(required, readonly, form, hints)


def places(value: Value, path: Sequence[str]) -> Iterator[tuple[str, Value]]:
    """Yield the dotted path and value of everything that a schema's path leads to; `$[]` is each item of a list."""
    yield from _places(value, path, ())


def spelled(value: Value) -> str:
    """Return a scalar as its YAML would be written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def split_path(path: str) -> Sequence[str]:
    """Return the keys of a dotted path; `a$[].b` and `a.$[].b` are the same. Raises SchemaFault."""
    keys = path.strip().replace("$[]", ".$[].").strip(".").replace("..", ".").split(".") if "$[]" in path else None
    keys = keys if keys is not None else path.strip().split(".")
    if not all(keys):
        raise SchemaFault("schema-path-invalid", f"a part of {path!r} is empty")
    return keys


def _places(value: Value, path: Sequence[str], above: tuple[str, ...]) -> Iterator[tuple[str, Value]]:
    if not path:
        yield ".".join(above), value
    elif path[0] == "$[]":
        for number, item in enumerate(value if isinstance(value, list) else ()):
            yield from _places(item, path[1:], (*above, str(number)))
    elif isinstance(value, dict):
        for length in range(len(path), 0, -1):  # a key may hold dots itself: the longest one that is there counts
            key = ".".join(path[:length])
            if key in value:
                yield from _places(value[key], path[length:], (*above, key))
                return


def _commands(inner: str) -> Iterator[tuple[str, list[str]]]:
    word, texts, at = "", list[str](), 0
    inner = inner.strip()
    while at < len(inner):
        found = _PART.match(inner, at)
        if found is None:
            raise SchemaFault("schema-template-invalid", f"cannot be read from {inner[at : at + 20]!r} on")
        at = found.end()
        if found["bar"]:
            if not word:
                raise SchemaFault("schema-template-invalid", "nothing stands before |")
            yield word, texts
            word, texts = "", []
        elif found["text"]:
            texts.append(re.sub(r'\\(["\\])', r"\1", found["text"][1:-1]))
        elif word:
            raise SchemaFault("schema-template-invalid", f"| is missing before {found['word']!r}")
        else:
            word = found["word"]
    if not word:
        raise SchemaFault("schema-template-invalid", "nothing is asked for")
    yield word, texts


def _closing(source: str, start: int) -> int:
    """Return where the brace that was opened before `start` closes; braces of a pattern nest."""
    depth = 1
    for at in range(start, len(source)):
        depth += {"{": 1, "}": -1}.get(source[at], 0)
        if not depth:
            return at
    raise SchemaFault("schema-template-invalid", f"a ${{ is not closed in {source[:80]!r}")


def _without_anchors(pattern: str) -> str:
    """The whole value is matched anyway, and inside a longer format an anchor could never hold."""
    pattern = pattern.removeprefix("^")
    return pattern[:-1] if pattern.endswith("$") and not pattern.endswith("\\$") else pattern


def _shown(value: Value) -> str:
    return repr(value)[:80]
