"""Where packs lie in a registry, and under which tags.

`<base>/spectro-packs/archive/<name>:<version>` is Palette's path; the base may be empty. A flavour (FIPS, an
architecture) is another content under the same name and version, so it has a base of its own:
`<base>/<flavour>/spectro-packs/...`, which Palette is given as another registry. Beside its version a pack has parent
tags, `14.4.x` and `14.x`, that follow the newest release below them, and `<group>__<version>` if it is in a group.

>>> Place.of("mirror", "fips").repository("web"), parents("14.4.3")
('mirror/fips/spectro-packs/archive/web', ('14.4.x', '14.x'))
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from registry.errors import UsageError
from registry.oci.reference import repository_name, tag_name
from registry.packs.model import NAMESPACE
from registry.packs.versions import Version

_PARENT = re.compile(r"v?[0-9]+(\.[0-9]+)?\.x")


@dataclass(frozen=True, slots=True)
class Place:
    """The part of a registry that holds packs."""

    base: str = ""

    @classmethod
    def of(cls, base: str, flavour: str = "") -> Place:
        """Return the place below a base path, for a flavour. Raises UsageError."""
        path = "/".join(part for part in (base.strip("/"), flavour.strip("/")) if part)
        try:
            repository_name(f"{path}/{NAMESPACE}/x" if path else f"{NAMESPACE}/x")
        except ValueError as error:
            raise UsageError(
                "pack-base",
                "a base path and a flavour are parts of a repository's name",
                seen=path,
                hint="use lower-case letters, digits, hyphens and slashes: --base mirror --flavour fips",
            ) from error
        if NAMESPACE.partition("/")[0] in path.split("/"):
            raise UsageError(
                "pack-base",
                "spectro-packs is added to the base path, and does not stand in it",
                seen=path,
                hint="leave it out of --base",
            )
        return cls(path)

    @property
    def prefix(self) -> str:
        """What every repository of a pack begins with."""
        return f"{self.base}/{NAMESPACE}/" if self.base else f"{NAMESPACE}/"

    def repository(self, name: str) -> str:
        """Return the repository of a pack. Raises UsageError for what is no name."""
        try:
            return repository_name(self.prefix + name)
        except ValueError as error:
            raise UsageError(
                "pack-name", "not the name of a pack", seen=name[:100], hint="name it as pack.json does: NAME:VERSION"
            ) from error

    def name(self, repository: str) -> str:
        """Return the pack's name in a repository; nothing for a repository that lies elsewhere."""
        rest = repository.removeprefix(self.prefix)
        return rest if repository.startswith(self.prefix) and "/" not in rest else ""


def parents(tag: str) -> tuple[str, ...]:
    """Return the parent tags of a version's tag, the narrower first; a prerelease and what is no version has none."""
    try:
        version = Version.read(tag.replace("_", "+", 1))
    except ValueError:
        return ()
    if version.prerelease or version.given < 2:  # noqa: PLR2004 - one number alone has nothing above it
        return ()
    parts = tag.partition("_")[0].split(".")
    return tuple(".".join([*parts[:count], "x"]) for count in range(version.given - 1, 0, -1))


def is_derived(tag: str) -> bool:
    """Say whether a tag stands for another one: a parent, or a group's."""
    return _PARENT.fullmatch(tag) is not None or "__" in tag


def group_tag(group: str, tag: str) -> str:
    """Return the tag of a version in a group. Raises UsageError for a group that no tag can hold."""
    text = f"{re.sub(r'[ /]+', '-', group.strip().lower())}__{tag}"
    try:
        return tag_name(text)
    except ValueError as error:
        raise UsageError(
            "pack-group", "the group cannot be part of a tag", seen=group[:100], hint="use letters, digits and hyphens"
        ) from error


def newest(tags: Iterable[str], parent: str) -> str | None:
    """Return the newest of the version tags below a parent tag."""
    below = [tag for tag in tags if parent in parents(tag)]
    return max(below, key=lambda tag: Version.read(tag.replace("_", "+", 1)), default=None)


def reference(text: str) -> tuple[str, str]:
    """Return name and tag of `NAME:VERSION`. Raises UsageError."""
    name, colon, version = text.partition(":")
    try:
        tag = tag_name(version.replace("+", "_"))
        repository_name(f"{NAMESPACE}/{name}")
    except ValueError as error:
        raise UsageError(
            "pack-reference", str(error), expected="NAME:VERSION", seen=text[:200], hint="for example web:1.0.0"
        ) from error
    if not colon:
        raise UsageError(
            "pack-reference",
            "a version is missing",
            expected="NAME:VERSION",
            seen=text[:200],
            hint="for example web:14.4.3",
        )
    return name, tag
