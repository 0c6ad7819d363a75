"""In which order packs are installed: layers first, then priority, then what is required, then the profile's own order.

>>> [step.part.entry.pack for step in installed(composed)[0]]
['csi-driver-nfs', 'elastic-operator', 'elastic-stack']
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from registry.packs.content import additional
from registry.packs.findings import Finding
from registry.packs.lint.values import PRIORITY
from registry.packs.schema import spelled
from registry.profiles.composing import Composed, Part, place

LAYERS = ("kernel", "os", "k8s", "cni", "csi", "addon")


@dataclass(frozen=True, slots=True)
class Step:
    """One pack in its turn."""

    part: Part
    layer: str
    priority: int
    namespace: str
    namespaces: tuple[str, ...]
    """Additional ones."""
    releases: tuple[tuple[str, str], ...]
    """Each chart with its release name."""
    manifests: tuple[str, ...]


def installed(composed: Composed) -> tuple[list[Step], list[Finding]]:
    """Return the packs in the order of their installation, and what is odd about it."""
    waiting = sorted((_step(part) for part in composed.parts), key=_rank)
    names = {step.part.entry.pack for step in waiting}
    order: list[Step] = []
    findings: list[Finding] = []
    while waiting:
        done = {step.part.entry.pack for step in order}
        first = _rank(waiting[0])[:2]
        ready = [step for step in waiting if _rank(step)[:2] == first]
        # Within one layer and priority what is required goes first; a circle is broken at the profile's own order.
        chosen = next((step for step in ready if _required(step) & names <= done), ready[0])
        for name in sorted(_required(chosen) & names - done):
            text = f"{chosen.part.entry.pack} goes before {name}, which it requires"
            findings.append(Finding("order-before-required", text, place(chosen.part.number)))
        order.append(chosen)
        waiting.remove(chosen)
    return order, findings


def _required(step: Step) -> set[str]:
    dependencies = step.part.content.metadata.constraints.dependencies
    return {one.pack for one in dependencies if one.kind == "required" and one.pack != step.part.entry.pack}


def _rank(step: Step) -> tuple[int, int, int]:
    return LAYERS.index(step.layer), step.priority, step.part.number


def _step(part: Part) -> Step:
    content, values = part.content, part.values
    section = values.get("pack") if isinstance(values, dict) else None
    section = section if isinstance(section, dict) else {}
    return Step(
        part=part,
        layer=content.metadata.layer,
        priority=_priority(section.get(PRIORITY)),
        namespace=content.namespace_in(values),
        namespaces=tuple(additional(section)),
        releases=tuple((chart.name, content.release_in(values, chart)) for chart in content.charts),
        manifests=tuple(one.path for one in content.manifests),
    )


def _priority(value: object) -> int:
    try:
        return int(spelled(value).strip()) if value is not None and not isinstance(value, bool) else 0
    except ValueError:
        return 0


def shown(steps: Sequence[Step]) -> list[dict[str, object]]:
    """Return the order as documented for `--json`."""
    return [
        {
            "pack": step.part.entry.pack,
            "version": step.part.entry.version,
            "layer": step.layer,
            "priority": step.priority,
            "namespace": step.namespace,
            "namespaces": list(step.namespaces),
            "releases": [{"chart": chart, "release": release} for chart, release in step.releases],
            "manifests": list(step.manifests),
            "source": step.part.known.source,
        }
        for step in steps
    ]
