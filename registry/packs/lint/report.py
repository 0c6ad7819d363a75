"""A pack judged: all findings, worst first, and the inventory of its images.

>>> report = lint(read_files(Path("packs/web-1.0.0")), helm)
>>> [finding.reference for finding in report.findings]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.errors import DefinitionError
from registry.packs.content import PackContent
from registry.packs.findings import RULES, SEVERITIES, Finding, worst_first
from registry.packs.helm import Helm
from registry.packs.images import ANY, Inventory, inventory
from registry.packs.lint import charts, constraints, files, images, macros, metadata, presets, schema, values
from registry.packs.model import PackMetadata
from registry.packs.reading import PackFiles
from registry.packs.rendering import Offered

JUDGES: Sequence[Callable[[PackContent], Iterator[Finding]]] = (
    files.judge,
    constraints.judge,
    values.judge,
    charts.judge,
    schema.judge,
    presets.judge,
    macros.judge,
)


@dataclass(frozen=True)
class Report:
    """What was found in one pack."""

    where: str
    metadata: PackMetadata | None
    """None if `pack.json` is none."""
    findings: Sequence[Finding]
    inventory: Inventory | None

    def count(self, severity: str) -> int:
        """Return how many findings there are of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def refused(self, allowed: Collection[str] = ()) -> Sequence[Finding]:
        """Return the errors, without those that a person allowed by name."""
        return [one for one in self.findings if one.severity == "error" and one.reference not in allowed]

    def as_json(self, allowed: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the report as documented for `--json`; `allowed` are names with reasons."""
        about = self.metadata
        return {
            "where": self.where,
            "name": about.name if about else "",
            "version": about.version if about else "",
            "layer": about.layer if about else "",
            "method": self.inventory.method if self.inventory else "",
            "counts": {f"{severity}s": self.count(severity) for severity in SEVERITIES},
            "allowed": dict(allowed or {}),
            "findings": [finding.as_json() for finding in self.findings],
        }


def lint(pack: PackFiles, helm: Helm | None, offered: Offered = ANY) -> Report:
    """Return all findings about a pack. Without `helm` images are looked for by the static check."""
    found = list(metadata.judge(pack))
    try:
        content = PackContent.of(pack)
    except DefinitionError:
        # What makes the pack unreadable is among the findings by its own name already.
        return Report(pack.where, None, worst_first(found), None)
    found += content.findings
    for judge in JUDGES:
        found += judge(content)
    stock = inventory(content, helm, offered)
    found += charts.failures(stock)
    found += images.judge(content, stock)
    found = [one for one in found if one.reference != "images-not-declared" or content.installs]
    return Report(pack.where, content.metadata, worst_first(found), stock)


def known(name: str) -> bool:
    """Say whether a finding is called so."""
    return name in RULES
