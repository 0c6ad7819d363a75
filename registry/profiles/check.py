"""A profile judged: values, dependencies with the smallest change that mends them, resources, and the order.

>>> report = check(profile, library, Given({"REGION": "eu"}), helm)
>>> [finding.reference for finding in report.findings], [str(change) for change in report.proposal]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.errors import DryportError
from registry.packs.findings import Finding, worst_first
from registry.packs.helm import Helm
from registry.packs.lint.schema import rules
from registry.packs.model import Dependency
from registry.packs.scalars import Value
from registry.packs.schema import places, split_path
from registry.profiles import dependencies, order, resources
from registry.profiles.composing import Composed, Part, compose, place
from registry.profiles.dependencies import Change, Has
from registry.profiles.library import Library
from registry.profiles.model import Profile
from registry.profiles.rendering import Rendered, rendered
from registry.profiles.variables import judged

ONE_OF = frozenset({"kernel", "os", "k8s", "cni"})
INFRASTRUCTURE = ("os", "k8s", "cni")


@dataclass(frozen=True, slots=True)
class Given:
    """What a profile is checked with."""

    variables: Mapping[str, Value] = field(default_factory=dict)
    before: Profile | None = None
    """The profile that this one replaces."""


@dataclass(frozen=True)
class Report:
    """What was found, and what would be installed."""

    profile: Profile
    findings: Sequence[Finding]
    steps: Sequence[order.Step]
    proposal: Sequence[Change] | None
    """Changes that mend all dependencies; empty if nothing is to mend, None if no few changes do."""
    images: Sequence[str]
    method: str
    composed: Composed

    @property
    def errors(self) -> Sequence[Finding]:
        """The findings that stand in the way."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def as_json(self) -> dict[str, Any]:
        """Return the report as documented for `--json`."""
        return {
            "profile": self.profile.name,
            "version": self.profile.version,
            "type": self.profile.type,
            "method": self.method,
            "order": order.shown(self.steps),
            "images": list(self.images),
            "findings": [finding.as_json() for finding in self.findings],
            "solvable": self.proposal is not None,
            "proposal": [
                {"pack": one.pack, "from": one.before, "to": one.after, "because": one.because}
                for one in self.proposal or ()
            ],
        }


def check(profile: Profile, library: Library, given: Given, helm: Helm | None) -> Report:
    """Return everything that is to be said of a profile."""
    variables, found = judged(profile, given.variables)
    composed = compose(profile, library, variables)
    found += composed.findings
    found += _layers(composed)
    found += [finding for part in composed.parts for finding in (*_pack(composed, part), *_values(part))]
    has = Has(profile.cluster.packs, composed.kubernetes, _versions(given.before))
    faults, proposal = _dependencies(composed, library, has)
    found += faults
    found += resources.judge(composed)
    steps, odd = order.installed(composed)
    made = rendered(composed, steps, helm) if helm else Rendered()
    found += [*odd, *made.findings]
    if helm is None and any(part.content.installs for part in composed.parts):
        found.append(Finding("images-static", "there is no Helm: nothing was rendered"))
    method = "helm" if helm else "static"
    images = made.images if helm else _declared(composed)
    return Report(profile, worst_first(found), steps, proposal, images, method, composed)


def _layers(composed: Composed) -> Iterator[Finding]:
    profile = composed.profile
    seen: dict[str, str] = {}
    layers: dict[str, str] = {}
    for part in composed.parts:
        name, layer, where = part.entry.pack, part.content.metadata.layer, place(part.number)
        if name in seen:
            yield Finding("pack-twice", f"{part.title} beside {seen[name]}", where)
        seen.setdefault(name, part.title)
        if layer in ONE_OF and layer in layers and layers[layer] != name:
            yield Finding("layer-twice", f"{name} and {layers[layer]} are both of layer {layer}", where)
        layers.setdefault(layer, name)
        is_addon = layer == "addon"
        if (profile.type == "add-on" and layer in ONE_OF) or (profile.type == "infrastructure" and is_addon):
            yield Finding("layer-not-allowed", f"{name} is of layer {layer}, the profile is {profile.type}", where)
    if profile.type != "add-on" and len(composed.parts) == len(profile.packs):
        for missing in INFRASTRUCTURE:
            if missing not in layers:
                yield Finding("layer-missing", f"a profile of type {profile.type} has a pack of layer {missing}")


