"""The published schemas are those of the code, and an editor that obeys one accepts what the registry accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from installer.cli import serving
from registry.store import policy

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.glob("registry*.md"))
SCHEMAS: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("registry.schema.json", serving.schema),
    ("policy.schema.json", policy.schema),
]


def accepts(name: str, text: str) -> bool:
    schema = json.loads((DOCS / name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).is_valid(yaml.safe_load(text))


@pytest.mark.parametrize(("name", "schema"), SCHEMAS)
def test_a_published_schema_is_the_one_in_the_code(name: str, schema: Callable[[], dict[str, Any]]) -> None:
    assert json.loads((DOCS / name).read_text()) == schema(), f"write {name} anew from {schema.__module__}.schema()"


def test_every_configuration_that_a_page_shows_is_accepted() -> None:
    blocks = [block for page in PAGES for block in re.findall(r"```yaml\n(listen:.*?)```", page.read_text(), re.DOTALL)]
    assert len(blocks) >= 2
    assert [block for block in blocks if not accepts("registry.schema.json", block)] == []


@pytest.mark.parametrize("text", ["store: s\nstores: s", "collect_hours: -1", "workers: many", "limits: {identity: 3}"])
def test_a_configuration_that_the_registry_refuses_is_refused(text: str) -> None:
    assert not accepts("registry.schema.json", text)


def test_the_policy_that_the_code_explains_is_accepted_and_a_wrong_one_is_not() -> None:
    shown = re.search(r"\n\n(    read_only:.*?)\n\n", policy.__doc__ or "", re.DOTALL)
    assert shown
    assert accepts("policy.schema.json", shown[1])
    assert not accepts("policy.schema.json", "rules: [{immutable_tags: ['v*']}]")


def test_every_field_is_explained() -> None:
    for name, _ in SCHEMAS:
        schema = json.loads((DOCS / name).read_text())
        fields = schema["properties"] | schema["$defs"].get("Rule", {}).get("properties", {})
        silent = [field for field, one in fields.items() if not ("description" in one or "$ref" in one)]
        assert silent == [], name
