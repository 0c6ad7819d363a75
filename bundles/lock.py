"""The lock: the definition resolved. Every artefact by digest and size, and where each blob's bytes come from.

The same definition locked twice against unchanged sources gives the same bytes; the lock alone decides the bundle's
bytes. It holds no path of a machine, no server's name, no time.

>>> lock = Lock.read(path)
>>> sum(blob.size for blob in lock.blobs())
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from bundles.definition import Location
from registry.errors import DefinitionError
from registry.oci import strictjson
from registry.oci.digest import Digest

LOCK_BYTES = 64 << 20


class Frozen(BaseModel):
    """Base of all parts of the lock."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Inline(Frozen):
    """Bytes that the lock itself carries: manifests, configs, package indexes."""

    kind: Literal["inline"] = "inline"
    text: str


class LayoutBlob(Frozen):
    """A blob of an OCI layout."""

    kind: Literal["layout"] = "layout"
    layout: Location


class FolderArchive(Frozen):
    """A reproducible tar.gz of a folder, every name below `prefix`."""

    kind: Literal["archive"] = "archive"
    folder: Location
    prefix: str
    collections: list[Location] | None = None
    """Ansible collections beside the folder's files."""


class LocalFile(Frozen):
    """A file as it is."""

    kind: Literal["file"] = "file"
    file: Location


class AptPackage(Frozen):
    """A Debian package, from whatever server this machine's apt is configured to ask for these suites."""

    kind: Literal["apt"] = "apt"
    suites: list[str]
    components: list[str]
    architecture: str
    package: str
    version: str
    path: str
    """Below the server's address for the suites, as in the package list's Filename."""


class Wheel(Frozen):
    """A Python wheel, from whatever index this machine's pip is configured to ask."""

    kind: Literal["wheel"] = "wheel"
    package: str
    version: str
    file: str
    python: str
    platforms: list[str]
    """Pip's platform tags, best first."""


class RegistryBlob(Frozen):
    """A blob of a repository: the place that the definition names, whatever host this machine asks for it."""

    kind: Literal["registry"] = "registry"
    repository: str
    """`registry.example.org/path`, with the host."""


class UrlBlob(Frozen):
    """A file at an address that the definition or a chart repository's index names."""

    kind: Literal["url"] = "url"
    url: str


class SourceBlob(Frozen):
    """A blob of a repository at the source of a mirror, which whoever builds has open."""

    kind: Literal["source"] = "source"
    repository: str


Origin = Annotated[
    Inline | LayoutBlob | FolderArchive | LocalFile | AptPackage | Wheel | RegistryBlob | UrlBlob | SourceBlob,
    Field(discriminator="kind"),
]


class LockedBlob(Frozen):
    """A blob or manifest: what it is, and where its bytes come from."""

    digest: Digest
    size: int = Field(ge=0)
    media_type: str
    origin: Origin

    @field_validator("digest", mode="before")
    @classmethod
    def _parse_digest(cls, value: object) -> object:
        return Digest.parse(value) if isinstance(value, str) else value

    @field_serializer("digest")
    def _spell_digest(self, value: Digest) -> str:
        return str(value)


Kind = Literal["image", "chart", "pack", "playbooks", "kit", "apt", "wheels", "vmimage", "file", "lock", "content"]


class LockedArtifact(Frozen):
    """Something with a name: its root manifest, and everything reachable from it.

    `ref` is the full original reference of an image; packs are `spectro-packs/archive/<name>:<version>`; what dryport
    makes itself is `dryport/<kind>/<name>:<version>`; content of a mirror, and what refers to an image, has the place
    that it has there.
    """

    kind: Kind
    ref: str
    root: LockedBlob
    manifests: list[LockedBlob] = []
    """Further manifests: the children of an index."""
    blobs: list[LockedBlob]
    title: str = ""
    """A person's word for it: `podman 4.3.1 and 83 more packages`."""

    licence: str | None = None
    """As the artefact itself states it."""
    proof: Literal["rendered", "static"] | None = None
    """How the images of a pack were found: by rendering all of it, or by looking through its files."""
    left_out: dict[str, str] | None = None
    """What a pack names and the bundle leaves out on purpose, with the reasons."""

    @property
    def size(self) -> int:
        """Bytes of all its distinct blobs and manifests."""
        parts = {one.digest: one.size for one in (self.root, *self.manifests, *self.blobs)}
        return sum(parts.values())


class LockedAdvisory(Frozen):
    """An advisory that somebody gave when the lock was made, and what in the lock it is about."""

    id: str
    severity: str
    summary: str
    about: str
    """`image registry.example.org/web 1.0`."""
    judged: bool = True
    """False where the version cannot be compared, so that a person has to."""


class Lock(Frozen):
    """A whole `bundle.lock.json`."""

    apiVersion: Literal["dryport/v1"] = "dryport/v1"  # noqa: N815
    kind: Literal["BundleLock"] = "BundleLock"
    product: str
    version: str
    platforms: list[str]
    definition: str
    """sha256 digest of the definition's bytes: a lock of an older definition is refused by `build`."""
    artifacts: list[LockedArtifact]
    advisories: list[LockedAdvisory] | None = None

    def blobs(self) -> Iterator[LockedBlob]:
        """Yield every distinct blob and manifest once, in the artefacts' order."""
        seen: set[Digest] = set()
        for artifact in self.artifacts:
            for blob in (artifact.root, *artifact.manifests, *artifact.blobs):
                if blob.digest not in seen:
                    seen.add(blob.digest)
                    yield blob

    def encode(self) -> bytes:
        """Return the lock's one canonical encoding."""
        return strictjson.canonical(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Return the lock in a file. Raises DefinitionError."""
        try:
            return cls.model_validate(strictjson.loads(path.read_bytes(), limit=LOCK_BYTES))
        except FileNotFoundError as error:
            raise DefinitionError(
                "lock-missing", "there is no lock", where=str(path), hint="dryport bundle lock bundle.yaml"
            ) from error
        except (OSError, ValueError, ValidationError) as error:
            raise DefinitionError(
                "lock-invalid", str(error), where=str(path), hint="lock again: dryport bundle lock bundle.yaml"
            ) from error
