"""Blobs: GET, HEAD (end-2) with ranges, and DELETE (end-10)."""

from __future__ import annotations

from registry.content import Content
from registry.oci.digest import Digest
from registry.server import ranges
from registry.server.context import Call, digest_of
from registry.server.exchange import Answer, Span
from registry.server.wire import Refusal
from registry.store.files import StoredContent

FOREVER = "max-age=31536000"
OCTETS = "application/octet-stream"


async def get(call: Call) -> Answer:
    """OCI dist-spec: end-2."""
    digest = digest_of(call.argument)
    sources = call.registry.sources
    content = await call.registry.threads.keep(sources.blob, call.repository, digest)
    if content is None:
        is_absent = await call.registry.threads.keep(sources.is_absent, call.repository, digest)
        reason = "the blob was left out on purpose" if is_absent else "the repository has no such blob"
        raise Refusal("BLOB_UNKNOWN", reason, detail={"digest": str(digest)})
    return serve(call, content, digest, OCTETS, FOREVER)


def serve(call: Call, content: Content, digest: Digest, media_type: str, cache: str) -> Answer:
    """Return the answer that carries a content, whole or the range that was asked for."""
    etag = f'"{digest}"'
    asked = call.request.headers
    headers = {
        "Content-Type": media_type,
        "Docker-Content-Digest": str(digest),
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": cache,
    }
    if is_known(asked.get("if-none-match"), etag):
        content.close()
        return Answer(304, headers)
    accel = call.registry.settings.accel
    if accel and call.request.method == "GET" and isinstance(content, StoredContent):
        content.close()
        return Answer(200, headers | {"X-Accel-Redirect": f"{accel}/{digest.algorithm}/{digest.hex}"})
    wants_range = call.request.method == "GET" and asked.get("if-range", etag) == etag
    size = content.size
    try:
        wanted = ranges.parse(asked.get("range"), size) if wants_range else ()
    except ranges.UnsatisfiableError:
        content.close()
        return Answer(416, headers | {"Content-Range": f"bytes */{size}"})
    if not wanted:
        return Answer(200, headers, Span(content, 0, size))
    if len(wanted) == 1:
        start, end = wanted[0]
        return Answer(206, headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}, Span(content, start, end))
    parts = ranges.Multipart(content, wanted, media_type)
    return Answer(206, headers | {"Content-Type": parts.media_type}, Span(parts, 0, parts.size))


def is_known(header: str | None, etag: str) -> bool:
    """Say whether the client has this content already (If-None-Match)."""
    return header is not None and any(mark.strip().removeprefix("W/") in (etag, "*") for mark in header.split(","))


async def delete(call: Call) -> Answer:
    """OCI dist-spec: end-10."""
    digest = digest_of(call.argument)
    if not await call.registry.threads.keep(call.store.delete_blob, call.repository, digest):
        raise Refusal("BLOB_UNKNOWN", "the repository has no such blob of its own")
    return Answer(202)