def _pack(composed: Composed, part: Part) -> Iterator[Finding]:
    about, where, cloud = part.content.metadata, place(part.number), composed.profile.cluster.cloud
    state = about.annotations.get("system_state", "")
    if state in {"deprecated", "deleted"}:
        yield Finding(f"pack-{state}", f"the author of {part.title} calls it {state}", where)
    if about.end_of_life:
        yield Finding("pack-end-of-life", f"{part.title} is supported until {about.end_of_life}", where)
    if about.annotations.get("airgap", "").lower() == "false":
        yield Finding("airgap-unsupported", f"{part.title} does not work without internet, says its author", where)
    if cloud and about.cloud_types and not {"all", cloud} & set(about.cloud_types):
        text = f"{part.title} is for {', '.join(about.cloud_types)}, the cluster's cloud is {cloud}"
        yield Finding("cloud-not-supported", text, where)
    yield from _keys(part, where)


def _keys(part: Part, where: str) -> Iterator[Finding]:
    """Yield keys of the profile's own values that belong to no chart and no manifest."""
    charts, manifests = part.entry.values.get("charts"), part.entry.values.get("manifests")
    known = {chart.key for chart in part.content.charts}
    is_flat = any(chart.way == "flat" for chart in part.content.charts)
    for key in charts if isinstance(charts, dict) and not is_flat else ():
        if key not in known:
            yield Finding("chart-key-unmatched", f"{part.entry.pack}: {key} is none of its charts", where)
    keys = {one.key for one in part.content.manifests}
    for key in manifests if isinstance(manifests, dict) else ():
        if key not in keys:
            yield Finding("manifest-key-unmatched", f"{part.entry.pack}: {key} is none of its manifests", where)


def _values(part: Part) -> Iterator[Finding]:
    where = place(part.number)
    for path, rule in rules(part.content.files.contents.get("schema.yaml", b"")).items():
        keys = split_path(path)
        found = list(places(part.values, keys))
        if rule.required and (not found or any(value in (None, "") for _, value in found)):
            yield Finding("value-missing", f"{part.entry.pack}: {path} is required", where)
        for at, value in found:
            if rule.form and value not in (None, "") and (fault := rule.form.fault(value)):
                yield Finding("value-refused", f"{part.entry.pack}: {at}: {fault}", where)
        if rule.readonly and any(True for _ in places(part.entry.values, keys)):
            before = list(places(part.content.values, keys))
            if found != before:
                yield Finding("value-read-only", f"{part.entry.pack}: {path} may not be changed", where)


def _dependencies(composed: Composed, library: Library, has: Has) -> tuple[list[Finding], Sequence[Change] | None]:
    packs = {part.entry.pack: part.entry.version for part in composed.parts}
    given = {(part.entry.pack, part.entry.version): part for part in composed.parts}

    def needs(name: str, version: str) -> Sequence[Dependency] | None:
        if (name, version) in given:
            return given[name, version].content.metadata.constraints.dependencies
        try:
            known = library.get(name, version)
        except DryportError:
            return None
        return known.content.metadata.constraints.dependencies if known else None

    faults = dependencies.problems(packs, needs, has)
    numbers = {part.entry.pack: part.number for part in composed.parts}
    findings = [Finding(one.finding, one.text, place(numbers[one.pack])) for one in faults]
    if not any(one.can_be_solved for one in faults):
        return findings, ()
    return findings, dependencies.proposal(packs, needs, library.versions, has)


def _versions(profile: Profile | None) -> Mapping[str, str] | None:
    return {entry.pack: entry.version for entry in profile.packs} if profile else None


def _declared(composed: Composed) -> Sequence[str]:
    return sorted({image.reference for part in composed.parts for image in part.content.images})
