"""Every error says what to do next: a command to type, or an act."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import errors

PROJECT = Path(errors.__file__).parents[1]
PACKAGES = ("bundles", "installer", "registry")
FILES = {
    path: ast.parse(path.read_text()) for package in PACKAGES for path in sorted((PROJECT / package).rglob("*.py"))
}
FAMILIES = {one.__name__ for one in errors.DryportError.__subclasses__()}
FINDINGS = {
    "blob-damaged",
    "content-damaged",
    "content-missing",
    "name-not-portable",
    "not-a-file",
}
"""Single findings: the error that collects them says what to do."""
NEVER_SHOWN = {"build-stopped"}
"""The other blob's error is shown."""


def kinds() -> dict[str, ast.ClassDef]:
    """Return every class of ours that is an error of a family, however far below it."""
    found: dict[str, ast.ClassDef] = {}
    classes = [node for tree in FILES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while True:
        parents = FAMILIES | set(found)
        new = [
            one for one in classes if one.name not in parents and {ast.unparse(base) for base in one.bases} & parents
        ]
        if not new:
            return found
        found |= {one.name: one for one in new}


KINDS = kinds()
SPEAKING = {name for name, one in KINDS.items() if "__init__" in {getattr(part, "name", "") for part in one.body}}
"""Classes that say it themselves; how is seen where they begin their parent."""


def beginnings(tree: ast.Module) -> Iterator[ast.Call]:
    """Give every place where an error of a family is made, by its name or from a class below it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name in SPEAKING:
            yield from (
                one
                for one in ast.walk(node)
                if isinstance(one, ast.Call) and ast.unparse(one.func) == "super().__init__"
            )
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in FAMILIES or name in set(KINDS) - SPEAKING:
                yield node


def says_what_to_do(call: ast.Call) -> bool:
    hints = [word.value for word in call.keywords if word.arg == "hint"]
    return any(not (isinstance(hint, ast.Constant) and not hint.value) for hint in hints)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_error_has_a_hint(package: str) -> None:
    lacking = [
        f"{path.relative_to(PROJECT)}:{call.lineno} {ast.unparse(call.args[0])}"
        for path, tree in FILES.items()
        if path.is_relative_to(PROJECT / package)
        for call in beginnings(tree)
        if not says_what_to_do(call) and ast.unparse(call.args[0]).strip("'") not in FINDINGS | NEVER_SHOWN
    ]
    assert lacking == []


def test_the_search_finds_all_kinds_of_errors() -> None:
    assert {"PolicyError", "TagExistsError", "ManifestInvalidError"} <= set(KINDS)
    assert "PolicyError" not in SPEAKING
    assert sum(len(list(beginnings(tree))) for tree in FILES.values()) > 250


@pytest.mark.parametrize("reference", sorted(FINDINGS | NEVER_SHOWN))
def test_an_exception_from_the_rule_is_still_needed(reference: str) -> None:
    made = [call for tree in FILES.values() for call in beginnings(tree)]
    assert any(ast.unparse(call.args[0]).strip("'") == reference and not says_what_to_do(call) for call in made)
