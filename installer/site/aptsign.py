"""The site signs the apt repositories that it takes in: hosts trust the site's key, not the builder's.

The bundle carries an unsigned `Release`. Beside it the site puts `InRelease`, its clear signature, in a manifest of
its own (tag `<version>-site`) that names the same packages, so nothing is copied and the bundle stays as it is.
The key is OpenPGP in the older profile (RFC 4880), which gpgv of Debian 12 reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from registry.content import ContentSource
from registry.errors import MediaError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_MANIFEST, TITLE, Manifest, artifact
from registry.store import durable
from registry.store.store import Store

KEY_LIFE_SECONDS = 20 * 365 * 86400
INDEX_LAYER = "application/vnd.dryport.apt.v1.index"
RELEASE_BYTES = 1 << 20
SIGNER = "dev.dryport.apt.signer"
"""Annotation of the signed form: the signing key's fingerprint."""
_RELEASE = re.compile(r"dists/([A-Za-z0-9][A-Za-z0-9._-]*)/Release")


def ensure_key(secret: Path, public: Path, owner: str) -> str:
    """Return the armored certificate of the site's apt key, made once."""
    from pysequoia import Profile, Tsk  # noqa: PLC0415 - a native library that only this file needs

    if not secret.exists():
        made = Tsk.generate(user_id=owner, profile=Profile.RFC4880, validity_seconds=KEY_LIFE_SECONDS)
        durable.create(secret, bytes(made), 0o600)
    certificate = str(Tsk.from_bytes(secret.read_bytes()).extract_certificate())
    if not public.exists() or public.read_bytes().decode() != certificate:
        durable.replace(public, certificate.encode(), 0o644)
    return certificate


def owner(site: str) -> str:
    """Return the name that the apt key of a site bears."""
    return f"dryport site {site}"


def clear_sign(release: bytes, secret: Path) -> bytes:
    """Return a `Release` file with the site's signature around it: an `InRelease`."""
    from pysequoia import SignatureMode, Tsk, sign  # noqa: PLC0415

    key = Tsk.from_bytes(secret.read_bytes())
    # the newline before the signature belongs to the frame (RFC 4880, 7.1), so the last one of the text comes from it
    signed: bytes = sign(key.signer(), release.removesuffix(b"\n"), mode=SignatureMode.CLEAR)
    return signed


def sign_repository(source: ContentSource, store: Store, repository: str, version: str, secret: Path) -> str:
    """Return the tag of the signed form of an apt repository; it is made once and added to `store`.

    Raises MediaError if the bundle's apt artefact is not one.
    """
    tag = f"{version}-site"
    named = source.resolve(repository, version)
    found = source.manifest(repository, named.digest) if named else None
    if not found:
        raise MediaError(
            "apt-missing",
            "the bundle holds no such apt repository",
            where=f"{repository}:{version}",
            hint="tell whoever made the bundle; nothing of it is used",
        )
    base = Manifest.parse(*found)
    notes = {**base.annotations, SIGNER: _fingerprint(secret)}
    if _is_signed_form(store, repository, tag, base, notes):
        return tag
    index = []
    for layer in base.blobs:
        if match := _RELEASE.fullmatch(layer.annotations.get(TITLE, "")):
            signed = clear_sign(_read(source, repository, layer), secret)
            title = {TITLE: f"dists/{match.group(1)}/InRelease"}
            index.append(Descriptor(INDEX_LAYER, Digest.of(signed), len(signed), title))
            store.put_blob(repository, Digest.of(signed), [signed])
    if not index:
        raise MediaError(
            "apt-release-missing",
            "the apt artefact has no Release file",
            where=f"{repository}:{version}",
            hint="tell whoever made the bundle; nothing of it is used",
        )
    empty = Digest.of(EMPTY_BYTES)
    store.put_blob(repository, empty, [EMPTY_BYTES])
    data = artifact(base.artifact_type or "", [*_layers(base), *index], notes)
    store.put_manifest(repository, data, OCI_MANIFEST, [tag], elsewhere=source)
    return tag


def _is_signed_form(store: Store, repository: str, tag: str, base: Manifest, notes: Mapping[str, str]) -> bool:
    named = store.resolve(repository, tag)
    found = store.manifest(repository, named.digest) if named else None
    if not found:
        return False
    signed, count = Manifest.parse(*found), len(_layers(base))
    has_signatures = all(store.has_blob(repository, layer.digest) for layer in _layers(signed)[count:])
    return _layers(signed)[:count] == _layers(base) and signed.annotations == notes and has_signatures


def _fingerprint(secret: Path) -> str:
    from pysequoia import Tsk  # noqa: PLC0415

    fingerprint: str = Tsk.from_bytes(secret.read_bytes()).extract_certificate().fingerprint
    return fingerprint


def _layers(manifest: Manifest) -> Sequence[Descriptor]:
    return manifest.blobs[1:]


def _read(source: ContentSource, repository: str, layer: Descriptor) -> bytes:
    content = source.blob(repository, layer.digest)
    if content is None or layer.size > RELEASE_BYTES:
        raise MediaError(
            "apt-release-missing",
            "the Release file is not there or too large",
            where=repository,
            hint="tell whoever made the bundle; nothing of it is used",
        )
    try:
        return content.read(0, layer.size)
    finally:
        content.close()
