"""Folders as reproducible archives: packs, in Palette's own form, and the playbooks that run on hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from bundles.definition import Location, PackEntry, PlaybooksEntry
from bundles.lock import FolderArchive, LockedArtifact, LockedBlob
from bundles.sources import collections
from bundles.sources.artifact import Layer, inline, made
from bundles.sources.inputs import Inputs, spelled
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_MANIFEST
from registry.oci.targz import Held, folder_archive
from registry.packs.artifact import PACK_CONFIG, PACK_LAYER, pack_manifest
from registry.packs.reading import read_folder

PLAYBOOKS_TYPE = "application/vnd.dryport.playbooks.v1"
PLAYBOOKS_LAYER = f"{PLAYBOOKS_TYPE}.tar+gzip"
PLAYBOOKS_TITLE = "playbooks.tar.gz"
PLAYBOOKS_PREFIX = "playbooks"


def resolve_playbooks(entry: PlaybooksEntry, product: str, version: str, inputs: Inputs) -> LockedArtifact:
    """Return the locked playbooks, every name in the archive below `playbooks/`. Raises DefinitionError."""
    folder = inputs.directory(entry.folder)
    if entry.collections and (folder / "collections").exists():
        raise DefinitionError(
            "collections-twice",
            "the playbooks have a folder of collections of their own",
            where=f"{spelled(entry.folder)}/collections",
            hint="remove that folder, or list no collections in the definition",
        )
    more = collections.resolve(entry.collections, inputs)
    blob = _archive(entry.folder, folder, PLAYBOOKS_PREFIX, PLAYBOOKS_LAYER, more)
    if entry.collections:
        blob = blob.model_copy(
            update={
                "origin": FolderArchive(folder=entry.folder, prefix=PLAYBOOKS_PREFIX, collections=entry.collections)
            }
        )
    ref = f"dryport/playbooks/{product}:{version}"
    return made("playbooks", PLAYBOOKS_TYPE, ref, [Layer(PLAYBOOKS_TITLE, blob)], title="playbooks")


def resolve_pack(entry: PackEntry, inputs: Inputs) -> LockedArtifact:
    """Return the locked pack. Raises DefinitionError; whether its images are carried is judged by `bundles.closure`."""
    folder = inputs.directory(entry.folder)
    pack = read_folder(folder)
    name = f"{pack.metadata.name} {pack.metadata.version}"
    if lost := [note.text for note in pack.notes if note.reference == "listed-file-missing"]:
        raise DefinitionError(
            "pack-file-missing", f"pack {name}: {'; '.join(lost)}", where=spelled(entry.folder), hint="mend pack.json"
        )
    blob = _archive(entry.folder, folder, pack.metadata.title, PACK_LAYER)
    manifest = pack_manifest(pack.metadata, Layer(f"{pack.metadata.title}.tar.gz", blob).descriptor)
    return LockedArtifact(
        kind="pack",
        ref=f"{pack.metadata.repository}:{pack.metadata.tag}",
        root=inline(manifest.decode(), OCI_MANIFEST),
        blobs=[inline(EMPTY_BYTES.decode(), PACK_CONFIG), blob],
        title=f"pack {name}",
    )


def _archive(location: Location, folder: Path, prefix: str, media_type: str, more: Sequence[Held] = ()) -> LockedBlob:
    hasher, size = hashlib.sha256(), 0
    for block in folder_archive(folder, prefix, more):
        hasher.update(block)
        size += len(block)
    return LockedBlob(
        digest=Digest("sha256", hasher.hexdigest()),
        size=size,
        media_type=media_type,
        origin=FolderArchive(folder=location, prefix=prefix),
    )
