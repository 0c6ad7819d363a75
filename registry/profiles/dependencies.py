"""What packs ask of each other: judged, explained, and the smallest change that would do.

The rules (reference of the format; both ends of a range belong to it):
* `required`: the named pack is there, in the range; `optional`: if it is there, in the range;
* `notSupported`: versions in the range are refused;
* `upgrade`: the version that the cluster has now is in the range, for it to move to this one.

A name like `kubernetes` means one distribution alone, so that a bound on it checks nothing on others. Where the named
pack of layer k8s is not there, the profile's Kubernetes is compared all the same, as advice.

>>> [problem.text for problem in problems({"elastic-stack": "0.19.0"}, needs, Has())]
['elastic-stack 0.19.0 requires elastic-operator 3.3.2 or newer, which is not in the profile']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from registry.packs.model import Dependency
from registry.packs.versions import Range, Version

Needs = Callable[[str, str], Sequence[Dependency] | None]
"""Returns what a version of a pack asks for; None if that version is not known."""
Versions = Callable[[str], Sequence[str]]
"""Returns the known versions of a pack, the newest first."""
MOST_CHANGES = 4
MOST_STEPS = 20_000
_FORBIDDING = {"notSupported"}


@dataclass(frozen=True, slots=True)
class Has:
    """What is there beside the profile."""

    packs: Mapping[str, str] = field(default_factory=dict)
    """Packs that other profiles put on the cluster."""
    kubernetes: str = ""
    before: Mapping[str, str] | None = None
    """Packs of the profile that is replaced; None for a new cluster."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A dependency that does not hold: the name of its finding, the words, and who is concerned."""

    finding: str
    text: str
    pack: str
    needs: Dependency

    @property
    def can_be_solved(self) -> bool:
        """Whether other versions in the profile would help."""
        return self.finding in {"dependency-missing", "dependency-version", "dependency-refused"}


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a proposal: another version of a pack, or a pack that is added."""

    pack: str
    before: str
    after: str
    because: str = ""
    """The problem that it mends; what the change itself asks for is the reason of the next one."""

    def __str__(self) -> str:
        act = f"set {self.pack} from {self.before} to {self.after}" if self.before else f"add {self.pack} {self.after}"
        return f"{act}, because {self.because}" if self.because else act


def problems(packs: Mapping[str, str], needs: Needs, has: Has) -> list[Problem]:
    """Return everything that does not hold between the packs of a profile, in its order."""
    found: list[Problem] = []
    for pack, version in packs.items():
        for dependency in needs(pack, version) or ():
            found += _judge(pack, version, dependency, packs, has)
    return found


def proposal(packs: Mapping[str, str], needs: Needs, versions: Versions, has: Has) -> Sequence[Change] | None:
    """Return the fewest changes after which the profile's dependencies hold; None if there are none.

    Tried are other known versions and additions, up to four together; of equally few the one that comes first with
    newer versions before older ones. Nothing is taken away.
    """
    search = _Search(packs, needs, versions, has)
    for most in range(1, MOST_CHANGES + 1):
        if (changes := search.within(dict(packs), most)) is not None:
            return changes
    return None


@dataclass
class _Search:
    packs: Mapping[str, str]
    needs: Needs
    versions: Versions
    has: Has
    steps: int = 0
    kinds: dict[tuple[str, str], object | None] = field(default_factory=dict)

    def within(self, state: dict[str, str], left: int, made: tuple[Change, ...] = ()) -> tuple[Change, ...] | None:
        """Return at most `left` more changes after which no problem is left; each pack changes once."""
        self.steps += 1
        open_ones = [problem for problem in problems(state, self.needs, self.has) if problem.can_be_solved]
        if not open_ones:
            return made
        if not left or self.steps > MOST_STEPS:
            return None
        problem = open_ones[0]
        for name in (problem.needs.pack, problem.pack):
            if name in self.has.packs or any(change.pack == name for change in made):
                continue
            for version in self._candidates(name, state):
                change = Change(name, self.packs.get(name, ""), version, problem.text)
                found = self.within({**state, name: version}, left - 1, (*made, change))
                if found is not None:
                    return found
        return None

    def _candidates(self, name: str, state: Mapping[str, str]) -> Iterator[str]:
        """Yield versions to try, the newest of each kind: those that ask the same and fit the same bounds are one."""
        seen: set[object] = set()
        for version in self.versions(name):
            kind = self._kind(name, version)
            if version != state.get(name) and kind is not None and kind not in seen:
                seen.add(kind)
                yield version

    def _kind(self, name: str, version: str) -> object | None:
        """Return what tells versions apart for a search; None for a version that cannot be read."""
        if (name, version) not in self.kinds:
            asks, seen = self.needs(name, version), _read(version)
            fits = seen and tuple(bound.holds(seen) for bound in self.bounds.get(name, ()))
            self.kinds[name, version] = None if asks is None or fits is None else (tuple(asks), fits)
        return self.kinds[name, version]

    @cached_property
    def bounds(self) -> Mapping[str, Sequence[Range]]:
        """Every bound on each pack that some version of the packs within reach has."""
        found: dict[str, list[Range]] = {}
        seen, open_ones = set(self.packs), list(self.packs)
        while open_ones:
            name = open_ones.pop()
            for version in dict.fromkeys((*self.versions(name), *filter(None, [self.packs.get(name)]))):
                for dependency in self.needs(name, version) or ():
                    if (bound := _range(dependency)) is not None:
                        found.setdefault(dependency.pack, []).append(bound)
                    if dependency.pack not in seen:
                        seen.add(dependency.pack)
                        open_ones.append(dependency.pack)
        return found


def _judge(pack: str, version: str, one: Dependency, packs: Mapping[str, str], has: Has) -> Iterator[Problem]:
    title, bound = f"{pack} {version}", _range(one)
    if bound is None or not one.pack:
        return  # `pack lint` names it
    there = packs.get(one.pack) or has.packs.get(one.pack)
    where = "the profile has" if one.pack in packs else "the cluster has"
    if one.kind == "upgrade":
        yield from _upgrade(title, pack, one, bound, has)
    elif there is None:
        if one.kind == "required":
            text = f"{title} requires {one.pack} {bound}, which is not in the profile"
            yield Problem("dependency-missing", text, pack, one)
        elif one.layer == "k8s" and has.kubernetes:
            yield from _advice(title, pack, one, bound, has.kubernetes)
    elif (seen := _read(there)) is None:
        text = f"{title} is {one.kind} for {one.pack} {bound}; {where} {there}, which is no version"
        yield Problem("version-not-compared", text, pack, one)
    elif one.kind in _FORBIDDING:
        if bound.holds(seen):
            text = f"{title} does not support {one.pack} {bound}; {where} {there}"
            yield Problem("dependency-refused", text, pack, one)
    elif not bound.holds(seen):
        verb = "requires" if one.kind == "required" else "works with"
        yield Problem("dependency-version", f"{title} {verb} {one.pack} {bound}; {where} {there}", pack, one)


def _upgrade(title: str, pack: str, one: Dependency, bound: Range, has: Has) -> Iterator[Problem]:
    before = (has.before or {}).get(one.pack)
    if before is None:
        return
    seen = _read(before)
    if seen is None:
        yield Problem("version-not-compared", f"{title} replaces {one.pack} {before}, which is no version", pack, one)
    elif not bound.holds(seen):
        text = f"{title} can replace {one.pack} {bound}; the cluster has {before}"
        yield Problem("upgrade-refused", text, pack, one)


def _advice(title: str, pack: str, one: Dependency, bound: Range, kubernetes: str) -> Iterator[Problem]:
    seen = _read(kubernetes)
    is_wrong = seen is not None and (bound.holds(seen) if one.kind in _FORBIDDING else not bound.holds(seen))
    if is_wrong:
        verb = "does not support" if one.kind in _FORBIDDING else "is meant for"
        text = f"{title} {verb} {one.pack} {bound}; here Kubernetes is {kubernetes}"
        yield Problem("kubernetes-advisory", text, pack, one)


def _range(one: Dependency) -> Range | None:
    try:
        return Range.parse(one.min_version, one.max_version)
    except ValueError:
        return None


def _read(version: str) -> Version | None:
    try:
        return Version.read(version)
    except ValueError:
        return None
