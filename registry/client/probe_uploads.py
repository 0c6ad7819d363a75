"""How a registry takes blobs: whole, in chunks, after a break, or from another of its repositories."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from registry.client.address import redirected
from registry.client.capabilities import Finding
from registry.client.outgoing import Whole
from registry.client.trial import ANY, SMALL, Trial, closing, is_good, words
from registry.client.uploads import reported_offset
from registry.client.wire import Block
from registry.oci.digest import Digest

LARGE_CHUNK = 5 << 20  # what object stores demand of all chunks but the last
BROKEN = 2 << 20
BROKEN_SECONDS = 3.0


class _CutError(Exception):
    """The line is cut on purpose."""


@dataclass(frozen=True, slots=True)
class _Half:
    """A body that ends in its middle, with the line."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Block]:
        yield memoryview(self.data)[: len(self.data) // 2]
        raise _CutError


def uploads_begin(trial: Trial) -> None:
    """Try whether uploads begin, end when told to, and in which repositories."""
    location, reply = trial.begin(trial.repository)
    trial.note("writable", location is not None, reply)
    if location is None:
        trial.note("creates-repositories", False, reply)
        return
    fresh, begun = trial.begin(f"{trial.repository}-{os.urandom(4).hex()}")  # this one may be there already
    trial.note("creates-repositories", fresh is not None, begun)
    if fresh:
        trial.ask("DELETE", fresh)
    least = reply.headers.get("OCI-Chunk-Min-Length", "")
    if least.isascii() and least.isdecimal():
        trial.note("least-chunk", int(least[:12]), f"OCI-Chunk-Min-Length: {least[:12]}")
    reply = trial.ask("DELETE", location)
    gone = trial.ask("GET", location)
    evidence = f"DELETE gave {words(reply)}, and the upload then {words(gone)}"
    trial.note("cancels-uploads", is_good(reply) and not is_good(gone), evidence)
    deep, reply = trial.begin(f"{trial.repository}/a/b/c/d")
    trial.note("nested-names", deep is not None, reply)
    if deep:
        trial.ask("DELETE", deep)


def whole_blobs(trial: Trial) -> None:
    """Try blobs in one request."""
    data = os.urandom(SMALL)
    location, reply = trial.begin(trial.repository)
    if location:
        reply = trial.ask("PUT", closing(location, data), Whole(data))
        trial.note("monolithic", trial.has(data), reply)
    data = os.urandom(SMALL)
    path = f"/v2/{trial.repository}/blobs/uploads/?digest={Digest.of(data)}"
    reply = trial.ask("POST", path, Whole(data))
    trial.note("single-post", reply.status == 201 and trial.has(data), reply)  # noqa: PLR2004
    if reply.status == 202 and reply.headers.get("Location"):  # noqa: PLR2004 - an ordinary upload, as it may be
        trial.ask("DELETE", redirected(reply.url, reply.headers["Location"]))


def chunks(trial: Trial) -> None:
    """Try blobs in chunks, and what is told between them."""
    announced = trial.found.get("least-chunk", Finding(0, "")).value
    sizes = [max(SMALL, int(announced or 0))]
    if sizes[0] < LARGE_CHUNK:
        sizes.append(LARGE_CHUNK)
    for size in sizes:
        if _chunks_of(trial, size):
            trial.note("least-chunk", size, f"two chunks of {size} bytes were taken")
            return


def _chunks_of(trial: Trial, size: int) -> bool:
    data = os.urandom(2 * size)
    location, reply = trial.begin(trial.repository)
    if location is None:
        return False
    for start in (0, size):
        chunk = Whole(data[start : start + size])
        reply = trial.ask("PATCH", location, chunk, {"Content-Range": f"{start}-{start + size - 1}"})
        if not is_good(reply):
            trial.note("chunked", False, reply)
            trial.ask("DELETE", location)
            return False
        location = redirected(reply.url, reply.headers.get("Location", location))
        if start == 0:
            location = _status(trial, location, size)
    reply = trial.ask("PUT", closing(location, data))
    trial.note("chunked", trial.has(data), reply)
    return trial.has(data)


def _status(trial: Trial, location: str, sent: int) -> str:
    reply = trial.ask("GET", location)
    told = reported_offset(reply) if is_good(reply) else None
    kind = "none" if told is None else "exact" if told == sent else "behind"
    trial.note("upload-status", kind, f"{sent} bytes were taken, {told} are told: {words(reply)}")
    moved = reply.headers.get("Location") if is_good(reply) else None
    return redirected(reply.url, moved) if moved else location


def broken_requests(trial: Trial) -> None:
    """Cut the line inside the request that the mirror would use, and see what is left of it."""
    data = os.urandom(BROKEN)
    location, reply = trial.begin(trial.repository)
    if location is None:
        return
    headers = {"Content-Type": "application/octet-stream"}
    with contextlib.suppress(_CutError):
        trial.transport.attempt(
            "PUT", closing(location, data), scope=trial.scope(), answers=ANY, headers=headers, body=_Half(data)
        )
    until = time.monotonic() + BROKEN_SECONDS
    told: int | None = None
    while not told and time.monotonic() < until:
        reply = trial.ask("GET", location)
        told = reported_offset(reply) if is_good(reply) else None
        if not is_good(reply):
            break
        time.sleep(0.2)
    kept = bool(told)
    evidence = f"a PUT was cut after {BROKEN // 2} of {BROKEN} bytes, {told or 'none'} are told: {words(reply)}"
    if told:
        moved = redirected(reply.url, reply.headers.get("Location", location))
        reply = trial.ask("PATCH", moved, Whole(data[told:]), {"Content-Range": f"{told}-{BROKEN - 1}"})
        if is_good(reply):
            reply = trial.ask("PUT", closing(redirected(reply.url, reply.headers.get("Location", moved)), data))
        kept = trial.has(data)
        evidence += f"; the rest gave {words(reply)}"
    if not kept:
        trial.ask("DELETE", location)
    trial.note("keeps-broken-upload", kept, evidence)


def mounts(trial: Trial) -> None:
    """Try to show what another repository has."""
    source = f"{trial.repository}-source"
    data = os.urandom(SMALL)
    reply = trial.put(source, data)
    if not is_good(reply):
        trial.note("mount", None, f"{source} takes no blob: {words(reply)}")
        return
    for name, query in (("anonymous-mount", ""), ("mount", f"&from={source}")):
        path = f"/v2/{trial.repository}/blobs/uploads/?mount={Digest.of(data)}{query}"
        scope = f"{trial.scope()} repository:{source}:pull"
        reply = trial.transport.request("POST", path, scope=scope, answers=ANY)
        is_done = reply.status == 201 and trial.has(data)  # noqa: PLR2004
        trial.note(name, is_done, reply)
        if is_done and name == "anonymous-mount":
            data = os.urandom(SMALL)
            trial.put(source, data)
        elif reply.status == 202 and reply.headers.get("Location"):  # noqa: PLR2004
            trial.ask("DELETE", redirected(reply.url, reply.headers["Location"]))
