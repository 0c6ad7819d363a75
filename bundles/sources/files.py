"""Files carried as they are: the dryport kit, and whatever else a definition names."""

from __future__ import annotations

import re
from pathlib import Path

from bundles.definition import FileEntry, KitEntry, Location
from bundles.lock import LocalFile, LockedArtifact, LockedBlob
from bundles.sources.artifact import Layer, made
from bundles.sources.inputs import Inputs, spelled
from registry.errors import DefinitionError
from registry.oci.digest import Digest

KIT_TYPE = "application/vnd.dryport.kit.v1"
KIT_LAYER = f"{KIT_TYPE}.tar"
FILE_TYPE = "application/vnd.dryport.file.v1"
_KIT_NAME = re.compile(
    r"dryport-kit-(?P<version>[0-9][0-9A-Za-z.-]*)-(?P<platform>[a-z0-9]+-[a-z0-9]+(-[a-z0-9]+)?)\.tar"
)


def resolve_kit(entry: KitEntry, inputs: Inputs) -> LockedArtifact:
    """Return the locked kit; its version is read from its file's name. Raises DefinitionError."""
    path = inputs.file(entry.file)
    platform = entry.platform.replace("/", "-")
    name = _KIT_NAME.fullmatch(path.name)
    if not name or not path.name.endswith(f"-{platform}.tar"):
        raise DefinitionError(
            "kit-misnamed",
            "a kit's name says its version and platform, and this one does not",
            where=spelled(entry.file),
            expected=f"dryport-kit-VERSION-{platform}.tar",
            seen=path.name,
            hint="give the file that `dryport kit build` made",
        )
    version = path.name.removeprefix("dryport-kit-").removesuffix(f"-{platform}.tar")
    blob = _file(entry.file, path, KIT_LAYER, entry.sha256)
    ref = f"dryport/kit:{version}-{platform}"
    return made("kit", KIT_TYPE, ref, [Layer(path.name, blob)], title=f"dryport {version} for {entry.platform}")


def resolve_file(entry: FileEntry, version: str, inputs: Inputs) -> LockedArtifact:
    """Return the locked file. Raises DefinitionError."""
    path = inputs.file(entry.file)
    blob = _file(entry.file, path, FILE_TYPE, entry.sha256)
    ref = f"dryport/file/{entry.name}:{version}"
    return made("file", FILE_TYPE, ref, [Layer(path.name, blob)], title=f"file {entry.name}")


def _file(location: Location, path: Path, media_type: str, pinned: str | None) -> LockedBlob:
    try:
        with path.open("rb") as stream:
            digest, size = Digest.of_stream(stream), stream.tell()
    except OSError as error:
        raise DefinitionError(
            "source-unreadable",
            error.strerror or str(error),
            where=str(path),
            hint="make it readable, or mend the definition",
        ) from error
    if pinned not in {None, digest.hex}:
        raise DefinitionError(
            "checksum-mismatch",
            f"{spelled(location)} is not the file that the definition pins",
            where=str(path),
            expected=f"sha256 {pinned}",
            seen=f"sha256 {digest.hex}",
            hint="get the right file, or mend the sha256 in the definition",
        )
    return LockedBlob(digest=digest, size=size, media_type=media_type, origin=LocalFile(file=location))
