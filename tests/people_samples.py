"""A registry as people meet it: images with signatures and SBOMs, packs with logos, and a bundle mounted too."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

from bundles.content import BundleContent
from bundles.verify import verify
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX, OCI_MANIFEST, artifact
from registry.packs.artifact import CONFIG, PACK_LAYER, pack_archive, pack_manifest
from registry.packs.reading import read_folder
from registry.store.store import Store
from tests.attacks.publisher import NOW, Publisher
from tests.oci_samples import image
from tests.sample_bundles import Sample

HOSTILE = "<script>alert(1)</script><img src=https://elsewhere.example/x.png onerror=alert(1)>"
README = f"""# Ingress gateway

Routes traffic from the site's edge to **services**. It needs no network beyond the site.

## Before you begin

1. A cluster of Kubernetes 1.27 or newer.
2. A pool of addresses for `LoadBalancer` services.

| Value | Meaning | Default |
|---|---|---|
| `replicas` | how many gateways | 2 |
| `tls.minimum` | oldest TLS version | 1.2 |

See [the project](https://gateway.example.org/docs) or [click](javascript:alert(1)). ![a picture](https://elsewhere.example/p.png)

{HOSTILE}
"""
VALUES = """# Values of the gateway; every key may be changed.
pack:
  namespace: gateway-system
  content:
    images:
      - image: registry.example.org/edge/gateway:2.1
      - image: registry.example.org/edge/missing:1.0
charts:
  gateway:
    # one per host is enough for most sites
    replicas: 2
    tls:
      minimum: "1.2"
"""
GATEWAY = "registry.example.org/edge/gateway"


def logo(colour: tuple[int, int, int], size: int = 48) -> bytes:
    """Return a small picture: a ring of one colour."""
    rows = bytearray()
    for y in range(size):
        rows.append(0)
        for x in range(size):
            far = ((x - size / 2 + 0.5) ** 2 + (y - size / 2 + 0.5) ** 2) ** 0.5
            rows += bytes((*colour, 255 if size * 0.25 < far < size * 0.44 else 0))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def push_pack(store: Store, folder: Path, name: str, version: str, **extra: object) -> str:
    """Write a pack's folder, store its artifact, and return its repository."""
    place = folder / f"{name}-{version}"
    place.mkdir(parents=True)
    about = {"name": name, "version": version, "layer": "addon", "displayName": name.replace("-", " ").title(), **extra}
    (place / "pack.json").write_text(json.dumps(about))
    (place / "values.yaml").write_text(VALUES)
    (place / "README.md").write_text(README)
    (place / "logo.png").write_bytes(logo((zlib.crc32(name.encode()) % 200, 110, 130)))
    data = b"".join(pack_archive(place))
    metadata = read_folder(place).metadata
    layer = Descriptor(PACK_LAYER, Digest.of(data), len(data))
    for blob in (data, b"{}"):
        store.put_blob(metadata.repository, Digest.of(blob), [blob])
    store.put_manifest(metadata.repository, pack_manifest(metadata, layer), OCI_MANIFEST, [metadata.tag])
    assert CONFIG.digest == Digest.of(b"{}")
    return metadata.repository


def push_image(store: Store, repository: str, tags: list[str], content: bytes = b"hello\n") -> Digest:
    """Store an index of one platform that is here and one that is not, and return its digest."""
    one = image(content)
    config = json.loads(one.config) | {
        "created": "2026-10-02T08:30:00Z",
        "config": {
            "Entrypoint": ["/gateway"],
            "Cmd": ["--listen", ":8443"],
            "Env": ["PATH=/bin", "MODE=edge"],
            "User": "65532",
            "ExposedPorts": {"8443/tcp": {}},
            "Labels": {"org.example.team": "edge", "hostile": HOSTILE},
        },
        "history": [{"created_by": "COPY gateway /gateway # buildkit"}],
    }
    one = type(one)(one.layer, strictjson.canonical(config))
    for digest, data in one.blobs.items():
        store.put_blob(repository, digest, [data])
    child = store.put_manifest(repository, one.manifest, OCI_MANIFEST, [])
    entries = [
        _entry(child, len(one.manifest), "amd64"),
        _entry(Digest.of(b"arm64" + content), 500, "arm64"),
    ]
    index = strictjson.canonical({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    return store.put_manifest(repository, index, OCI_INDEX, tags)


def push_referrer(store: Store, repository: str, subject: Digest, artifact_type: str, data: bytes) -> Digest:
    """Store an artifact that speaks about `subject`."""
    known = store.manifest(repository, subject)
    assert known is not None
    for blob in (data, b"{}"):
        store.put_blob(repository, Digest.of(blob), [blob])
    layer = Descriptor("application/json", Digest.of(data), len(data))
    created = {"org.opencontainers.image.created": "2026-10-02T09:00:00Z"}
    value = json.loads(artifact(artifact_type, [layer], created))
    value["subject"] = Descriptor(known[1], subject, len(known[0])).as_json()
    return store.put_manifest(repository, strictjson.canonical(value), OCI_MANIFEST, [])


def fill(store: Store, folder: Path) -> None:
    """Fill a store with what people look for."""
    for version in ("2.9.0", "2.10.0", "2.10.0-rc1"):
        push_pack(
            store,
            folder,
            "ingress-gateway",
            version,
            addonType="ingress",
            cloudTypes=["vsphere", "openstack", "baremetal"],
            constraints={"dependencies": [{"packName": "kubernetes", "type": "optional", "minVersion": "1.27"}]},
        )
    push_pack(store, folder, "local-storage", "1.4.2", layer="csi", cloudTypes=["all"])
    push_pack(store, folder, "log-collector", "0.19.0", addonType="logging", cloudTypes=["all"])
    digest = push_image(store, GATEWAY, ["2.1", "latest"])
    push_image(store, GATEWAY, ["2.0"], b"older\n")
    push_referrer(store, GATEWAY, digest, "application/vnd.dev.cosign.artifact.sig.v1+json", b'{"signed":true}')
    push_referrer(store, GATEWAY, digest, "application/spdx+json", b'{"spdxVersion":"SPDX-2.3"}')
    for name in ("team/api", "team/worker", "team/private/ledger", "mirror/docker.io/library/nginx"):
        push_image(store, name, ["1.0", "1.1"], name.encode())


def mount(folder: Path) -> BundleContent:
    """Return a small bundle, built, signed and verified, as a server mounts it."""
    path, publisher = folder / "quickstart.tar", Publisher(product="sample")
    Sample.small().publish(path, publisher)
    return verify(path, publisher.begin(), now=NOW).content()


def _entry(digest: Digest, size: int, architecture: str) -> dict[str, object]:
    return Descriptor(OCI_MANIFEST, digest, size, platform={"os": "linux", "architecture": architecture}).as_json()
