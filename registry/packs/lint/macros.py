"""Findings about macros in a pack's values."""

from __future__ import annotations

from collections.abc import Iterator

from registry.packs.content import PackContent
from registry.packs.findings import Finding
from registry.packs.macros import MacroError, UnknownFunctionError, find, is_known, is_open, names
from registry.packs.tree import line_of

FILE = "values.yaml"


def judge(content: PackContent) -> Iterator[Finding]:
    """Yield what is odd about the macros of a pack's values."""
    for node, path in content.tree.scalars():
        text, line = str(node.value), line_of(node)
        if "{{" not in text:
            continue
        if is_open(text):
            yield Finding("macro-invalid", f"{path}: a macro is not closed", FILE, line)
        for macro in find(text):
            try:
                expression = macro.parse()
            except UnknownFunctionError as error:
                yield Finding("macro-function-unknown", f"{path}: {error}", FILE, line)
                continue
            except MacroError as error:
                yield Finding("macro-invalid", f"{path}: {error}", FILE, line)
                continue
            for name in names(expression):
                if not is_known(name):
                    yield Finding("macro-unknown", f"{path}: .{name}", FILE, line)
