"""A mapping as a person declares it, in a file that `mirror copy` and `mirror config` both take.

>>> read(Path("mirrors.yaml")).mirrors
(Mirror(host='registry.site.example:5000', base=''),)
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from registry.declaration import findings, load
from registry.errors import DefinitionError
from registry.mirror.mapping import Mapping, Mirror, Rule

HINT = "mend what is named here; docs/runtimes.md shows such a file"


class Section(BaseModel):
    """Base of all parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OriginEntry(Section):
    """Content that does not keep its own name at the mirrors."""

    origin: str
    place: str


class MirrorsFile(Section):
    """A whole `mirrors.yaml`."""

    apiVersion: Literal["dryport/v1"]  # noqa: N815 - the field's own spelling in every file of ours
    kind: Literal["Mirrors"]
    mirrors: list[str] = Field(min_length=1)
    """`HOST[:PORT][/BASE]`, in the order in which they are asked."""
    origins: list[str | OriginEntry] = Field(min_length=1)
    """`HOST[/PATH]` of what they hold."""
    direct: list[str] = []
    """Registries of the site itself, asked as they are."""

    def mapping(self) -> Mapping:
        """Return the mapping. Raises ValueError."""
        rules = [Rule.parse(one) if isinstance(one, str) else Rule.parse(one.origin, one.place) for one in self.origins]
        return Mapping(tuple(map(Mirror.parse, self.mirrors)), tuple(rules), tuple(self.direct))


def read(path: Path) -> Mapping:
    """Return the mapping in a file. Raises DefinitionError with every finding."""
    try:
        return MirrorsFile.model_validate(load(path)).mapping()
    except ValidationError as error:  # a ValueError too, and it knows each field
        raise DefinitionError(
            "mirrors-invalid",
            f"{error.error_count()} finding(s) in the declaration of mirrors",
            where=str(path),
            findings=findings(error, DefinitionError, "mirrors-field"),
            hint=HINT,
        ) from error
    except (OSError, ValueError) as error:
        raise DefinitionError("mirrors-unreadable", str(error), where=str(path), hint=HINT) from error


def of(mirrors: tuple[str, ...], origins: tuple[str, ...], direct: tuple[str, ...] = ()) -> Mapping:
    """Return the mapping that options say: `HOST[:PORT][/BASE]`, and `HOST[/PATH][=PLACE]`. Raises ValueError."""
    rules = []
    for text in origins:
        origin, equals, place = text.partition("=")
        rules.append(Rule.parse(origin, place if equals else None))
    return Mapping(tuple(map(Mirror.parse, mirrors)), tuple(rules), direct)
