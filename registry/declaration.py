"""What people declare in YAML: read strictly, and each field that does not fit its model told as one finding.

A key that stands twice would make one of its values vanish without a word; a deep document would end the process; a
file without end would fill the memory. All are refused before a model sees anything.

>>> Site.model_validate(load(Path("site.yaml")))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from registry.errors import DryportError

DECLARATION_BYTES = 1 << 20
MAX_DEPTH = 64
QUICK_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Family = TypeVar("Family", bound=DryportError)


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found = super().construct_mapping(node, deep)
        if len(found) != len(node.value):
            raise yaml.constructor.ConstructorError("while reading a mapping", node.start_mark, "a key is there twice")
        return found


def load(path: Path) -> Any:  # noqa: ANN401 - YAML is any value until a model reads it
    """Return the YAML value in a file. Raises OSError; ValueError for what is no YAML, too large or too deep."""
    data = _bounded(path)
    try:
        check_depth(data, MAX_DEPTH)
        return yaml.load(data, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def read(data: bytes, most: int) -> Any:  # noqa: ANN401 - as above
    """Return the YAML value in foreign bytes that lie nested `most` deep at most. Raises ValueError."""
    try:
        check_depth(data, most)
        return yaml.load(data, Loader=QUICK_LOADER)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def load_all(path: Path) -> Sequence[Any]:
    """Return the values of all documents in a file. Raises like `load`."""
    data = _bounded(path)
    try:
        check_depth(data, MAX_DEPTH)
        return list(yaml.load_all(data, Loader=_Loader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(DECLARATION_BYTES + 1)
    if len(data) > DECLARATION_BYTES:
        raise ValueError(f"more than {DECLARATION_BYTES} bytes")
    return data


def check_depth(data: bytes, most: int) -> None:
    """Raise ValueError for YAML nested deeper than `most`; on the event stream, because composing recurses."""
    depth = 0
    for event in yaml.parse(data, Loader=QUICK_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > most:
                raise ValueError(f"YAML nested deeper than {most}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def findings(error: ValidationError, family: type[Family], reference: str) -> list[Family]:
    """Return one error of `family` for each field that a model refused."""
    return [family(reference, one["msg"], where=".".join(map(str, one["loc"])) or "(top)") for one in error.errors()]
