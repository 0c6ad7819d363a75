"""The page on the definition is held to the models and to the errors that can come up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bundles import definition
from bundles.definition import Definition, Section

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/definition.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
HEAD = {"apiVersion": "dryport/v1", "kind": "Bundle", "product": "x", "version": "1.0.0", "platforms": ["linux/amd64"]}
MODELS = [model for model in vars(definition).values() if isinstance(model, type) and issubclass(model, Section)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split(":")[0])
def test_every_example_is_a_valid_definition(example: str) -> None:
    Definition.model_validate(HEAD | yaml.safe_load(example))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_is_explained(model: type[Section]) -> None:
    assert [name for name in model.model_fields if f"`{name}`" not in PAGE] == []


def test_every_optional_key_of_an_entry_is_used_in_an_example() -> None:
    used = set(re.findall(r"(?:^|[{\s])(\w+):", "\n".join(EXAMPLES)))
    assert {name for model in MODELS for name in model.model_fields} - used == set()


def test_every_error_that_resolving_raises_is_listed() -> None:
    sources = [ROOT / "bundles/definition.py", *(ROOT / "bundles/sources").rglob("*.py")]
    raised = {
        name
        for path in sources
        for name in re.findall(r'(?:Error|fault)\(\s*f?"([a-z]+(?:-[a-z{}]+)+)"', path.read_text())
        if name not in {"definition-field", "image-not-carried"}  # findings inside a listed error
    }
    assert {"image-missing", "apt-unresolvable", "checksum-mismatch"} < raised, "the search finds what is there"
    assert [name for name in sorted(raised) if f"`{name}`" not in PAGE and "{" not in name] == []
