"""A profile's packs put together: each with its values, presets applied, and every macro resolved.

A macro `.spectro.pack.NAME.PATH` reads another pack's value, which may hold macros itself: they are followed, and a
circle is named.

>>> composed = compose(profile, library, {"REGION": "eu"})
>>> composed.parts[0].values["charts"]["web"]["region"]
'eu'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from registry.errors import DryportError
from registry.packs.content import PackContent
from registry.packs.findings import Finding
from registry.packs.macros import Context, MacroError, is_open
from registry.packs.presets import merged
from registry.packs.rendering import with_macros
from registry.packs.scalars import Value
from registry.packs.schema import places, spelled
from registry.profiles.library import Known, Library, digest_of
from registry.profiles.model import PackEntry, Profile

FILE = "profile"


@dataclass
class Part:
    """A pack of the profile with its values."""

    number: int
    entry: PackEntry
    known: Known
    raw: Value
    """Values with macros in them."""
    values: Value = field(default_factory=dict)
    """Values without any."""

    @property
    def content(self) -> PackContent:
        """The pack."""
        return self.known.content

    @property
    def title(self) -> str:
        """`name version`."""
        return self.entry.title


@dataclass
class Composed:
    """The packs of a profile that were found, in its order, and what was found about them."""

    profile: Profile
    parts: list[Part]
    findings: list[Finding]
    kubernetes: str
    """The version of Kubernetes, as the cluster or the profile's own pack says; empty if neither does."""

    def part(self, name: str) -> Part | None:
        """Return the part of a pack."""
        return next((part for part in self.parts if part.entry.pack == name), None)


def compose(profile: Profile, library: Library, variables: Mapping[str, str]) -> Composed:
    """Return the profile's packs with all values final."""
    findings: list[Finding] = []
    parts = [part for number, entry in enumerate(profile.packs) for part in _part(number, entry, library, findings)]
    own = next((part.entry.version for part in parts if part.content.metadata.layer == "k8s"), "")
    composed = Composed(profile, parts, findings, profile.cluster.kubernetes or own)
    meaning = _Meaning(composed, variables)
    for part in parts:
        part.values = meaning.resolved(part)
    findings += meaning.faults()
    return composed


def place(number: int) -> str:
    """Return where an entry stands, for people."""
    return f"packs[{number}]"


def _part(number: int, entry: PackEntry, library: Library, findings: list[Finding]) -> Iterator[Part]:
    where = place(number)
    try:
        known = library.at(entry.path) if entry.path else library.get(entry.pack, entry.version)
    except DryportError as error:
        findings.append(Finding("pack-unusable", f"{entry.title}: {error.message}", where))
        return
    seen = known.content.metadata if known else None
    if known is None or seen is None or (seen.name, seen.version) != (entry.pack, entry.version):
        there = f": {entry.path} holds {seen.name} {seen.version}" if seen else ""
        versions = library.versions(entry.pack) if not seen else []
        also = f"; known are {', '.join(versions[:5])}" if versions else ""
        findings.append(Finding("pack-not-found", f"{entry.title} is not there{there}{also}", where))
        return
    if entry.digest is not None and (digest := digest_of(known)) != entry.digest:
        findings.append(Finding("pack-digest-differs", f"{entry.title} is {digest}, pinned is {entry.digest}", where))
    yield Part(number, entry, known, _values(number, entry, known.content, findings))


def _values(number: int, entry: PackEntry, content: PackContent, findings: list[Finding]) -> Value:
    values, where = content.values, place(number)
    chosen: set[str] = set()
    known = {preset.title: preset for preset in content.presets}
    for title in entry.presets:
        preset = known.get(title)
        if preset is None:
            offered = f"; there are {', '.join(known)}" if known else "; it has none"
            findings.append(Finding("preset-unknown", f"{entry.pack} has no preset {title}{offered}", where))
            continue
        if preset.group in chosen:
            findings.append(Finding("preset-group-twice", f"two presets of {preset.group} for {entry.pack}", where))
        chosen.add(preset.group)
        values = preset.apply(values)
    return merged(values, entry.values)


class _Meaning:
    """What macros mean in this profile."""

    def __init__(self, composed: Composed, variables: Mapping[str, str]) -> None:
        self.composed, self.variables = composed, variables
        self.open: list[str] = []
        self.known: dict[str, str] = {}
        self.found: list[Finding] = []
        self.used: set[str] = set()
        profile, cluster = composed.profile, composed.profile.cluster
        system = {
            "clusterprofile.name": profile.name,
            "clusterprofile.version": profile.version,
            "cluster.name": cluster.name,
            "cloud.type": cluster.cloud,
            "kubernetes.version": composed.kubernetes,
            **cluster.system,
        }
        self.system = {f"spectro.system.{name}": text for name, text in system.items() if text}

    def resolved(self, part: Part) -> Value:
        """Return a part's values without macros."""
        context = Context(self.lookup)
        for macro_fault in _open_macros(part.raw):
            self.found.append(Finding("macro-invalid", f"{part.entry.pack}: {macro_fault}", place(part.number)))
        try:
            values = with_macros(part.raw, context)
        except MacroError as error:
            self.found.append(Finding("macro-invalid", f"{part.entry.pack}: {error}", place(part.number)))
            values = part.raw
        for name in context.unresolved:
            self._unresolved(part, name)
        return values

    def faults(self) -> list[Finding]:
        """Return what was found, variables that nothing uses included."""
        declared = [variable.name for variable in self.composed.profile.variables]
        unused = [name for name in declared if name not in self.used]
        return [*self.found, *(Finding("variable-unused", f"no value uses {name}") for name in unused)]

    def lookup(self, name: str) -> str | None:
        """Return what a macro means; None if nobody knows."""
        kind, _, rest = name.removeprefix("spectro.").partition(".")
        if kind == "var":
            self.used.add(rest)
            return self.variables.get(rest)
        if kind == "pack":
            return self._of_pack(rest)
        return self.system.get(name)

    def _of_pack(self, rest: str) -> str | None:
        part = next((one for one in self.composed.parts if rest.startswith(f"{one.entry.pack}.")), None)
        if part is None:
            return None
        path = rest.removeprefix(f"{part.entry.pack}.")
        value = next((value for _, value in places(part.raw, path.split("."))), None)
        if isinstance(value, (list, dict)) or value is None:
            return None
        if rest in self.known:  # each is resolved once, or a chain of doublings would take for ever
            return self.known[rest]
        text = spelled(value)
        if rest in self.open:
            way = " -> ".join([*self.open[self.open.index(rest) :], rest])
            self.found.append(Finding("macro-cycle", f".spectro.pack: {way}", place(part.number)))
            return ""
        self.open.append(rest)
        try:
            self.known[rest] = Context(self.lookup).resolve(text)
            return self.known[rest]
        finally:
            self.open.pop()

    def _unresolved(self, part: Part, name: str) -> None:
        kind, _, rest = name.removeprefix("spectro.").partition(".")
        declared = {variable.name for variable in self.composed.profile.variables}
        if kind == "var" and rest in declared:
            return  # its own finding says that it has no value
        reference = "variable-undeclared" if kind == "var" else "macro-unresolved"
        self.found.append(Finding(reference, f"{part.entry.pack} uses .{name}", place(part.number)))


def _open_macros(value: Value) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _open_macros(item)
    elif isinstance(value, list):
        for item in value:
            yield from _open_macros(item)
    elif isinstance(value, str) and is_open(value):
        yield f"a macro is not closed in {value[:60]!r}"
