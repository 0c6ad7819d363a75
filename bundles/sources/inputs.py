"""What resolving and fetching may read: the definition's folder, named inputs, a scratch folder.

>>> inputs = Inputs(Path("bundles/definitions/quickstart"), {"kit": Path("dist/kit.tar")}, Path("/tmp/scratch"))
>>> inputs.file(Location(input="kit")).name
'kit.tar'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bundles.approval import Advisory
from bundles.definition import Location
from bundles.sources.addresses import Addresses
from bundles.sources.registries import Registries
from registry.errors import DefinitionError
from registry.packs.helm import Helm
from registry.packs.images import ANY
from registry.packs.rendering import Offered


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where content is found on this machine. Neither definition nor lock ever holds one of these paths."""

    folder: Path
    """The definition's folder."""
    named: Mapping[str, Path]
    """What `--input NAME=PATH` gave."""
    scratch: Path
    """A private folder for package lists and the like; whoever made it removes it."""
    registries: Registries | None = None
    """How registries are reached, where that may be."""
    addresses: Addresses = field(default_factory=Addresses)
    helm: Helm | None = None
    """What renders packs; without it their files are looked through, if that may be."""
    is_static: bool = True
    """Whether a look without rendering will do."""
    advisories: Sequence[Advisory] = ()
    """What is known to be wrong with versions of anything."""
    offered: Offered = ANY
    """What the clusters offer that packs are rendered for."""

    def require_registries(self) -> Registries:
        """Return how registries are reached. Raises DefinitionError where nobody said so."""
        if self.registries is None:
            raise DefinitionError(
                "registries-out-of-reach",
                "an image would have to come from its registry, and none is reached here",
                hint="name a layout that holds the image: layout: {input: NAME}",
            )
        return self.registries

    def path(self, location: Location) -> Path:
        """Return where `location` lies, whether or not something is there. Raises DefinitionError."""
        if location.path is not None:
            return self.folder / location.path
        name = location.input or ""
        if name not in self.named:
            raise DefinitionError(
                "input-missing",
                f"the definition needs the input {name!r}",
                seen=", ".join(sorted(self.named)) or "no input given",
                hint=f"give it on the command line: --input {name}=PATH",
            )
        return self.named[name]

    def file(self, location: Location) -> Path:
        """Return the file at `location`; raises DefinitionError if there is none."""
        path = self.path(location)
        if not path.is_file():
            raise _missing(location, path, "file")
        return path

    def directory(self, location: Location) -> Path:
        """Return the folder at `location`; raises DefinitionError if there is none."""
        path = self.path(location)
        if not path.is_dir():
            raise _missing(location, path, "folder")
        return path


def spelled(location: Location) -> str:
    """Return a location as a person wrote it."""
    return location.path if location.path is not None else f"input {location.input}"


def _missing(location: Location, path: Path, what: str) -> DefinitionError:
    return DefinitionError(
        "source-missing",
        f"no {what} at {spelled(location)}",
        where=str(path),
        hint="make it, or mend the definition",
    )
