"""What a manifest is, in one word for a person, told from its types alone."""

from __future__ import annotations

import re

from registry.oci.manifest import INDEXES, OCI_CONFIG
from registry.packs.artifact import PACK_CONFIG
from registry.packs.model import NAMESPACE

_OURS = re.compile(r"application/vnd\.dryport\.([a-z]+)\.v[0-9]+(\+json)?")
_IMAGES = {OCI_CONFIG, "application/vnd.docker.container.image.v1+json"}
_MARKS = (  # looked for in the artifact's type, the most telling first
    ("sbom", ("spdx", "cyclonedx", "syft")),
    ("signature", ("cosign.artifact.sig", "cosign.simplesigning", "notary.signature", "dev.sigstore.bundle")),
    ("attestation", ("in-toto", "dsse", "attestation")),
    ("chart", ("cncf.helm",)),
)
_FALLBACK = {"sig": "signature", "att": "attestation", "sbom": "sbom"}
FALLBACK_TAG = re.compile(r"sha(?:256|512)-[0-9a-f]{32,128}(?:\.(sig|att|sbom))?")
"""How clients name what refers to a digest in registries without a referrers API."""


def is_pack(repository: str) -> bool:
    """Say whether a repository is where packs are, below any base path."""
    return f"/{NAMESPACE}/" in f"/{repository}"


def kind(repository: str, media_type: str, artifact_type: str | None) -> str:
    """Return image, pack, chart, signature, sbom, attestation, artifact, or the name of a kind of ours."""
    named = artifact_type or ""
    if ours := _OURS.fullmatch(named):
        return ours[1]
    if is_pack(repository) and named in ("", PACK_CONFIG):
        return "pack"
    if named in _IMAGES or (media_type in INDEXES and not named):
        return "image"
    return next((word for word, marks in _MARKS if any(mark in named for mark in marks)), "artifact")


def fallback_kind(tag: str) -> str | None:
    """Return what a fallback tag stands for; None for any other tag."""
    found = FALLBACK_TAG.fullmatch(tag)
    return _FALLBACK.get(found[1] or "", "referrers") if found else None
