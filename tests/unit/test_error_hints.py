"""Every error says what to do next: a command to type, or an act."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from registry import errors

PROJECT = Path(errors.__file__).parents[1]
FAMILIES = {one.__name__ for one in errors.DryportError.__subclasses__()}
FINDINGS = {"blob-damaged", "content-damaged", "content-missing", "image-not-carried"}
"""Single findings: the error that collects them says what to do."""
NEVER_SHOWN = {"build-stopped"}
"""The other blob's error is shown."""


@pytest.mark.parametrize("package", ["bundles", "installer"])
def test_every_error_has_a_hint(package: str) -> None:
    lacking = [
        f"{path.relative_to(PROJECT)}:{call.lineno} {reference}"
        for path in sorted((PROJECT / package).rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in FAMILIES
        for reference in [one.value for one in call.args[:1] if isinstance(one, ast.Constant)]
        if not any(word.arg == "hint" for word in call.keywords) and reference not in FINDINGS | NEVER_SHOWN
    ]
    assert lacking == []
