"""Macros in values: `{{ .spectro.system.kubernetes.version | substr 0 4 }}`, read and resolved in linear time.

Only braces with `.spectro.` inside are macros; all others are Helm's business and stay. An expression is a pipeline as
Go templates have it: a macro, text or number, then functions, each of which takes the result as its last argument. The
functions are pure text functions of sprig: nothing reads a file, the environment, the network, a clock or chance. What
is not known becomes empty, and is named.

>>> Context({"spectro.system.cluster.name": "one"}.get).resolve("{{ .spectro.system.cluster.name | upper }}-a")
'ONE-a'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from registry.packs.macro_functions import FUNCTIONS, MAX_TEXT

ROOT = "spectro"
_KNOWN: Mapping[str, Sequence[str]] = {
    "user": ("name", "uid", "email"),
    "tenant": ("name", "uid"),
    "project": ("name", "uid"),
    "clusterprofile": ("name", "uid", "version"),
    "clusterprofile.infra": ("name", "uid", "version"),
    "cluster": ("name", "uid", "kubevip"),
    "cloudaccount": ("name", "uid"),
    "kubernetes": ("version",),
    "reverseproxy": ("server", "port", "vhostport", "protocol"),
    "cloud": ("type", "region"),
}
SYSTEM = frozenset(f"{ROOT}.system.{noun}.{part}" for noun, parts in _KNOWN.items() for part in parts)
"""Macros that the product knows; names below them (`tenant`, `user`) are known too."""
MAX_EXPRESSION = 4096
_ACTION = re.compile(r"\{\{(-(?=\s))?([^{}]*?)((?<=\s)-)?\}\}")
_SPACE = re.compile(r"\s*")
_OPEN = re.compile(rf"\{{\{{[^{{}}]*\.{ROOT}\.")
_TOKEN = re.compile(
    r"\s*(?:(?P<path>\.[A-Za-z0-9_.-]+)|(?P<text>\"(?:[^\"\\]|\\.)*\"|`[^`]*`)|(?P<number>-?[0-9]+)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>[|()]))"
)


class MacroError(ValueError):
    """An expression that cannot be read."""


class UnknownFunctionError(MacroError):
    """A function that is not on the list."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function and its arguments; a pipe adds what is before it as the last one."""

    function: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Path:
    """A macro's name, without the first dot: `spectro.var.region`."""

    name: str


Expression = Call | Path | str | int


@dataclass(frozen=True, slots=True)
class Macro:
    """One pair of braces in a text: where it stands, and what is inside."""

    start: int
    end: int
    source: str

    def parse(self) -> Expression:
        """Return the expression. Raises MacroError."""
        return _Parser(self.source).whole()


def find(text: str) -> Iterator[Macro]:
    """Yield the macros of a text, in its order."""
    if "{{" in text and f".{ROOT}." in text:
        place = 0
        for found in _ACTION.finditer(text):
            if f".{ROOT}." in found[2]:
                start = found.start()
                while found[1] and start > place and text[start - 1].isspace():  # `{{-` takes the space before it
                    start -= 1
                place = _SPACE.match(text, found.end()).end() if found[3] else found.end()  # type: ignore[union-attr]
                yield Macro(start, place, found[2].strip())


def is_open(text: str) -> bool:
    """Say whether a macro in a text is begun and not ended."""
    return f".{ROOT}." in text and _OPEN.search(_ACTION.sub("", text)) is not None


def names(expression: Expression) -> Iterator[str]:
    """Yield the names of all macros in an expression."""
    if isinstance(expression, Path):
        yield expression.name
    elif isinstance(expression, Call):
        for argument in expression.arguments:
            yield from names(argument)


def is_known(name: str) -> bool:
    """Say whether a macro is one of the three kinds, and for a system macro, one of the list."""
    if name.startswith("spectro.system."):
        return any(known == name or known.startswith(f"{name}.") for known in SYSTEM)
    kind, _, rest = name.removeprefix(f"{ROOT}.").partition(".")
    return (kind == "var" and bool(rest) and "." not in rest) or (kind == "pack" and "." in rest.strip("."))


