"""Uploads: begin (end-4a, b, c), mount (end-11), append (end-5), close (end-6), status (end-13), cancel (end-14).

The id in a Location is opaque and one path segment; a session belongs to its repository and user, for all others it
does not exist. Bytes go to disk in batches in a thread while the next batch arrives; memory holds two batches.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from registry.oci.digest import Digest
from registry.oci.reference import repository_name
from registry.server.context import Call, digest_of
from registry.server.exchange import Answer, DisconnectedError
from registry.server.wire import Refusal
from registry.store.faults import DigestMismatchError, PolicyError, UploadBusyError, UploadUnknownError
from registry.store.uploads import Session
from registry.store.writer import Writer

SETTLE_PAUSE, SETTLE_LOOKS = 0.05, 200
"""How long a status waits for a request that still writes: ten seconds, far less than clients wait for an answer."""
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,19})-([0-9]{1,19})(?:/(?:\*|[0-9]{1,19}))?")


async def begin(call: Call) -> Answer:
    """OCI dist-spec: end-4a, end-4b, end-4c, end-11."""
    store, keep = call.store, call.registry.threads.keep
    mount, digest = call.request.asked("mount"), call.request.asked("digest")
    if mount:
        is_mounted: bool = await keep(_mount, call, digest_of(mount))
        if is_mounted:
            return _created(call, digest_of(mount))
    wanted = digest_of(digest) if digest else None
    algorithm = wanted.algorithm if wanted else call.request.asked("digest-algorithm") or "sha256"
    if algorithm not in ("sha256", "sha512"):
        raise Refusal("DIGEST_INVALID", "digests are sha256 or sha512")
    session = await keep(store.uploads.begin, call.repository, call.identity.name, algorithm)
    if wanted is None:
        answer = _progress(call, session.id, session.size)
        if call.registry.settings.least_chunk:
            answer.headers["OCI-Chunk-Min-Length"] = str(call.registry.settings.least_chunk)
        return answer
    try:
        return await _close(call, session.id, wanted)
    except Exception:  # whatever it was: nobody was told of the session
        with suppress(UploadUnknownError, UploadBusyError, PolicyError, OSError):
            await keep(store.uploads.cancel, call.repository, call.identity.name, session.id)
        raise


def _mount(call: Call, digest: Digest) -> bool:
    """Show a blob that the caller may read elsewhere; anything else is no error but an ordinary upload."""
    source = call.request.asked("from")
    try:
        names = [repository_name(source)] if source else call.store.holders(digest)
    except ValueError:
        return False
    allowed = (name for name in names if call.identity.may("pull", name))
    return any(call.store.link_blob(call.repository, digest, name) for name in allowed)


async def append(call: Call) -> Answer:
    """OCI dist-spec: end-5."""
    async with _writer(call, call.argument) as writer:
        await _receive(call, writer)
        size = await call.registry.threads.keep(writer.save)
    return _progress(call, call.argument, size)


async def close(call: Call) -> Answer:
    """OCI dist-spec: end-6."""
    return await _close(call, call.argument, digest_of(call.request.asked("digest") or ""))


async def status(call: Call) -> Answer:
    """OCI dist-spec: end-13; what a client that died has still on its way belongs to the answer."""
    session = await _session(call)
    for _ in range(SETTLE_LOOKS):
        if not await call.registry.threads.keep(call.store.uploads.is_written, session.id):
            break
        await asyncio.sleep(SETTLE_PAUSE)
    session = await _session(call)
    return _progress(call, session.id, session.size, 204)


async def cancel(call: Call) -> Answer:
    """OCI dist-spec: end-14."""
    async with _writer(call, call.argument) as writer:
        await call.registry.threads.keep(writer.discard)
    return Answer(204)


async def _close(call: Call, identity: str, digest: Digest) -> Answer:
    async with _writer(call, identity) as writer:
        await _receive(call, writer)
        try:
            await call.registry.threads.keep(writer.commit, digest)
        except DigestMismatchError as error:
            raise Refusal("DIGEST_INVALID", error.message, detail={"seen": error.seen}) from error
    return _created(call, digest)


async def _receive(call: Call, writer: Writer) -> None:
    """Take the request's body; a client that goes away leaves behind what arrived, durably."""
    keep = call.registry.threads.keep
    expected = _expected(call, writer)
    try:
        await call.request.pour(writer.write, call.registry.threads)
    except DisconnectedError:
        await keep(writer.save)
        raise
    if expected is not None and writer.size - writer.start != expected:
        await keep(writer.rewind)
        raise Refusal("SIZE_INVALID", "the body is not as long as its Content-Range says")


def _expected(call: Call, writer: Writer) -> int | None:
    """Return how long the body has to be. Raises Refusal (416) for a chunk that does not come next."""
    header = call.request.headers.get("content-range")
    if header is None:
        return call.request.length
    found = _CONTENT_RANGE.fullmatch(header.strip())
    if found is None:
        raise Refusal("BLOB_UPLOAD_INVALID", "Content-Range is not first-last", status=400)
    first, last = map(int, found.groups())
    if first != writer.start or last < first:
        raise _out_of_order(call, writer.start)
    length = last - first + 1
    if call.request.length not in (None, length):
        raise Refusal("SIZE_INVALID", "Content-Length and Content-Range differ")
    return length


@asynccontextmanager
async def _writer(call: Call, identity: str) -> AsyncIterator[Writer]:
    """Give the session's writer; a disk that refuses ends the session and frees its space at once."""
    keep = call.registry.threads.keep
    open_it = partial(call.store.uploads.write, call.repository, call.identity.name, identity)
    try:
        writer = await keep(open_it)
    except UploadUnknownError as error:
        raise _unknown() from error
    except UploadBusyError as error:
        raise Refusal("BLOB_UPLOAD_INVALID", error.message, headers=_place(call, identity)) from error
    try:
        yield writer
    except UploadUnknownError as error:
        raise _unknown() from error
    except OSError:
        await keep(writer.discard)
        raise
    finally:
        await keep(writer.close)


async def _session(call: Call) -> Session:
    find: Callable[..., Session] = call.store.uploads.find
    try:
        return await call.registry.threads.keep(find, call.repository, call.identity.name, call.argument)
    except UploadUnknownError as error:
        raise _unknown() from error


def _unknown() -> Refusal:
    return Refusal("BLOB_UPLOAD_UNKNOWN", "there is no such upload")


def _out_of_order(call: Call, size: int) -> Refusal:
    headers = _place(call, call.argument) | _extent(size)
    return Refusal("BLOB_UPLOAD_INVALID", f"the next byte of this upload is {size}", headers=headers)


def _created(call: Call, digest: Digest) -> Answer:
    headers = {"Location": f"/v2/{call.repository}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
    return Answer(201, headers)


def _progress(call: Call, identity: str, size: int, code: int = 202) -> Answer:
    return Answer(code, _place(call, identity) | _extent(size))


def _place(call: Call, identity: str) -> dict[str, str]:
    return {"Location": f"/v2/{call.repository}/blobs/uploads/{identity}", "Docker-Upload-UUID": identity}


def _extent(size: int) -> dict[str, str]:
    # `0-0` stands for no byte and for one: clients expect it so. X-Upload-Offset tells them apart.
    return {"Range": f"0-{max(size - 1, 0)}", "X-Upload-Offset": str(size)}
