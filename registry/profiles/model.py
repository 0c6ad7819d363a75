"""What a person writes: a profile, and the cluster that it should fit.

>>> profile = Profile.load(Path("profile.yaml"))
>>> [(entry.pack, entry.version) for entry in profile.packs]
[('csi-driver-nfs', '4.13.2'), ('web', '1.0.0')]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from registry.declaration import DECLARATION_BYTES, findings
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.oci.reference import repository_name, tag_name
from registry.packs.macros import SYSTEM
from registry.packs.model import NAMESPACE
from registry.packs.patterns import Pattern
from registry.packs.scalars import Value
from registry.packs.tree import Tree, Unquoted
from registry.packs.versions import Version, is_semantic

Type = Literal["full", "infrastructure", "add-on"]
MOST_PACKS = 200
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Scalar = bool | int | float | str


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Variable(_Section):
    """A value that is asked for once and used in many packs, as `{{.spectro.var.NAME}}`."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")
    format: Literal["string", "number", "boolean", "version", "ipv4", "ipv6", "cidr"] = "string"
    display_name: str = Field("", alias="displayName")
    description: str = ""
    default: Scalar | None = None
    required: bool = False
    pattern: str = ""
    """In RE2's syntax; the whole value has to fit."""
    options: tuple[Scalar, ...] = ()
    masked: bool = False
    hidden: bool = False
    read_only: bool = Field(False, alias="readOnly")

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        Pattern.compile(pattern)
        return pattern


class PackEntry(_Section):
    """One pack of the profile."""

    pack: str
    version: str
    path: str = ""
    """A folder or tar.gz, relative to the profile's folder; else the pack is looked for in the given places."""
    digest: Digest | None = None
    """Pins the artifact: the digest of its manifest, as `pack build` and `pack list` show it."""
    presets: tuple[str, ...] = ()
    values: dict[str, Any] = {}
    """Merged over the pack's own; a null takes a value away."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @field_validator("pack")
    @classmethod
    def _is_pack(cls, name: str) -> str:
        repository_name(f"{NAMESPACE}/{name}")
        return name

    @field_validator("version")
    @classmethod
    def _is_version(cls, version: str) -> str:
        tag_name(version.replace("+", "_"))
        return version

    @field_validator("digest", mode="before")
    @classmethod
    def _is_digest(cls, text: object) -> Digest | None:
        return Digest.parse(str(text)) if text is not None else None

    @field_validator("path")
    @classmethod
    def _is_relative(cls, path: str) -> str:
        if Path(path).is_absolute():
            raise ValueError("a path is relative to the profile's folder")
        return path

    @property
    def title(self) -> str:
        """`name version`, as people are told."""
        return f"{self.pack} {self.version}"


class Pool(_Section):
    """Machines of one kind."""

    name: Name
    role: Literal["worker", "control-plane"] = "worker"
    nodes: int = Field(ge=0, le=100_000)
    cpu: int = Field(ge=0)
    """Millicores of one node."""
    memory: int = Field(ge=0)
    """Mi of one node."""
    disk: int = Field(0, ge=0)
    """GB of one node."""


class Cluster(_Section):
    """What the profile should fit: all of it is optional, and what is missing is not checked."""

    name: str = ""
    kubernetes: str = ""
    cloud: str = ""
    apis: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9./-]{0,200}$")], ...] = ()
    """APIs that it offers beside Kubernetes' own, as `monitoring.coreos.com/v1`."""
    pools: tuple[Pool, ...] = ()
    packs: Mapping[str, str] = {}
    """Packs that other profiles put on the cluster, with their versions."""
    system: Mapping[str, str] = {}
    """Other system macros, without `.spectro.system.`."""

    @field_validator("kubernetes")
    @classmethod
    def _is_version(cls, text: str) -> str:
        if text:
            Version.read(text)
        return text

    @field_validator("system")
    @classmethod
    def _are_known(cls, system: Mapping[str, str]) -> Mapping[str, str]:
        unknown = [name for name in system if f"spectro.system.{name}" not in SYSTEM]
        if unknown:
            raise ValueError(f"no system macro: {', '.join(unknown)}")
        return system


class Profile(_Section):
    """A whole profile."""

    api_version: Literal["dryport/v1"] = Field(alias="apiVersion")
    kind: Literal["Profile"]
    name: Name
    version: str = "1.0.0"
    type: Type = "full"
    variables: tuple[Variable, ...] = ()
    packs: tuple[PackEntry, ...]
    cluster: Cluster = Cluster()

    @field_validator("version")
    @classmethod
    def _is_semantic(cls, version: str) -> str:
        if not is_semantic(version):
            raise ValueError("a version is major.minor.patch, or with -prerelease")
        return version

    @field_validator("packs", mode="before")
    @classmethod
    def _are_some(cls, packs: object) -> object:
        if isinstance(packs, list) and not 0 < len(packs) <= MOST_PACKS:
            raise ValueError(f"1 to {MOST_PACKS} packs are expected")
        return packs

    @field_validator("variables")
    @classmethod
    def _are_distinct(cls, variables: tuple[Variable, ...]) -> tuple[Variable, ...]:
        names = [variable.name for variable in variables]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"declared twice: {', '.join(sorted(twice))}")
        return variables

    @classmethod
    def load(cls, path: Path) -> Profile:
        """Return the profile in a file. Raises DefinitionError with every fault."""
        try:
            return cls.model_validate(_plain(document(path).value()))
        except ValidationError as error:
            raise DefinitionError(
                "profile-invalid",
                f"{error.error_count()} field(s) of the profile cannot be",
                where=str(path),
                findings=findings(error, DefinitionError, "profile-field"),
                hint="mend the fields; docs/profiles.md explains each",
            ) from error


def document(path: Path) -> Tree:
    """Return the YAML in a file, in which each key stands once. Raises DefinitionError."""
    try:
        with path.open("rb") as file:
            data = file.read(DECLARATION_BYTES + 1)
        if len(data) > DECLARATION_BYTES:
            raise ValueError(f"more than {DECLARATION_BYTES} bytes")  # noqa: TRY301 - one place says what is wrong
        tree = Tree.parse(data)
        if twice := next(tree.twice(), None):
            raise ValueError(f"the key {twice[0]} stands twice, line {twice[1]}")  # noqa: TRY301
    except OSError as error:
        raise DefinitionError(
            "profile-unreadable", error.strerror or str(error), where=str(path), hint="name a file that can be read"
        ) from error
    except ValueError as error:
        raise DefinitionError("profile-unreadable", str(error), where=str(path), hint="mend the YAML") from error
    return tree


def _plain(value: Value) -> Value:
    """A version like 1.10 is written without quotes by everybody and is no number here."""
    if not isinstance(value, dict):
        return value
    entries = value.get("packs")
    packs = [
        {**entry, "version": str(entry["version"])}
        if isinstance(entry, dict) and isinstance(entry.get("version"), int | float | Unquoted)
        else entry
        for entry in (entries if isinstance(entries, list) else [])
    ]
    return {**value, **({"packs": packs} if packs else {})}
