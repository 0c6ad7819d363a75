"""What a registry can do, found out by doing it on a scratch repository, before anything is sent in earnest.

Every step is harmless, small, and cleaned up; where the registry deletes nothing, the evidence says what is left. The
content is random, so that no step finds what another probe left behind.

>>> probe(RemoteTarget(transport), "team/dryport-probe", now).can("sparse-indexes")
False
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from registry.client import specimens
from registry.client.address import redirected
from registry.client.answer import Again, Reply
from registry.client.capabilities import NAMES, Capabilities, Finding, Value
from registry.client.outgoing import Whole
from registry.client.transport import Transport
from registry.client.uploads import reported_offset
from registry.client.wire import Block
from registry.errors import DryportError, RemoteError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.reference import repository_name

SMALL = 64 << 10
LARGE_CHUNK = 5 << 20  # what object stores demand of all chunks but the last
BROKEN = 2 << 20
BROKEN_SECONDS = 3.0
TAGS = ("probe-1", "probe-2")
_ALL = frozenset(range(200, 600)) - {408, 425, 429, 502, 503, 504}


def probe(transport: Transport, repository: str, now: datetime) -> Capabilities:
    """Return what the registry can do for repositories like this one.

    Raises RemoteError if it does not answer or lets nobody in; that it refuses a single thing is a finding.
    """
    repository_name(f"{repository}-source")
    probing = _Probe(transport, repository)
    probing.run()
    date = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {name: probing.found[name] for name in NAMES if name in probing.found}
    return Capabilities(transport.origin, repository, date, found)


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


@dataclass
class _Probe:
    transport: Transport
    repository: str
    found: dict[str, Finding] = field(default_factory=dict)
    manifests: list[str] = field(default_factory=list)
    blobs: dict[tuple[str, str], None] = field(default_factory=dict)

    def run(self) -> None:
        reply = self.ask("GET", "/v2/")
        if not _is_good(reply):
            denied = reply.status in {401, 403}
            raise RemoteError(
                "registry-denied" if denied else "not-a-registry",
                "the registry lets nobody in" if denied else "this is no registry",
                where=reply.url,
                expected="200",
                seen=_words(reply),
                hint="check user and password" if denied else "check the address, which may need a port",
            )
        for step in (
            self.uploads_begin,
            self.whole_blobs,
            self.chunks,
            self.broken_requests,
            self.mounts,
            self.parts,
            self.other_digests,
            self.images,
            self.indexes,
            self.docker_types,
            self.artifacts,
            self.tags,
            self.deletes,
        ):
            self.attempted(step)
            if self.found["writable"].value is not True:
                break
        kind, by_post = self.transport.login_seen
        self.note("login", kind, "as its answers asked")
        if by_post is not None:
            self.note("token-by-post", by_post, f"its token realm {'answered' if by_post else 'knew nothing of'} POST")

    def attempted(self, step: Callable[[], None]) -> None:
        """Do one step; what breaks off in it leaves the rest of it unknown."""
        try:
            step()
        except Again as again:
            self.note("writable", self.found.get("writable", Finding(None, "")).value, again.why)
        except DryportError as error:
            if step == self.uploads_begin:
                self.note("writable", False, f"{error.message}: {error.seen}")

    # uploads

    def uploads_begin(self) -> None:
        location, reply = self.begin(self.repository)
        self.note("writable", location is not None, reply)
        self.note("creates-repositories", location is not None, reply)
        if location is None:
            return
        least = reply.headers.get("OCI-Chunk-Min-Length", "")
        if least.isascii() and least.isdecimal():
            self.note("least-chunk", int(least[:12]), f"OCI-Chunk-Min-Length: {least[:12]}")
        reply = self.ask("DELETE", location)
        gone = self.ask("GET", location)
        self.note("cancels-uploads", _is_good(reply) and gone.status == 404, reply)  # noqa: PLR2004
        deep, reply = self.begin(f"{self.repository}/a/b/c/d")
        self.note("nested-names", deep is not None, reply)
        if deep:
            self.ask("DELETE", deep)

    def whole_blobs(self) -> None:
        data = os.urandom(SMALL)
        location, reply = self.begin(self.repository)
        if location:
            reply = self.ask("PUT", _closing(location, data), Whole(data))
            self.note("monolithic", self.has(data), reply)
        data = os.urandom(SMALL)
        path = f"/v2/{self.repository}/blobs/uploads/?digest={Digest.of(data)}"
        reply = self.ask("POST", path, Whole(data))
        self.note("single-post", reply.status == 201 and self.has(data), reply)  # noqa: PLR2004
        if reply.status == 202 and reply.headers.get("Location"):  # noqa: PLR2004 - an ordinary upload, as it may be
            self.ask("DELETE", redirected(reply.url, reply.headers["Location"]))

    def chunks(self) -> None:
        announced = self.found.get("least-chunk", Finding(0, "")).value
        sizes = [max(SMALL, int(announced or 0))]
        if sizes[0] < LARGE_CHUNK:
            sizes.append(LARGE_CHUNK)
        for size in sizes:
            if self.chunks_of(size):
                self.note("least-chunk", size, f"two chunks of {size} bytes were taken")
                return

    def chunks_of(self, size: int) -> bool:
        data = os.urandom(2 * size)
        location, reply = self.begin(self.repository)
        if location is None:
            return False
        for start in (0, size):
            chunk = Whole(data[start : start + size])
            reply = self.ask("PATCH", location, chunk, {"Content-Range": f"{start}-{start + size - 1}"})
            if not _is_good(reply):
                self.note("chunked", False, reply)
                self.ask("DELETE", location)
                return False
            location = redirected(reply.url, reply.headers.get("Location", location))
            if start == 0:
                location = self.status(location, size)
        reply = self.ask("PUT", _closing(location, data))
        self.note("chunked", self.has(data), reply)
        return self.has(data)

    def status(self, location: str, sent: int) -> str:
        reply = self.ask("GET", location)
        told = reported_offset(reply) if _is_good(reply) else None
        kind = "none" if told is None else "exact" if told == sent else "behind"
        self.note("upload-status", kind, f"{sent} bytes were taken, {told} are told: {_words(reply)}")
        moved = reply.headers.get("Location") if _is_good(reply) else None
        return redirected(reply.url, moved) if moved else location

    def broken_requests(self) -> None:
        """Cut the line inside the request that the mirror would use, and see what is left of it."""
        data = os.urandom(BROKEN)
        location, reply = self.begin(self.repository)
        if location is None:
            return
        headers = {"Content-Type": "application/octet-stream"}
        with contextlib.suppress(_CutError):
            self.transport.attempt(
                "PUT", _closing(location, data), scope=self.scope(), answers=_ALL, headers=headers, body=_Half(data)
            )
        until = time.monotonic() + BROKEN_SECONDS
        told: int | None = None
        while not told and time.monotonic() < until:
            reply = self.ask("GET", location)
            told = reported_offset(reply) if _is_good(reply) else None
            if not _is_good(reply):
                break
            time.sleep(0.2)
        kept = bool(told)
        evidence = f"a PUT was cut after {BROKEN // 2} of {BROKEN} bytes, {told or 'none'} are told: {_words(reply)}"
        if told:
            moved = redirected(reply.url, reply.headers.get("Location", location))
            reply = self.ask("PATCH", moved, Whole(data[told:]), {"Content-Range": f"{told}-{BROKEN - 1}"})
            if _is_good(reply):
                reply = self.ask("PUT", _closing(redirected(reply.url, reply.headers.get("Location", moved)), data))
            kept = self.has(data)
            evidence += f"; the rest gave {_words(reply)}"
        if not kept:
            self.ask("DELETE", location)
        self.note("keeps-broken-upload", kept, evidence)

    def mounts(self) -> None:
        source = f"{self.repository}-source"
        data = os.urandom(SMALL)
        reply = self.put(source, data)
        if not _is_good(reply):
            self.note("mount", None, f"{source} takes no blob: {_words(reply)}")
            return
        for name, query in (("anonymous-mount", ""), ("mount", f"&from={source}")):
            path = f"/v2/{self.repository}/blobs/uploads/?mount={Digest.of(data)}{query}"
            scope = f"{self.scope()} repository:{source}:pull"
            reply = self.transport.request("POST", path, scope=scope, answers=_ALL)
            is_done = reply.status == 201 and self.has(data)  # noqa: PLR2004
            self.note(name, is_done, reply)
            if is_done and name == "anonymous-mount":
                data = os.urandom(SMALL)
                self.put(source, data)
            elif reply.status == 202 and reply.headers.get("Location"):  # noqa: PLR2004
                self.ask("DELETE", redirected(reply.url, reply.headers["Location"]))

    # reading

    def parts(self) -> None:
        data = os.urandom(SMALL)
        self.put(self.repository, data)
        reply = self.ask("GET", f"/v2/{self.repository}/blobs/{Digest.of(data)}", headers={"Range": "bytes=100-199"})
        self.note("ranges", reply.status == 206 and reply.body == data[100:200], f"{reply.status} to bytes=100-199")  # noqa: PLR2004

    def other_digests(self) -> None:
        data = os.urandom(SMALL)
        digest = Digest.of(data, "sha512")
        reply = self.put(self.repository, data, digest)
        answer = self.ask("HEAD", f"/v2/{self.repository}/blobs/{digest}")
        stated = answer.headers.get("Docker-Content-Digest", "")
        self.note("sha512", answer.status == 200 and stated == str(digest), f"{_words(reply)}; named {stated[:80]}")  # noqa: PLR2004

    # manifests

    def images(self) -> None:
        image = specimens.image(os.urandom(32))
        for blob in image.blobs:
            self.put(self.repository, blob)
        reply = self.put_manifest(image.data, image.media_type, str(image.digest))
        self.note("oci-images", _is_good(reply), reply)
        if not _is_good(reply):
            return
        stated = reply.headers.get("Docker-Content-Digest")
        self.note("states-digests", stated == str(image.digest), f"Docker-Content-Digest: {str(stated)[:80]}")
        path = f"/v2/{self.repository}/manifests/{image.digest}"
        reply = self.ask("GET", path, headers={"Accept": image.media_type})
        self.note("keeps-bytes", reply.body == image.data, f"{reply.status}, {len(reply.body)} bytes of {image.size}")

    def indexes(self) -> None:
        image = specimens.image(os.urandom(32))
        for blob in image.blobs:
            self.put(self.repository, blob)
        self.put_manifest(image.data, image.media_type, str(image.digest))
        absent = specimens.image(os.urandom(32))
        for name, children in (("indexes", [image]), ("sparse-indexes", [image, absent])):
            index = specimens.index(children)
            reply = self.put_manifest(index.data, index.media_type, str(index.digest))
            self.note(name, _is_good(reply), reply)

    def docker_types(self) -> None:
        image = specimens.docker_image(os.urandom(32))
        for blob in image.blobs:
            self.put(self.repository, blob)
        listed = specimens.docker_list([image])
        for one in (image, listed):
            reply = self.put_manifest(one.data, one.media_type, str(one.digest))
            kept = self.ask("GET", f"/v2/{self.repository}/manifests/{one.digest}", headers={"Accept": one.media_type})
            is_kept = _is_good(reply) and kept.body == one.data
            self.note("docker-types", is_kept, reply)
            if not is_kept:
                return

    def artifacts(self) -> None:
        layer = os.urandom(SMALL)
        for blob in (layer, specimens.EMPTY):
            self.put(self.repository, blob)
        subject = specimens.artifact([layer])
        reply = self.put_manifest(subject.data, subject.media_type, str(subject.digest))
        self.note("oci-artifacts", _is_good(reply), reply)
        twice = specimens.artifact([layer, layer])
        reply = self.put_manifest(twice.data, twice.media_type, str(twice.digest))
        self.note("repeated-layers", _is_good(reply), reply)
        referrer = specimens.artifact([layer], Descriptor(subject.media_type, subject.digest, subject.size))
        reply = self.put_manifest(referrer.data, referrer.media_type, str(referrer.digest))
        said = reply.headers.get("OCI-Subject")
        listed = self.ask("GET", f"/v2/{self.repository}/referrers/{subject.digest}")
        is_listed = listed.status == 200 and str(referrer.digest).encode() in listed.body  # noqa: PLR2004
        evidence = f"OCI-Subject: {str(said)[:80]}; the referrers gave {listed.status}"
        self.note("referrers", bool(said) and is_listed, evidence)

    def tags(self) -> None:
        layer = os.urandom(SMALL)
        for blob in (layer, specimens.EMPTY):
            self.put(self.repository, blob)
        one = specimens.artifact([layer])
        query = "&".join(f"tag={tag}" for tag in TAGS)
        reply = self.put_manifest(one.data, one.media_type, f"{one.digest}?{query}")
        there = [self.ask("HEAD", f"/v2/{self.repository}/manifests/{tag}") for tag in TAGS]
        named = [answer.headers.get("Docker-Content-Digest") for answer in there]
        self.note("tag-parameter", named == [str(one.digest)] * len(TAGS), f"OCI-Tag: {reply.headers.get('OCI-Tag')}")
        for tag in TAGS:
            self.put_manifest(one.data, one.media_type, tag)
        reply = self.ask("GET", f"/v2/{self.repository}/tags/list?n=1")
        is_page = reply.body.count(b"probe-") == 1 and "next" in reply.headers.get("Link", "")
        self.note("tag-pages", is_page, f"{_words(reply)}, Link: {reply.headers.get('Link', 'none')[:100]}")

    def deletes(self) -> None:
        if not self.manifests:
            return
        tag = self.ask("HEAD", f"/v2/{self.repository}/manifests/{TAGS[0]}").headers.get("Docker-Content-Digest")
        reply = self.ask("DELETE", f"/v2/{self.repository}/manifests/{TAGS[0]}")
        still = self.ask("HEAD", f"/v2/{self.repository}/manifests/{tag}").status == 200 if tag else False  # noqa: PLR2004
        self.note("deletes-tags", _is_good(reply) and still, reply)
        self.ask("DELETE", f"/v2/{self.repository}/manifests/{TAGS[1]}")
        left = []
        for digest in reversed(self.manifests):
            reply = self.ask("DELETE", f"/v2/{self.repository}/manifests/{digest}")
            left += [] if _is_good(reply) or reply.status == 404 else [digest]  # noqa: PLR2004
        self.note("deletes-manifests", not left, reply)
        kept = []
        for repository, blob in self.blobs:
            reply = self.ask("DELETE", f"/v2/{repository}/blobs/{blob}", repository=repository)
            kept += [] if _is_good(reply) or reply.status == 404 else [blob]  # noqa: PLR2004
        self.note("deletes-blobs", not kept, reply)
        rest = f"{len(left)} manifests and {len(kept)} blobs are left in {self.repository}"
        self.note("cleaned-up", not left and not kept, rest if left or kept else "nothing is left")

    # means

    def note(self, name: str, value: Value, evidence: str | Reply) -> None:
        if name not in NAMES:
            raise KeyError(name)
        self.found[name] = Finding(value, _words(evidence) if isinstance(evidence, Reply) else evidence)

    def scope(self, repository: str = "", *, deletes: bool = False) -> str:
        return f"repository:{repository or self.repository}:pull,push{',delete' if deletes else ''}"

    def ask(
        self,
        method: str,
        target: str,
        body: Whole | None = None,
        headers: dict[str, str] | None = None,
        repository: str = "",
    ) -> Reply:
        typed = {"Content-Type": "application/octet-stream"} if body else {}
        scope = self.scope(repository, deletes=method == "DELETE") if target != "/v2/" else ""
        return self.transport.request(
            method, target, scope=scope, answers=_ALL, headers={**typed, **(headers or {})}, body=body
        )

    def begin(self, repository: str) -> tuple[str | None, Reply]:
        reply = self.ask("POST", f"/v2/{repository}/blobs/uploads/", repository=repository)
        location = reply.headers.get("Location")
        return (redirected(reply.url, location) if reply.status == 202 and location else None), reply  # noqa: PLR2004

    def put(self, repository: str, data: bytes, digest: Digest | None = None) -> Reply:
        """Upload a blob in the way that was seen to work."""
        digest = digest or Digest.of(data)
        location, reply = self.begin(repository)
        if location is None:
            return reply
        if self.found.get("monolithic", Finding(None, "")).value:
            reply = self.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", Whole(data))
        else:
            reply = self.ask("PATCH", location, Whole(data), {"Content-Range": f"0-{len(data) - 1}"} if data else {})
            location = redirected(reply.url, reply.headers.get("Location", location))
            reply = self.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}")
        if _is_good(reply):
            self.blobs[repository, str(digest)] = None
        return reply

    def put_manifest(self, data: bytes, media_type: str, reference: str) -> Reply:
        path = f"/v2/{self.repository}/manifests/{reference}"
        reply = self.ask("PUT", path, Whole(data), {"Content-Type": media_type})
        if _is_good(reply) and ":" in reference:
            self.manifests.append(reference.partition("?")[0])
        return reply

    def has(self, data: bytes) -> bool:
        digest = Digest.of(data)
        reply = self.ask("HEAD", f"/v2/{self.repository}/blobs/{digest}")
        is_there = reply.status == 200 and reply.headers.get("Content-Length") == str(len(data))  # noqa: PLR2004
        if is_there:
            self.blobs[self.repository, str(digest)] = None
        return is_there


def _closing(location: str, data: bytes) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={Digest.of(data)}"


def _is_good(reply: Reply) -> bool:
    return 200 <= reply.status < 300  # noqa: PLR2004


def _words(reply: Reply) -> str:
    said = reply.body.decode("utf-8", "replace").strip()[:200] if not _is_good(reply) else ""
    return f"{reply.status} {said}".rstrip()
