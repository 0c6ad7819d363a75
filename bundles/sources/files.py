"""Files carried as they are: the dryport kit, and whatever else a definition names."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from bundles.definition import FileEntry, KitEntry, Location
from bundles.lock import LocalFile, LockedArtifact, LockedBlob, UrlBlob
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
    blob = local_file(entry.file, path, KIT_LAYER, entry.sha256)
    ref = f"dryport/kit:{version}-{platform}"
    return made("kit", KIT_TYPE, ref, [Layer(path.name, blob)], title=f"dryport {version} for {entry.platform}")


def resolve_file(entry: FileEntry, version: str, inputs: Inputs) -> LockedArtifact:
    """Return the locked file. Raises DefinitionError."""
    if entry.url and entry.sha256:
        size = inputs.addresses.size(entry.url)
        digest, title = Digest("sha256", entry.sha256), PurePosixPath(urlsplit(entry.url).path).name or entry.name
        blob = LockedBlob(digest=digest, size=size, media_type=FILE_TYPE, origin=UrlBlob(url=entry.url))
    else:
        location = entry.file or Location(path="")
        path = inputs.file(location)
        blob, title = local_file(location, path, FILE_TYPE, entry.sha256), path.name
    ref = f"dryport/file/{entry.name}:{version}"
    return made("file", FILE_TYPE, ref, [Layer(title, blob)], title=f"file {entry.name}")


def local_file(location: Location, path: Path, media_type: str, pinned: str | None) -> LockedBlob:
    """Return a file of this machine as it is. Raises DefinitionError, also if it is not the pinned one."""
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
