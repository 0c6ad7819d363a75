"""Where content of other registries lies at a mirror: one value for the copy that fills it and for all that pull.

* Everything lies at `<origin-host>/<path>`, below a mirror's base path if it has one, unless a rule says otherwise; of
  several rules the one with the longest origin counts.
* Two originals never share a place, and a place tells its original: a mapping in which they could is refused.
* Nothing leads out of the base path: a place is a repository name, which has neither `..` nor empty components.

>>> mapping = Mapping((Mirror.parse("registry.site.example:5000/hub"),), (Rule.parse("docker.io"),))
>>> str(mapping.mirrored(Reference.parse("nginx:1.27"))[0])
'registry.site.example:5000/hub/docker.io/library/nginx:1.27'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from registry.oci.reference import DEFAULT_HOST, Reference, is_host, repository_name


@dataclass(frozen=True, slots=True)
class Mirror:
    """A registry that holds others' content, below `base` ("" is its root)."""

    host: str
    base: str = ""

    def __post_init__(self) -> None:
        Reference(self.host, self.base or "x")
        if self.host != self.host.lower():
            raise ValueError(f"write a mirror's host in lower case: {self.host!r}")

    @classmethod
    def parse(cls, text: str) -> Mirror:
        """Return the mirror that `HOST[:PORT][/BASE]` names. Raises ValueError."""
        host, _, base = text.partition("/")
        if not is_host(host):
            raise ValueError(f"not a registry's host with a dot or a port: {text[:150]!r}")
        return cls(host, base)

    def repository(self, place: str) -> str:
        """Return the repository at this mirror for a place of a mapping. Raises ValueError when it is too long."""
        return repository_name(_joined(self.base, place))

    def __str__(self) -> str:
        return _joined(self.host, self.base)


@dataclass(frozen=True, slots=True)
class Rule:
    """Content of `host`, all of it or below one path, lies below `place` at the mirrors ("" stands for their root)."""

    host: str
    path: str
    place: str

    def __post_init__(self) -> None:
        Reference(self.host, self.path or "x")
        Reference(self.host, self.place or "x")

    @classmethod
    def parse(cls, origin: str, place: str | None = None) -> Rule:
        """Return the rule for `HOST[/PATH]`; without `place` its content keeps its own name. Raises ValueError."""
        host, _, path = origin.partition("/")
        if not is_host(host):
            raise ValueError(f"an origin begins with a registry's host: {origin[:150]!r}")
        reference = Reference.parse(f"{host.lower()}/x/x:x")  # also settles what the default host is called
        whole = Reference(reference.host, repository_name(path) if path else "x")
        named = whole.served_at if path else whole.served_at.removesuffix("/x")
        return cls(reference.host, path, named if place is None else place)

    @property
    def origin(self) -> str:
        """What the rule is about: `ghcr.io` or `ghcr.io/team`."""
        return _joined(self.host, self.path)


