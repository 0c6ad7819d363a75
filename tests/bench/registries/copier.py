"""dryport's part in the measurements of clients, as a program of its own: one image up or down, four blobs at a time.

python -m tests.bench.registries.copier push|discard|folder URL REPOSITORY LAYOUT [USER PASSWORD]
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from registry.client.access import Access, fixed_login, nobody
from registry.client.push import RemoteTarget
from registry.client.remote import RemoteRegistry
from registry.client.transport import Transport
from registry.oci.descriptor import Descriptor
from registry.oci.manifest import OCI_MANIFEST, Manifest
from registry.store.files import StoredContent

BLOCK = 1 << 20


def manifest_of(layout: Path) -> Manifest:
    """Return the manifest of a layout's one image."""
    entry = json.loads((layout / "index.json").read_text())["manifests"][0]
    return Manifest.parse((layout / "blobs/sha256" / entry["digest"].partition(":")[2]).read_bytes(), OCI_MANIFEST)


def main(kind: str, url: str, repository: str, place: str, *login: str) -> None:
    layout = Path(place)
    transport = Transport(url, Access(login=fixed_login(*login) if login else nobody))
    image = manifest_of(layout)
    source, target = RemoteRegistry.over(transport), RemoteTarget(transport)

    def pull(blob: Descriptor) -> None:
        content, hasher, offset = source.blob_of(repository, blob), blob.digest.hasher(), 0
        with (layout / "pulled" / blob.digest.hex).open("wb") if kind == "folder" else contextlib.nullcontext() as file:
            while offset < blob.size:
                block = content.read(offset, BLOCK)
                hasher.update(block)
                offset += len(block)
                if file:
                    file.write(block)
        content.close()
        if hasher.hexdigest() != blob.digest.hex:
            raise SystemExit("not what its digest promises")

    def push(blob: Descriptor) -> None:
        if target.has_blob(repository, blob):
            return
        content = StoredContent(os.open(layout / "blobs/sha256" / blob.digest.hex, os.O_RDONLY), blob.size)
        target.put_blob(repository, blob, content)
        content.close()

    (layout / "pulled").mkdir(exist_ok=True)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(push if kind == "push" else pull, image.blobs))
    if kind == "push":
        target.put_manifest(repository, image.data, image.media_type, ["1"])
    transport.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
