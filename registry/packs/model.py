"""What a pack is: its `pack.json` and the images its values declare.

Both schema variants of the field are read, unknown keys are tolerated, and `name` and `version` in `pack.json` are the
truth, never a folder's name. What is odd but usable becomes a note, not an error.

>>> pack = read_folder(Path("packs/web-1.0.0"))      # registry.packs.reading
>>> pack.metadata.title, [image.reference for image in pack.images]
('web-1.0.0', ['registry.example.org/quickstart/web:1.0'])
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from registry.declaration import findings
from registry.errors import DefinitionError
from registry.oci import strictjson
from registry.oci.reference import repository_name, tag_name
from registry.packs.findings import Finding

NAMESPACE = "spectro-packs/archive"
"""Where Palette looks for packs below a registry's base path."""
PACK_JSON_BYTES = 1 << 20

Layer = Literal["kernel", "os", "k8s", "cni", "csi", "addon"]


class Part(BaseModel):
    """Base of all parts: later and private keys are the pack author's business."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


class Dependency(Part):
    """Another pack that must, may or must not be there; an empty bound is no bound."""

    pack: str = Field("", alias="packName")
    layer: str = ""
    stated: str = Field("", alias="type")
    min_version: str = Field("", alias="minVersion")
    max_version: str = Field("", alias="maxVersion")

    @property
    def kind(self) -> str:
        """required, optional, notSupported or upgrade; one public pack states none, which is read as optional."""
        return self.stated or "optional"

    @property
    def is_typed(self) -> bool:
        """Whether the pack says what it means."""
        return bool(self.stated)


class Component(Part):
    """A part of the pack whose need stands in the values: request times replicas, on the nodes of a schedule."""

    schedule: str = Field("all", alias="scheduleType")
    request_path: str = Field("", alias="resourceRequestParamRef")
    replicas_path: str = Field("", alias="replicaCountParamRef")


class Resource(Part):
    """What each worker pool must offer at least: cpu in millicores, memory in Mi, diskSize in GB.

    With components, their needs count instead of `min_limit`.
    """

    kind: str = Field("", alias="type")
    min_limit: float | None = Field(None, alias="minLimit")
    components: tuple[Component, ...] = ()


class Constraints(Part):
    """What the cluster must bring along."""

    dependencies: tuple[Dependency, ...] = ()
    resources: tuple[Resource, ...] = ()


class PackMetadata(Part):
    """A whole `pack.json`."""

    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    layer: Layer
    display_name: str = Field("", alias="displayName")
    cloud_types: tuple[str, ...] = Field((), alias="cloudTypes")
    addon_type: str = Field("", alias="addonType")
    group: str = ""
    end_of_life: str = Field("", alias="eol")
    annotations: Mapping[str, str] = {}
    charts: tuple[str, ...] = ()
    manifests: tuple[str, ...] = Field((), validation_alias=AliasChoices("kubeManifests", "KubeManifests"))
    constraints: Constraints = Constraints()

    @model_validator(mode="before")
    @classmethod
    def _one_cloud_is_a_list(cls, value: object) -> object:
        if isinstance(value, dict) and isinstance(value.get("cloudType"), str) and not value.get("cloudTypes"):
            return {**value, "cloudTypes": [value["cloudType"]] if value["cloudType"] else []}
        return value

    @field_validator("annotations", mode="before")
    @classmethod
    def _annotations_are_text(cls, value: object) -> object:
        """The prose of the format has a list of maps where its schema has a map; both may hold what is no text."""
        if isinstance(value, list):
            value = {key: item for one in value if isinstance(one, dict) for key, item in one.items()}
        if not isinstance(value, dict):
            return value
        return {key: item if isinstance(item, str) else json.dumps(item) for key, item in value.items()}

    @field_validator("name")
    @classmethod
    def _can_be_served(cls, name: str) -> str:
        repository_name(f"{NAMESPACE}/{name}")
        return name

    @field_validator("version")
    @classmethod
    def _can_be_a_tag(cls, version: str) -> str:
        tag_name(version.replace("+", "_"))
        return version

    @classmethod
    def parse(cls, data: bytes, where: str) -> PackMetadata:
        """Return the metadata in a `pack.json`. Raises DefinitionError with every finding."""
        try:
            return cls.model_validate(strictjson.loads(data.removeprefix(b"\xef\xbb\xbf"), limit=PACK_JSON_BYTES))
        except ValidationError as error:
            faults = findings(error, DefinitionError, "pack-field")
            raise _invalid(f"{error.error_count()} finding(s) in pack.json", where, faults) from error
        except (ValueError, RecursionError) as error:
            raise _invalid(str(error), where, []) from error

    @property
    def title(self) -> str:
        """`<name>-<version>`: the folder in the archive, and the stem of the layer's title."""
        return f"{self.name}-{self.version}"

    @property
    def repository(self) -> str:
        """The repository that serves every version of the pack."""
        return f"{NAMESPACE}/{self.name}"

    @property
    def tag(self) -> str:
        """The version as tag; `+` is not in the grammar of tags."""
        return self.version.replace("+", "_")


@dataclass(frozen=True, slots=True)
class DeclaredImage:
    """An entry of `pack.content.images`, as written, and its line in `values.yaml`."""

    reference: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack as read: what it says, and what is odd about it."""

    metadata: PackMetadata
    images: tuple[DeclaredImage, ...]
    notes: tuple[Finding, ...] = ()


def _invalid(message: str, where: str, findings: list[DefinitionError]) -> DefinitionError:
    return DefinitionError(
        "pack-invalid",
        message,
        where=where,
        findings=findings,
        hint="mend pack.json: name, version and layer are needed",
    )
