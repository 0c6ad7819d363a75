"""checklist.yaml says of each thing that a registry must do which tests hold it; here is proven that they are there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

TESTS = Path(__file__).parents[1]
CHECKLIST: dict[str, dict[str, list[str]]] = yaml.safe_load((TESTS / "contracts/checklist.yaml").read_text())
BOXES = [(section, box, tests) for section, boxes in CHECKLIST.items() for box, tests in boxes.items()]


@cache
def found_in(module: str) -> frozenset[str]:
    tree = ast.parse((TESTS / f"{module}.py").read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("section", "box", "tests"), BOXES, ids=[f"{section}: {box}" for section, box, _ in BOXES])
def test_every_box_is_held_by_tests_that_are_there(section: str, box: str, tests: list[str]) -> None:
    assert tests, f"{section}: nothing holds: {box}"
    for named in tests:
        module, _, test = named.partition("::")
        assert test.startswith("test_")
        assert test in found_in(module), f"{section}: {box}: there is no {named}"


def test_the_checklist_has_all_its_sections() -> None:
    assert list(CHECKLIST) == [
        "Names and digests",
        "Pull",
        "Upload",
        "Manifests",
        "Tags",
        "Referrers",
        "Errors and headers",
        "Upload sessions",
        "Clients",
        "Who asks",
        "Faults of others",
        "Classes of bugs",
    ]
    assert len(BOXES) > 100