@dataclass(frozen=True)
class Mapping:
    """Mirrors in the order in which they are asked, and the rules of what lies where; equal for all mirrors.

    Without a rule for its host, content lies where it would by a rule without a place. `direct` names registries of the
    site itself, which no mirror stands for.
    """

    mirrors: Sequence[Mirror] = ()
    rules: Sequence[Rule] = ()
    direct: Sequence[str] = ()

    def __post_init__(self) -> None:
        for what, names in (
            ("mirror", [one.host for one in self.mirrors]),
            ("origin", [one.origin for one in self.rules]),
            ("direct registry", self.direct),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"a {what} is there twice: {', '.join(twice)}")
        for host in self.direct:
            Mirror(host)
            if self._is_ruled(host) or host in {one.host for one in self.mirrors}:
                raise ValueError(f"{host} is asked directly, so it is neither a mirror nor an origin")
        if both := sorted({one.host for one in self.mirrors} & {one.host for one in self.rules}):
            raise ValueError(f"a mirror stands for others, not for itself: {', '.join(both)}")
        self._refuse_collisions()

    def place(self, original: Reference) -> str:
        """Return the repository, below a mirror's base path, in which the content of `original` lies.

        Raises ValueError for what no mirror can hold: a name of a place that would be too long, or no registry's host.
        """
        host = _canonical(original.host)
        rule = self._governing(_joined(host, original.repository))
        if rule is None:
            if not is_host(host):
                raise ValueError(f"not a registry's host with a dot or a port: {host!r}")
            return Reference(host, original.repository).served_at
        place = _joined(rule.place, _below(rule.origin, _joined(host, original.repository)) or "")
        if not rule.place and _host_in(place):
            raise ValueError(f"at a mirror's root {original} would be taken for another registry's")
        return repository_name(place)

    def mirrored(self, original: Reference) -> Sequence[Reference]:
        """Return `original`, its tag and digest kept, at each mirror. Raises ValueError like `place`."""
        place = self.place(original)
        return [replace(original, host=one.host, repository=one.repository(place)) for one in self.mirrors]

    def original(self, place: str) -> Reference | None:
        """Return host and repository of what lies at `place`; None if nothing that is mirrored could."""
        named = _joined(_host_in(place) or "", place.partition("/")[2])
        for candidate in (named, *(_joined(one.origin, _below(one.place, place) or "") for one in self.rules)):
            host, _, repository = candidate.partition("/")
            try:
                reference = Reference(host, repository)
                if self.place(reference) == place:
                    return reference
            except ValueError:
                continue
        return None

    def folder(self, origin: str) -> str | None:
        """Return where all that lies below `HOST[/PATH]` lies; None where no rule is about it, or several are."""
        host, _, path = origin.partition("/")
        name = _joined(_canonical(host), path)
        rule = self._governing(name)
        if rule is None or any(_below(name, one.origin) for one in self.rules):
            return None
        return _joined(rule.place, _below(rule.origin, name) or "")

    @cached_property
    def hosts(self) -> Sequence[str]:
        """The registries that rules are about, each once, in their order."""
        return tuple(dict.fromkeys(rule.host for rule in self.rules))

    def _is_ruled(self, host: str) -> bool:
        return any(rule.host == host for rule in self.rules)

    def _governing(self, name: str) -> Rule | None:
        """Return the rule with the longest origin that `name` lies in."""
        found = [rule for rule in self.rules if _below(rule.origin, name) is not None]
        return max(found, key=lambda rule: len(rule.origin), default=None)

    def _refuse_collisions(self) -> None:
        """Raise ValueError if an original of one rule, written or understood, could lie where another's lies."""
        for rule in self._understood():
            for other in self.rules:
                rest = _below(rule.place, other.place)
                if rest is None or rule == other or (not rule.place and _host_in(other.place)):
                    continue
                original = _joined(rule.origin, rest)
                governing = self._governing(original)
                if governing == rule or (governing is None and rule not in self.rules):
                    raise ValueError(f"{original} and {other.origin} would both lie at {other.place or 'the root'}")

    def _understood(self) -> Iterator[Rule]:
        """Yield the rules, and those that hold without being written for the hosts that places look like."""
        yield from self.rules
        for host in {_host_in(rule.place) for rule in self.rules}:
            if host and not any(rule.origin == host for rule in self.rules):
                yield Rule.parse(host)


def _host_in(place: str) -> str | None:
    """Return the registry whose content lies at `place` when no rule says so, None if its name begins with no host."""
    first = re.sub(r"^([^_]+)_([0-9]{1,5})$", r"\1:\2", place.partition("/")[0])
    return first if is_host(first) else None


def _canonical(host: str) -> str:
    lower = host.lower()
    return DEFAULT_HOST if Reference.parse(f"{lower}/x/x:x").host == DEFAULT_HOST else lower


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _below(prefix: str, name: str) -> str | None:
    """Return what follows `prefix` in `name`, by whole components; None if it does not begin with it."""
    if not prefix:
        return name
    if name == prefix:
        return ""
    return name[len(prefix) + 1 :] if name.startswith(f"{prefix}/") else None
