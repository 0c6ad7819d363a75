"""The bill of materials of a bundle, in CycloneDX 1.6: every artefact, and every OS package, wheel and file in them.

It follows from the lock alone, which every bundle carries: the same lock gives the same bytes, on any machine and day.
What is inside a container image it does not know; an image's own SBOM travels as content that refers to the image.

>>> print(bill(lock).decode())
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from bundles.lock import AptPackage, Inline, Lock, LockedArtifact, LockedBlob
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import TITLE

_TYPES = {"image": "container", "apt": "library", "wheels": "library", "vmimage": "operating-system"}
_APPLICATIONS = {"chart", "pack", "playbooks", "kit"}
_ALGORITHMS = {"sha256": "SHA-256", "sha512": "SHA-512"}
_NAMESPACE = uuid.UUID("6c0f8f0e-5a6b-5c52-9d3c-7f3a1f0f2b11")
"""Makes a lock's serial number: any fixed value does, and it must never change."""


def bill(lock: Lock) -> bytes:
    """Return the CycloneDX document of a lock, in its one encoding."""
    artifacts = [one for one in lock.artifacts if one.kind != "lock"]
    product = f"{lock.product}@{lock.version}"
    components = [_component(one) for one in artifacts]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, str(Digest.of(lock.encode())))}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": product,
                "name": lock.product,
                "version": lock.version,
                "properties": [_property("platform", one) for one in lock.platforms],
            }
        },
        "components": components,
        "dependencies": [{"ref": product, "dependsOn": sorted({one["bom-ref"] for one in components})}],
    }
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _component(artifact: LockedArtifact) -> dict[str, Any]:
    manifest = _inline(artifact.root)
    name, version = _named(artifact.ref)
    found: dict[str, Any] = {
        "type": _TYPES.get(artifact.kind, "application" if artifact.kind in _APPLICATIONS else "file"),
        "bom-ref": f"{artifact.kind}:{artifact.ref}",
        "name": name,
        "version": version,
        "hashes": [_hash(artifact.root)],
        "properties": [_property("kind", artifact.kind), _property("bytes", str(artifact.size))],
    }
    if artifact.title:
        found["description"] = artifact.title
    if artifact.kind in {"image", "chart"}:
        found["purl"] = _oci(artifact)
    titles = {one.get("digest"): one.get("annotations", {}).get(TITLE) for one in manifest.get("layers", []) if one}
    parts = [
        _part(found["bom-ref"], blob, titles.get(str(blob.digest)))
        for blob in artifact.blobs
        if isinstance(blob.origin, AptPackage) or titles.get(str(blob.digest))
    ]
    if parts and artifact.kind != "image":
        found["components"] = sorted(parts, key=lambda one: str(one["bom-ref"]))
    return found


def _part(parent: str, blob: LockedBlob, title: str | None) -> dict[str, Any]:
    """Return an OS package, a wheel or a file in an artefact."""
    part: dict[str, Any] = {"bom-ref": f"{parent}#{blob.digest}", "hashes": [_hash(blob)]}
    origin = blob.origin
    if isinstance(origin, AptPackage):
        qualifiers = f"arch={_quoted(origin.architecture)}&distro={_quoted(origin.suites[0])}"
        purl = f"pkg:deb/{_quoted(origin.package)}@{_quoted(origin.version)}?{qualifiers}"
        return part | {"type": "library", "name": origin.package, "version": origin.version, "purl": purl}
    name = (title or "").rpartition("/")[2]
    if name.endswith(".whl") and name.count("-") >= 4:  # noqa: PLR2004 - a wheel's name has five parts
        project, version = name.split("-")[:2]
        project = project.replace("_", "-").lower()
        purl = f"pkg:pypi/{_quoted(project)}@{_quoted(version)}"
        return part | {"type": "library", "name": project, "version": version, "purl": purl}
    return part | {"type": "file", "name": title or str(blob.digest)}


def _named(ref: str) -> tuple[str, str]:
    """Return a reference's name, and its tag or digest."""
    name, _, digest = ref.partition("@")
    folder, _, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return f"{folder}/{last}".lstrip("/"), tag or digest


def _oci(artifact: LockedArtifact) -> str:
    name, version = _named(artifact.ref)
    qualifiers = f"repository_url={_quoted(name)}"
    if version and ":" not in version:
        qualifiers += f"&tag={_quoted(version)}"
    last = name.rpartition("/")[2].lower()
    return f"pkg:oci/{_quoted(last)}@{_quoted(str(artifact.root.digest))}?{qualifiers}"


def _inline(blob: LockedBlob) -> Mapping[str, Any]:
    """Return the JSON that a lock carries for a manifest; nothing for one that it only names."""
    if not isinstance(blob.origin, Inline):
        return {}
    try:
        value = strictjson.loads(blob.origin.text.encode())
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _hash(blob: LockedBlob) -> dict[str, str]:
    return {"alg": _ALGORITHMS[blob.digest.algorithm], "content": blob.digest.hex}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"dev.dryport.{name}", "value": value}


def _quoted(text: str) -> str:
    return quote(text, safe="")
