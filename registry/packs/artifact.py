"""A pack as OCI artifact, exactly as Palette's registries and scanners expect it.

One image manifest, a config of media type `application/vnd.unknown.config.v1+json` that holds `{}`, and one tar.gz
layer whose title is `<name>-<version>.tar.gz`: the scanner keys on the title.

>>> pack = read_folder(folder)
>>> layer = Descriptor(PACK_LAYER, Digest.of(data), len(data))     # data: the blocks of pack_archive(folder)
>>> pack_manifest(pack.metadata, layer)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_LAYER, OCI_MANIFEST, TITLE
from registry.oci.targz import folder_archive
from registry.packs.model import PackMetadata
from registry.packs.reading import read_folder

PACK_CONFIG = "application/vnd.unknown.config.v1+json"
PACK_LAYER = f"{OCI_LAYER}+gzip"
CONFIG = Descriptor(PACK_CONFIG, Digest.of(EMPTY_BYTES), len(EMPTY_BYTES))


def pack_archive(folder: Path) -> Iterator[bytes]:
    """Yield the reproducible tar.gz of a pack's folder, all names below `<name>-<version>/`. Raises DefinitionError."""
    return folder_archive(folder, read_folder(folder).metadata.title)


def pack_manifest(metadata: PackMetadata, layer: Descriptor) -> bytes:
    """Return the manifest of a pack whose archive is `layer` (its digest and size count, the title is set here)."""
    titled = replace(layer, media_type=PACK_LAYER, annotations={TITLE: f"{metadata.title}.tar.gz"})
    return strictjson.canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": CONFIG.as_json(),
            "layers": [titled.as_json()],
        }
    )
