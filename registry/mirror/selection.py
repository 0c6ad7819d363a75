"""What of a source is copied: repositories and tags by glob, by version range or by digest, and which platforms.

    team/app:1.4              one tag
    team/*                    all tags of all repositories below
    team/app:v1.*             tags by glob
    team/app:>=1.2 <2         tags that are versions in a range (spaces or commas between bounds)
    team/app@sha256:...       one manifest, tagged or not

Without any, everything is copied.

>>> [tag for tag in ("1.1.0", "v1.3", "2.0.0", "latest") if Wanted.parse("team/app:>=1.2 <2").takes(tag)]
['v1.3']
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from registry.oci.digest import Digest
from registry.oci.reference import repository_name, tag_name

_GLOB = frozenset("*?[")
_BOUND = re.compile(r"(>=|<=|>|<|=)\s*v?(\d{1,9}(?:\.\d{1,9}){0,3})(?:-([0-9A-Za-z.-]+))?")
_VERSION = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){0,3})(?:-([0-9A-Za-z.-]+))?(?:[_+][0-9A-Za-z.-]+)?")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_PLACES = 4
Key = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]


def _key(numbers: str, pre: str | None) -> Key:
    """Return what orders versions as SemVer 2.0 (11) does; missing numbers are 0."""
    parts = [int(part) for part in numbers.split(".")]
    names = [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in (pre or "").split(".")]
    return (*parts, *[0] * (_PLACES - len(parts))), pre is None, tuple(names) if pre else ()


@dataclass(frozen=True)
class Wanted:
    """One line of a selection."""

    repository: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Return what a person wrote. Raises ValueError."""
        name, _, digest = text.partition("@")
        last = name.rpartition("/")[2]
        tag = last.partition(":")[2]
        repository = name[: len(name) - len(tag) - 1] if ":" in last else name
        if not set(repository) & _GLOB:
            repository_name(repository)
        if ":" in last and not tag:
            raise ValueError(f"nothing behind the colon: {text[:200]!r}")
        if digest and (tag or set(repository) & _GLOB):
            raise ValueError(f"a digest stands behind a whole repository's name: {text[:200]!r}")
        found = cls(repository, tag, Digest.parse(digest) if digest else None)
        if tag and not found.bounds and not set(tag) & _GLOB:
            tag_name(tag)
        return found

    @property
    def is_plain(self) -> bool:
        """Whether it names one repository, so that no catalogue is needed."""
        return not set(self.repository) & _GLOB

    @property
    def one_tag(self) -> str | None:
        """The tag, if it is one; then no list of tags is needed."""
        return self.tag if self.tag and not self.bounds and not set(self.tag) & _GLOB else None

    @cached_property
    def bounds(self) -> Sequence[tuple[str, Key]]:
        """The bounds of a version range. Raises ValueError for one that cannot be read."""
        if not self.tag or self.tag[0] not in "<>=":
            return ()
        text = self.tag.replace(",", " ")
        found = list(_BOUND.finditer(text))
        if _BOUND.sub("", text).strip():
            raise ValueError(f"not a version range: {self.tag[:200]!r}")
        return tuple((one[1], _key(one[2], one[3])) for one in found)

    def names(self, repository: str) -> bool:
        """Say whether a repository is meant."""
        return repository == self.repository or (not self.is_plain and fnmatchcase(repository, self.repository))

    def takes(self, tag: str) -> bool:
        """Say whether a tag of a repository that is meant is meant too."""
        if self.digest:
            return False
        if not self.bounds:
            return not self.tag or fnmatchcase(tag, self.tag)
        version = _VERSION.fullmatch(tag)
        if version is None:
            return False
        key = _key(version[1], version[2])
        # As in npm and Helm: a pre-release is meant only by who names one.
        if version[2] and not any(not bound[1] for _, bound in self.bounds):
            return False
        return all(_COMPARE[sign](key, bound) for sign, bound in self.bounds)

    def __str__(self) -> str:
        return f"{self.repository}{f':{self.tag}' if self.tag else ''}{f'@{self.digest}' if self.digest else ''}"


@dataclass(frozen=True)
class Selection:
    """All of what is copied; nothing named stands for everything."""

    wanted: Sequence[Wanted] = ()
    platforms: frozenset[str] = frozenset()
    """`os/architecture[/variant]` of the children to copy; none named stands for all. Digests never change."""
    referrers: bool = True
    """Whether signatures, attestations and all else that refers to a manifest come along."""

    @classmethod
    def of(cls, names: Iterable[str], platforms: Iterable[str] = (), *, referrers: bool = True) -> Selection:
        """Return the selection that a person wrote. Raises ValueError."""
        chosen = frozenset(platforms)
        for platform in chosen:
            if not re.fullmatch(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9.]+)?", platform):
                raise ValueError(f"a platform is OS/ARCHITECTURE[/VARIANT], not {platform[:100]!r}")
        return cls(tuple(map(Wanted.parse, names)), chosen, referrers)

    @property
    def is_plain(self) -> bool:
        """Whether all repositories are named."""
        return bool(self.wanted) and all(one.is_plain for one in self.wanted)

    def repositories(self, names: Callable[[], Iterable[str]]) -> Sequence[str]:
        """Return the repositories that are meant, sorted; `names` gives all, and is asked only if that is needed."""
        plain = {one.repository for one in self.wanted if one.is_plain}
        if self.is_plain:
            return sorted(plain)
        return sorted(plain | {name for name in names() if not self.wanted or any(w.names(name) for w in self.wanted)})

    def of_repository(self, repository: str) -> Sequence[Wanted]:
        """Return the lines about one repository; one that takes everything where nothing is named."""
        return [one for one in self.wanted if one.names(repository)] or [Wanted(repository)]

    def takes_platform(self, platform: Mapping[str, Any] | None) -> bool:
        """Say whether an index's child of this platform is copied; one without platform always is."""
        if not self.platforms or platform is None:
            return True
        system = [str(platform.get(key, "")) for key in ("os", "architecture", "variant")]
        return bool({"/".join(system[:2]), "/".join(system).rstrip("/")} & self.platforms)


EVERYTHING = Selection()
