"""Manifests: GET, HEAD (end-3), PUT by tag or digest (end-7a, end-7b), DELETE (end-9). Bytes go out as they came in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import Manifest
from registry.oci.reference import tag_name
from registry.server.blobs import FOREVER, is_known
from registry.server.context import Call, digest_of
from registry.server.exchange import Answer
from registry.server.wire import Refusal, warning
from registry.store.faults import BlobMissingError, DigestMismatchError, ManifestInvalidError, TagExistsError

MANIFEST_BYTES = 2 * strictjson.METADATA_BYTES
MOST_TAGS = 100
NEARLY_FULL = 0.9


async def get(call: Call) -> Answer:
    """OCI dist-spec: end-3."""
    digest, found = await call.registry.threads.keep(_find, call)
    data, media_type = found
    headers = {
        "Content-Type": media_type,
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
        "Cache-Control": FOREVER if ":" in call.argument else "no-cache",
    }
    if is_known(call.request.headers.get("if-none-match"), headers["ETag"]):
        return Answer(304, headers)
    return Answer(200, headers, data)


def _find(call: Call) -> tuple[Digest, tuple[bytes, str]]:
    sources = call.registry.sources
    digest, tag = _reference(call.argument)
    if tag:
        known = sources.resolve(call.repository, tag)
        digest = known.digest if known else None
    found = sources.manifest(call.repository, digest) if digest else None
    if digest is None or found is None:
        is_absent = digest is not None and sources.is_absent(call.repository, digest)
        reason = "the manifest was left out on purpose" if is_absent else "the repository has no such manifest"
        raise Refusal("MANIFEST_UNKNOWN", reason, detail={"reference": call.argument, "absent": is_absent})
    return digest, found


async def put(call: Call) -> Answer:
    """OCI dist-spec: end-7a and end-7b."""
    digest, tag = _reference(call.argument)
    tags = [tag] if tag else list(dict.fromkeys(map(_tag, call.request.query.get("tag", []))))
    if len(tags) > MOST_TAGS:
        raise Refusal("UNSUPPORTED", f"at most {MOST_TAGS} tags are set at once", status=414)
    store = call.store
    data = await call.request.body(MANIFEST_BYTES)
    media_type = call.request.headers.get("content-type", "").partition(";")[0].strip()
    only_new = not call.identity.may("push", call.repository)  # who may `create` moves no tag that is there
    write = partial(store.put_manifest, digest=digest, elsewhere=call.registry.sources, only_new_tags=only_new)
    keep = call.registry.threads.keep
    if only_new:
        await keep(_check_mounted, call, Digest.of(data), tags)
    try:
        stored = await keep(write, call.repository, data, media_type, tags)
        subject = (await keep(Manifest.parse, data, media_type)).subject
    except ManifestInvalidError as error:
        raise Refusal("MANIFEST_INVALID", error.message) from error
    except BlobMissingError as error:
        raise Refusal("MANIFEST_BLOB_UNKNOWN", error.message, detail={"digest": str(error.digest)}) from error
    except DigestMismatchError as error:
        raise Refusal("DIGEST_INVALID", error.message, detail={"seen": error.seen}) from error
    headers = {
        "Location": f"/v2/{call.repository}/manifests/{stored}",
        "Docker-Content-Digest": str(stored),
    }
    if subject:
        headers["OCI-Subject"] = str(subject.digest)
    fullness: float = await keep(store.fullness, call.repository)
    if fullness >= NEARLY_FULL:
        headers |= warning(f"{call.repository} uses {fullness:.0%} of its quota")
    return Answer(201, headers, repeated=[("OCI-Tag", name) for name in tags if digest])


def _check_mounted(call: Call, digest: Digest, tags: Sequence[str]) -> None:
    """See that no tag hides one of a mounted source; what the store has, it checks itself. Raises TagExistsError."""
    for tag in tags:
        known = call.registry.sources.resolve(call.repository, tag)
        if known and known.digest.algorithm == digest.algorithm and known.digest != digest:
            raise TagExistsError(call.repository, tag)


async def delete(call: Call) -> Answer:
    """OCI dist-spec: end-9. Deleting a tag leaves the manifest."""
    digest, tag = _reference(call.argument)
    store, keep = call.store, call.registry.threads.keep
    if digest:
        is_done = await keep(store.delete_manifest, call.repository, digest)
    else:
        is_done = await keep(store.delete_tag, call.repository, tag)
    if not is_done:
        raise Refusal("MANIFEST_UNKNOWN", "the repository has no such manifest of its own")
    return Answer(202)


def _reference(text: str) -> tuple[Digest | None, str | None]:
    """Return a digest or a tag; only digests hold a colon."""
    return (digest_of(text), None) if ":" in text else (None, _tag(text))


def _tag(text: str) -> str:
    try:
        return tag_name(text)
    except ValueError as error:
        raise Refusal("MANIFEST_INVALID", "a tag is 1 to 128 letters, digits, or _ . - inside") from error
