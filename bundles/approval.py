"""What whoever approves an import wants to know: licences as they are stated, and advisories that somebody gave.

Advisories come from a file at lock time: dryport knows of none by itself, and asks nobody. What matches stands in the
lock, so that it crosses the gap with the content. A licence that is not stated is `unknown`, not guessed.

>>> matching(read(Path("advisories.json")), lock.artifacts)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bundles.lock import AptPackage, Inline, LockedAdvisory, LockedArtifact, Wheel
from registry.declaration import findings, load
from registry.errors import DefinitionError
from registry.mirror.selection import Wanted
from registry.oci import strictjson

LICENCES = "org.opencontainers.image.licenses"
_NUMBERS = re.compile(r"v?[0-9]+(\.[0-9]+){0,3}(\+[0-9A-Za-z.-]+)?")
"""Versions that a range can judge. Words behind a hyphen may be a pre-release, or the name of a system: `-alpine`."""
HINT = "mend what is named here; docs/definition.md shows such a file"


class Advisory(BaseModel):
    """One advisory: what is affected, by name and version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{2,80}$")
    severity: Literal["low", "medium", "high", "critical", "unknown"] = "unknown"
    summary: str = Field("", max_length=500)
    kind: Literal["image", "chart", "os-package", "wheel"]
    name: str = Field(min_length=1, max_length=300)
    """An image's host and path, a chart's, a package's name."""
    versions: list[str] = Field(min_length=1)
    """Each a version as it is written, or a range of semantic versions: `>=1.2 <1.4.7`."""


class Advisories(BaseModel):
    """A whole file of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    apiVersion: Literal["dryport/v1"]  # noqa: N815 - the field's own spelling in every file of ours
    kind: Literal["Advisories"]
    advisories: list[Advisory]


def read(path: Path) -> Sequence[Advisory]:
    """Return the advisories in a file, YAML or JSON. Raises DefinitionError with every finding."""
    try:
        found = Advisories.model_validate(load(path)).advisories
        for one in found:
            for text in one.versions:
                _affects(text, "0")
    except ValidationError as error:
        raise DefinitionError(
            "advisories-invalid",
            f"{error.error_count()} finding(s) in the advisories",
            where=str(path),
            findings=findings(error, DefinitionError, "advisory-field"),
            hint=HINT,
        ) from error
    except (OSError, ValueError) as error:
        raise DefinitionError("advisories-invalid", str(error), where=str(path), hint=HINT) from error
    return found


def matching(advisories: Sequence[Advisory], artifacts: Sequence[LockedArtifact]) -> list[LockedAdvisory]:
    """Return the advisories that are about something in the lock, each with what they are about; sorted.

    Where a version cannot be compared with a range (an image by digest alone, a tag with words behind its numbers, a
    Debian version), the advisory stands there as one that a person has to judge: silence would read as all clear.
    """
    found = []
    for kind, name, version in _versions(artifacts):
        for one in advisories:
            if (one.kind, _plain(one.kind, one.name)) != (kind, _plain(kind, name)):
                continue
            verdicts = {_affects(text, version) for text in one.versions}
            if verdicts != {False}:
                about = f"{kind} {name} {version or 'by digest'}"
                is_judged = True in verdicts
                found.append(
                    LockedAdvisory(id=one.id, severity=one.severity, summary=one.summary, about=about, judged=is_judged)
                )
    return sorted(set(found), key=lambda one: (one.id, one.about))


def licence(artifact: LockedArtifact) -> str | None:
    """Return the licences that an image's own annotations state (OCI image-spec 1.1, annotations)."""
    for blob in (artifact.root, *artifact.manifests):
        if isinstance(blob.origin, Inline):
            value = strictjson.loads(blob.origin.text.encode(), limit=strictjson.METADATA_BYTES * 2)
            annotations = value.get("annotations") if isinstance(value, dict) else None
            if isinstance(annotations, dict) and isinstance(stated := annotations.get(LICENCES), str):
                return stated[:300]
    return None


def _versions(artifacts: Sequence[LockedArtifact]) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and version of everything that an advisory may be about; no version for a digest alone."""
    for artifact in artifacts:
        if artifact.kind in {"image", "chart"}:
            whole = artifact.ref.partition("@")[0]
            tag = whole.rpartition("/")[2].partition(":")[2]
            name = whole.removesuffix(f":{tag}") if tag else whole
            yield artifact.kind, name.removeprefix("dryport/charts/"), tag.replace("_", "+")
        for blob in artifact.blobs:
            match blob.origin:
                case AptPackage(package=name, version=version):
                    yield "os-package", name, version
                case Wheel(package=name, version=version):
                    yield "wheel", name, version


def _plain(kind: str, name: str) -> str:
    """Return a name as it is compared: a Python package's in its one form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower() if kind == "wheel" else name


def _affects(text: str, version: str) -> bool | None:
    """Say whether a version is meant, None where nobody can tell."""
    if text[:1] not in "<>=":
        return text == version if version else None
    wanted = Wanted("x", text)
    return wanted.takes(version) if not wanted.bounds or _NUMBERS.fullmatch(version) else None