@dataclass
class Context:
    """What macros mean here; remembers which names it was asked for and did not know."""

    lookup: Callable[[str], str | None]
    fallback: Callable[[str], str] = lambda _: ""
    unresolved: dict[str, None] = field(default_factory=dict)

    def resolve(self, text: str) -> str:
        """Return `text` with every macro replaced. Raises MacroError."""
        parts, place, grown = [], 0, 0
        for macro in find(text):
            made = self._value(macro.parse())
            parts += [text[place : macro.start], made]
            place, grown = macro.end, grown + len(made)
            if grown > MAX_TEXT:
                raise MacroError(f"macros grow a text beyond {MAX_TEXT} characters")
        return "".join([*parts, text[place:]])

    def _value(self, expression: Expression) -> str:
        if isinstance(expression, Path):
            known = self.lookup(expression.name)
            if known is not None:
                return known
            self.unresolved[expression.name] = None
            return self.fallback(expression.name)
        if isinstance(expression, Call):
            arguments = [self._value(argument) for argument in expression.arguments]
            try:
                return FUNCTIONS[expression.function].apply(arguments)
            except ValueError as error:
                raise MacroError(f"{expression.function}: {error}") from error
        return str(expression)


class _Parser:
    """Reads a pipeline: `term | function term... | ...`, where a term may be a pipeline in parentheses."""

    def __init__(self, source: str) -> None:
        if len(source) > MAX_EXPRESSION:
            raise MacroError(f"an expression of more than {MAX_EXPRESSION} characters")
        self.tokens = list(_tokens(source))
        self.at = 0
        self.depth = 0

    def whole(self) -> Expression:
        expression = self.pipeline()
        if self.at < len(self.tokens):
            raise MacroError(f"unexpected {self.tokens[self.at][1]!r}")
        return expression

    def pipeline(self) -> Expression:
        found = self.command(())
        while self._is("|"):
            self.at += 1
            if self._here()[0] != "word":
                raise MacroError("a function is expected after |")
            found = self.command((found,))
        return found

    def command(self, piped: Sequence[Expression]) -> Expression:
        kind, word = self._here()
        if kind != "word":
            return self.term()
        if word not in FUNCTIONS:
            raise UnknownFunctionError(f"the function {word!r} is not on the list")
        self.at += 1
        arguments: list[Expression] = []
        while self.at < len(self.tokens) and not self._is("|") and not self._is(")"):
            arguments.append(self.term())
        try:
            FUNCTIONS[word].check(word, len(arguments) + len(piped))
        except ValueError as error:
            raise MacroError(str(error)) from error
        return Call(word, (*arguments, *piped))

    def term(self) -> Expression:
        kind, word = self._here()
        self.at += 1
        if kind == "path":
            return Path(word.strip("."))
        if kind == "text":
            return _unquoted(word)
        if kind == "number":
            return int(word)
        if word == "(":
            self.depth += 1
            if self.depth > 50:  # noqa: PLR2004 - nobody nests that deep
                raise MacroError("parentheses nest too deep")
            inner = self.pipeline()
            if not self._is(")"):
                raise MacroError("a parenthesis is not closed")
            self.at += 1
            self.depth -= 1
            return inner
        raise MacroError(f"unexpected {word!r}")

    def _here(self) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            raise MacroError("something is missing at the end")
        return self.tokens[self.at]

    def _is(self, sign: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at] == ("sign", sign)


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    place = 0
    source = source.strip()
    while place < len(source):
        found = _TOKEN.match(source, place)
        if found is None or found.lastgroup is None:
            raise MacroError(f"cannot be read from {source[place : place + 20]!r} on")
        number = found.lastgroup == "number" and len(found["number"]) > 9  # noqa: PLR2004 - no function takes more
        if number:
            raise MacroError("a number is too large")
        yield found.lastgroup, found[found.lastgroup]
        place = found.end()


def _unquoted(word: str) -> str:
    if word.startswith("`"):
        return word[1:-1]
    plain = {"n": "\n", "t": "\t", "r": "\r"}
    return re.sub(r"\\(.)", lambda found: plain.get(found[1], found[1]), word[1:-1], flags=re.DOTALL)
