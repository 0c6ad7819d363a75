"""Removing at a target what its source no longer has: first a file that a person reads, then exactly what it says.

Nothing is removed because it is absent somewhere: only because it stands in the file, and only while the tag still
names the manifest that the file says. What a registry then frees on its disk is its own collection's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from registry.content import ContentSource
from registry.declaration import load
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.oci.reference import repository_name, tag_name
from registry.store import durable

API_VERSION = "dryport/v1"
KIND = "MirrorRemoval"


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag at the target, and what it names."""

    repository: str
    tag: str
    digest: Digest

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True, slots=True)
class Removal:
    """What is to be removed, and where."""

    target: str
    tags: Sequence[Tagged]

    def write(self, path: Path) -> None:
        """Write the file, durably."""
        value = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "target": self.target,
            "tags": [{"repository": one.repository, "tag": one.tag, "digest": str(one.digest)} for one in self.tags],
        }
        durable.replace(path, yaml.safe_dump(value, sort_keys=False).encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return what a file says. Raises DefinitionError for anything else."""
        try:
            value = _checked(load(path))
            return cls(_text(value, "target"), tuple(_tagged(entry) for entry in value.get("tags") or ()))
        except (OSError, ValueError, TypeError) as error:
            raise DefinitionError(
                "removal-invalid",
                str(error),
                where=str(path),
                hint="write it anew, with --plan",
            ) from error


def surplus(
    source: ContentSource, held: ContentSource, repositories: Sequence[str], place: Callable[[str], str]
) -> Sequence[Tagged]:
    """Return the tags that the target has in the places of these repositories and the source has not."""
    found = []
    for repository in repositories:
        there = place(repository)
        kept = set(source.tags(repository))
        for tag in sorted(set(held.tags(there)) - kept):
            named = held.resolve(there, tag)
            if named:
                found.append(Tagged(there, tag, named.digest))
    return found


def _checked(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or (value.get("apiVersion"), value.get("kind")) != (API_VERSION, KIND):
        raise ValueError(f"not a {KIND} of {API_VERSION}")
    return value


def _tagged(entry: Any) -> Tagged:  # noqa: ANN401 - whatever YAML holds
    if not isinstance(entry, Mapping):
        raise ValueError("an entry is no map")
    return Tagged(
        repository_name(_text(entry, "repository")), tag_name(_text(entry, "tag")), Digest.parse(_text(entry, "digest"))
    )


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    if not isinstance(found, str):
        raise ValueError(f"{key} is missing or no text")
    return found
