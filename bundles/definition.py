"""The definition: what a person writes to say what a bundle holds (`bundle.yaml`).

Paths are relative to the definition's folder. Content that is made shortly before (the kit, images built on the spot)
is named as an *input* and given on the command line, so that a definition and its lock never hold a machine's path.

>>> definition = Definition.read(Path("bundles/definitions/quickstart/bundle.yaml"))
>>> definition.product
'quickstart'
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from registry.declaration import findings, load
from registry.errors import DefinitionError
from registry.oci.reference import Reference

_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
_VERSION = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$"


def _reference(text: str) -> str:
    Reference.parse(text)
    return text


def _relative(text: str) -> str:
    if PurePosixPath(text).is_absolute():
        raise ValueError("a path here is relative to the definition's folder")
    return text


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("an address is http or https, with a host and without a login")
    return text


Url = Annotated[str, AfterValidator(_url)]
Platform = Annotated[str, Field(pattern=r"^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$")]
# Apt's command line has a grammar of its own (`name-` removes, `name/suite` selects): only plain names pass.
AptPackageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]*[a-z0-9+]$")]
AptSuite = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*[A-Za-z0-9]$")]
AptComponent = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
RelativePath = Annotated[str, AfterValidator(_relative)]


# Pip's command line has a grammar of its own (options, addresses, paths): only names with versions pass.
Requirement = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9,._ -]+\])?"
        r"( ?(==|>=|<=|~=|!=|<|>)[A-Za-z0-9.*+!, <>=~]+)?$"
    ),
]


class Section(BaseModel):
    """Base of all parts: an unknown key is an error, a read definition does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Location(Section):
    """A path beside the definition, or a named input with an optional path inside it. Exactly one of both."""

    path: RelativePath | None = None
    input: str | None = Field(None, pattern=_NAME)

    @model_validator(mode="after")
    def _one(self) -> Location:
        if (self.path is None) == (self.input is None):
            raise ValueError("give either path or input")
        return self


class ImageEntry(Section):
    """A container image under its original reference, taken from an OCI layout, or else from its registry."""

    image: Annotated[str, AfterValidator(_reference)]
    layout: Location | None = None


class LeftOut(Section):
    """Something that a pack would start and the bundle does not carry, on purpose."""

    what: str = Field(min_length=1)
    """An image as the pack names it, or a chart or manifest of the pack that cannot be rendered."""
    reason: str = Field(min_length=3)


class PackEntry(Section):
    """A pack's folder, in Palette's format; with `carry`, each image it starts comes along from its registry."""

    folder: Location
    carry: bool = False
    leave_out: list[LeftOut] = []


class ChartEntry(Section):
    """A Helm chart: from an OCI registry, from a chart repository over HTTP, or from a folder.

    `chart` is `oci://HOST/PATH/NAME`, or the chart's name where `repository` says whose. `values` are those that the
    site would install it with: charts start other images with other values.
    """

    chart: str | None = None
    repository: Url | None = None
    version: str | None = Field(None, pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,127}$")
    folder: Location | None = None
    values: Location | None = None
    carry: bool = False
    leave_out: list[LeftOut] = []

    @model_validator(mode="after")
    def _one(self) -> ChartEntry:
        if (self.chart is None) == (self.folder is None):
            raise ValueError("give either chart or folder")
        if self.chart and not self.version:
            raise ValueError("a chart that comes from elsewhere has a version")
        if self.chart and self.chart.startswith("oci://") == bool(self.repository):
            raise ValueError("give oci://HOST/PATH/NAME, or a chart's name and its repository")
        return self


class PlaybooksEntry(Section):
    """The Ansible content that runs on hosts; `collections` are tarballs of `ansible-galaxy collection build`."""

    folder: Location
    collections: list[Location] = []


class KitEntry(Section):
    """The dryport program for hosts; `sha256` may pin it."""

    file: Location
    platform: Platform = "linux/amd64"
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class WheelsEntry(Section):
    """Python packages with all that they need, as wheels for a stated Python and platform; nothing is built.

    Which server is asked comes from the machine's own pip configuration.
    """

    name: str = Field(pattern=_NAME)
    requirements: list[Requirement] = Field(min_length=1)
    python: str = Field("3.11", pattern=r"^3\.[0-9]{1,2}$")
    platform: Platform = "linux/amd64"
    glibc: str = Field("2.28", pattern=r"^2\.[0-9]{1,2}$")


class FileEntry(Section):
    """Any other file, carried as it is under `name`: one that is here, or one at an address, pinned by its sha256."""

    name: str = Field(pattern=_NAME)
    file: Location | None = None
    url: Url | None = None
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _one(self) -> FileEntry:
        if (self.file is None) == (self.url is None):
            raise ValueError("give either file or url")
        if self.url and not self.sha256:
            raise ValueError("a file at an address is pinned by its sha256")
        return self


class VmImageEntry(Section):
    """A disk image for virtual machines or sticks: an OVA, a qcow2, a raw disk or an ISO, told by its content."""

    name: str = Field(pattern=_NAME)
    file: Location
    platform: Platform = "linux/amd64"
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class AptEntry(Section):
    """A closure of Debian packages: everything `packages` need that `base` does not already hold.

    `base` lists packages a host of this release is sure to have; empty means that nothing is taken for granted.
    Which server is asked comes from the machine's own apt configuration.
    """

    name: str = Field(pattern=_NAME)
    suites: list[AptSuite] = Field(min_length=1)
    components: list[AptComponent] = Field(default=["main"], min_length=1)
    architecture: str = Field("amd64", pattern=r"^[a-z0-9]+$")
    packages: list[AptPackageName] = Field(min_length=1)
    base: list[AptPackageName] = []


class Definition(Section):
    """A whole `bundle.yaml`."""

    apiVersion: Literal["dryport/v1"]  # noqa: N815 - the field's own spelling in every file of ours
    kind: Literal["Bundle"]
    product: str = Field(pattern=_NAME)
    version: str = Field(pattern=_VERSION)
    platforms: list[Platform] = Field(min_length=1)
    kit: list[KitEntry] = []
    playbooks: PlaybooksEntry | None = None
    images: list[ImageEntry] = []
    charts: list[ChartEntry] = []
    packs: list[PackEntry] = []
    apt: list[AptEntry] = []
    wheels: list[WheelsEntry] = []
    vmimages: list[VmImageEntry] = []
    files: list[FileEntry] = []

    @classmethod
    def read(cls, path: Path) -> Definition:
        """Return the definition in a file; raises DefinitionError that lists every finding."""
        try:
            value = load(path)
        except (OSError, ValueError) as error:
            raise DefinitionError(
                "definition-unreadable", str(error), where=str(path), hint="mend the file; docs/definition.md shows one"
            ) from error
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise DefinitionError(
                "definition-invalid",
                f"{error.error_count()} finding(s) in the definition",
                where=str(path),
                findings=findings(error, DefinitionError, "definition-field"),
                hint="mend the fields named here; docs/definition.md lists all of them",
            ) from error
