"""Helm charts for tests: their archives, and how Helm keeps them in registries."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from bundles.sources.charts import CONFIG, LAYER
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.store.store import Store
from tests.oci_samples import descriptor


def chart_archive(files: Mapping[str, str]) -> bytes:
    """Return a tar.gz of files by name, the chart's folder included."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def chart(store: Store, repository: str, archive: bytes, tag: str) -> Digest:
    """Put a chart into a registry as `helm push` does."""
    config = b'{"apiVersion":"v2"}'
    for data in (archive, config):
        store.put_blob(repository, Digest.of(data), [data])
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, CONFIG).as_json(),
        "layers": [descriptor(archive, LAYER).as_json()],
    }
    return store.put_manifest(repository, strictjson.canonical(value), OCI_MANIFEST, [tag])
