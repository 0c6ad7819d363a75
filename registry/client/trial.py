"""The means of a probe: requests to a scratch repository, what they showed, and what they left behind."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.client.address import redirected
from registry.client.answer import Reply
from registry.client.capabilities import NAMES, Finding, Value
from registry.client.outgoing import Whole
from registry.client.transport import Transport
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS

SMALL = 64 << 10
"""The size of a blob that is tried, in bytes."""
ANY = frozenset(range(200, 600)) - {408, 425, 429, 502, 503, 504}
"""Statuses that are findings; the others are weather."""


@dataclass
class Trial:
    """One probe under way."""

    transport: Transport
    repository: str
    found: dict[str, Finding] = field(default_factory=dict)
    manifests: dict[str, None] = field(default_factory=dict)
    blobs: dict[tuple[str, str], None] = field(default_factory=dict)

    def note(self, name: str, value: Value, evidence: str | Reply) -> None:
        """Keep a finding."""
        if name not in NAMES:
            raise KeyError(name)
        self.found[name] = Finding(value, words(evidence) if isinstance(evidence, Reply) else evidence)

    def scope(self, repository: str = "", *, deletes: bool = False) -> str:
        """Return what is asked of a token realm."""
        return f"repository:{repository or self.repository}:pull,push{',delete' if deletes else ''}"

    def ask(
        self,
        method: str,
        target: str,
        body: Whole | None = None,
        headers: dict[str, str] | None = None,
        repository: str = "",
    ) -> Reply:
        """Return the reply to any request, whatever its status."""
        typed = {"Content-Type": "application/octet-stream"} if body else {}
        if method in {"GET", "HEAD"} and "/manifests/" in target:
            typed["Accept"] = ", ".join(sorted(MANIFESTS | INDEXES))  # distribution shows OCI's to none but who asks
        scope = self.scope(repository, deletes=method == "DELETE") if target != "/v2/" else ""
        return self.transport.request(
            method, target, scope=scope, answers=ANY, headers={**typed, **(headers or {})}, body=body
        )

    def begin(self, repository: str) -> tuple[str | None, Reply]:
        """Begin an upload; return where it is, if it is, and the reply."""
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
        if is_good(reply):
            self.blobs[repository, str(digest)] = None
        return reply

    def put_manifest(self, data: bytes, media_type: str, reference: str) -> Reply:
        """Record a manifest, to be taken away at the end."""
        path = f"/v2/{self.repository}/manifests/{reference}"
        reply = self.ask("PUT", path, Whole(data), {"Content-Type": media_type})
        if is_good(reply) and ":" in reference:
            self.manifests[reference.partition("?")[0]] = None
        return reply

    def has(self, data: bytes) -> bool:
        """Say whether the scratch repository shows a blob, to be taken away at the end."""
        digest = Digest.of(data)
        reply = self.ask("HEAD", f"/v2/{self.repository}/blobs/{digest}")
        is_there = reply.status == 200 and reply.headers.get("Content-Length") == str(len(data))  # noqa: PLR2004
        if is_there:
            self.blobs[self.repository, str(digest)] = None
        return is_there


def closing(location: str, data: bytes) -> str:
    """Return where an upload is closed with these bytes."""
    return f"{location}{'&' if '?' in location else '?'}digest={Digest.of(data)}"


def is_good(reply: Reply) -> bool:
    """Say whether a registry did what it was asked."""
    return 200 <= reply.status < 300  # noqa: PLR2004


def words(reply: Reply) -> str:
    """Return what a registry said, for people."""
    said = reply.body.decode("utf-8", "replace").strip()[:200] if not is_good(reply) else ""
    return f"{reply.status} {said}".rstrip()
