"""What people found in the real packs by reading them, and what the linter says, in the same words.

A file of `tests/data/pack_findings` is what one reader wrote about one pack: from the pack itself and `docs/packs.md`
alone, before there was a linter. `about` names what a finding is about; under `unsure` the reader says where the page
could be read in two ways, and which one was taken.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from registry.packs.findings import Finding
from registry.packs.references import Image

DATA = Path(__file__).parent / "data/pack_findings"
Found = tuple[str, str]
"""Name of a finding, and what it is about."""

# What a finding is about, in its own text. Others are about their file, or are said once.
_IN_TEXT: Mapping[str, str] = {
    "bound-padded": r"(?P<a>\S+): (?P<b>\S+ \S+) means",
    "chart-key-by-file": r"(\S+) is",
    "chart-values-flat": r"values of (\S+) stand",
    "chart-version-differs": r"the chart is ([^,]+),",
    "egress-possible": r"(\S+) in",
    "field-unknown": r"(\S+) is",
    "folder-name-differs": r".*, the pack (\S+)",
    "image-annotated": r"(\S+) is",
    "image-by-macro": r"(\S+) depends",
    "image-host-differs": r"(\S+) is used",
    "image-host-implicit": r"(\S+) means",
    "image-latest": r"(\S+) in",
    "image-possible": r"(\S+) is named",
    "image-undeclared": r"(\S+) is used",
    "image-unused": r"(\S+) is not named",
    "image-without-tag": r"(\S+) in",
    "images-not-pinned": r"(\d+) of",
    "listed-file-missing": r"\w+ lists ([^,]+),",
    "preset-enabled-unknown": r"there is no preset (.+)",
    "preset-remove-unknown": r".* removes (\S+)",
    "value-to-fill": r"(\S+) is required",
    "version-not-semver": r"(\S+) is no",
}
_SAID_ONCE: Mapping[str, str] = {
    "images-not-declared": "pack.content.images",
    "namespace-missing": "pack.namespace",
    "pack-deprecated": "system_state",
    "readme-missing": "README.md",
}
_IMAGE = re.compile("image-(?!pull-always)")


def told(finding: Finding) -> Found:
    """Return what the linter said as name and what it is about."""
    name = finding.reference
    if name in _SAID_ONCE:
        return name, _SAID_ONCE[name]
    if name == "render-failed":  # Helm names the template; the readers did, too
        template = re.search(r"template: ([^:]+):", finding.text) or re.search(r"([\w./-]+\.yaml)", finding.text)
        return name, template[1].rpartition("manifests/")[2] if template else finding.text
    if name not in _IN_TEXT:
        return name, finding.file
    seen = re.match(_IN_TEXT[name], finding.text)
    assert seen, f"{name} says something else now: {finding.text}"
    return name, spelled(name, " ".join(seen.groups()))


def spelled(name: str, about: str) -> str:
    """Return an image with host and path spelled out, anything else as it is."""
    return Image.parse(about).spelled if _IMAGE.match(name) and "{{" not in about else about


def read(path: Path) -> Mapping[str, Any]:
    """Return what its reader wrote about a pack."""
    value: Mapping[str, Any] = yaml.safe_load(path.read_text())
    return value


def expected(written: Mapping[str, Any]) -> Counter[Found]:
    """Return what should be found."""
    return Counter((one["name"], spelled(one["name"], one["about"])) for one in written["findings"])


def differences(seen: Counter[Found], wanted: Counter[Found]) -> Iterator[str]:
    """Yield a line for each finding that only one of the two has."""
    yield from (f"the linter alone: {name} {about}" for name, about in sorted((seen - wanted).elements()))
    yield from (f"the reader alone: {name} {about}" for name, about in sorted((wanted - seen).elements()))
