"""A registry as a place to copy to: blobs, manifests by digest, tags last; bytes unchanged or an error.

>>> target = RemoteTarget(transport)
>>> if not target.has_blob("team/app", layer) and not target.mount("team/app", layer.digest, "team/base"):
...     target.put_blob("team/app", layer, content)
>>> target.put_manifest("team/app", data, media_type, tags=["1.0"]).subject_seen
False
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from registry.client.address import redirected
from registry.client.answer import Again, Reply
from registry.client.capabilities import Capabilities
from registry.client.outgoing import Outgoing, Whole
from registry.client.transport import MISSING, Transport
from registry.client.upload_state import Habits, OnProgress, Resumable, Sent
from registry.client.uploads import LOST, Upload
from registry.content import Content
from registry.errors import RemoteError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS
from registry.oci.reference import repository_name, tag_name
from registry.oci.strictjson import METADATA_BYTES

MANIFEST_BYTES = 2 * METADATA_BYTES
TAGS_AT_ONCE = 10  # OCI dist-spec end-7b: a registry should take so many
_ACCEPT = ", ".join([*sorted(MANIFESTS | INDEXES), "*/*;q=0.1"])


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a registry did with a manifest."""

    digest: Digest
    subject_seen: bool
    """Whether it lists the manifest under its subject by itself; if not, the fallback tag has to be written."""
    tags: frozenset[str] = frozenset()
    """Those it took with the manifest."""


class RemoteTarget:
    """A registry that takes content. Safe for several threads."""

    def __init__(self, transport: Transport, capabilities: Capabilities | None = None) -> None:
        self.transport = transport
        self.capabilities = capabilities
        self.habits = capabilities.habits() if capabilities else Habits()
        self.takes_tags = capabilities is not None and capabilities.can("tag-parameter") is True
        """Whether tags go with the manifest (`?tag=`, end-7b)."""
        self._begun: dict[tuple[str, Digest], str] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return self.transport.origin

    def has_blob(self, repository: str, descriptor: Descriptor) -> bool:
        """Say whether the repository shows the blob, at its full size: caches keep stumps (end-2)."""
        path = f"/v2/{repository_name(repository)}/blobs/{descriptor.digest}"
        reply = self.transport.request("HEAD", path, scope=_both(repository), answers={200, MISSING, 405})
        return reply.status == 200 and reply.headers.get("Content-Length") == str(descriptor.size)  # noqa: PLR2004

    def mount(self, repository: str, digest: Digest, source: str | None) -> bool:
        """Ask for a blob that another repository there shows (end-11); anything but yes is an ordinary upload.

        Without `source`, the registry is to find it anywhere. Nothing is asked that the probe saw refused; without a
        source, only what it saw done.
        """
        found = self.capabilities
        if found and (found.can("mount") is False or (source is None and found.can("anonymous-mount") is not True)):
            return False
        scope = _both(repository)
        query = {"mount": str(digest)}
        if source is not None:
            query["from"] = repository_name(source)
            scope += f" repository:{source}:pull"
        path = f"/v2/{repository_name(repository)}/blobs/uploads/?{urlencode(query, safe=':/')}"
        answers = {201, 202, *range(400, 429), *range(430, 600)}
        try:
            reply = self.transport.attempt("POST", path, scope=scope, answers=answers)
        except (Again, RemoteError):
            return False
        location = reply.headers.get("Location")
        if reply.status == 202 and location:  # noqa: PLR2004 - an ordinary upload, which is used as such
            with self._lock:
                self._begun[repository, digest] = redirected(reply.url, location)
        return reply.status == 201  # noqa: PLR2004

    def put_blob(
        self,
        repository: str,
        descriptor: Descriptor,
        content: Content,
        session: Resumable | None = None,
        on_progress: OnProgress = lambda _more, _state: None,
    ) -> Sent:
        """Send a blob, on from `session` if the registry still has it.

        Raises MediaError if the content is not what the descriptor says: the registry then keeps nothing of it; and
        RemoteError if the registry does not take it.
        """
        where = f"{self.url}/{repository_name(repository)}@{descriptor.digest}"
        outgoing = Outgoing(content, descriptor, where)
        upload = Upload(self.transport, repository, descriptor, outgoing, self.habits, on_progress)
        with self._lock:
            begun = self._begun.pop((repository, descriptor.digest), None)
        if session is None and begun:
            upload.location = begun
        return upload.run(session)

    def manifest_digest(self, repository: str, reference: str | Digest) -> Digest | None:
        """Return the digest of the manifest that a tag or digest names there; None if there is none (end-3)."""
        path = f"/v2/{repository_name(repository)}/manifests/{reference}"
        headers = {"Accept": _ACCEPT}
        reply = self.transport.request("HEAD", path, scope=_both(repository), answers={200, MISSING}, headers=headers)
        if reply.status == MISSING:
            return None
        stated = _stated(reply)
        if stated and (not isinstance(reference, Digest) or stated.algorithm == reference.algorithm):
            return stated
        found = self.transport.document(path, scope=_both(repository), limit=MANIFEST_BYTES, accept=_ACCEPT)
        algorithm = reference.algorithm if isinstance(reference, Digest) else "sha256"
        return Digest.of(found[0], algorithm) if found else None

    def put_manifest(
        self,
        repository: str,
        data: bytes,
        media_type: str,
        tags: Sequence[str] = (),
        digest: Digest | None = None,
    ) -> Recorded:
        """Record a manifest under its digest, then under the tags (end-7); what is there afterwards was compared.

        Raises RemoteError with the registry's own words if it refuses, and if it changes a byte.
        """
        digest = digest or Digest.of(data)
        recorded = self._record(repository, data, media_type, digest, tags[:TAGS_AT_ONCE] if self.takes_tags else ())
        self._tag(repository, data, media_type, digest, [tag for tag in tags if tag not in recorded.tags])
        return recorded

    def put_tags(self, repository: str, data: bytes, media_type: str, digest: Digest, tags: Sequence[str]) -> None:
        """Let tags name a manifest that is there (end-7); many at once where the registry takes them so."""
        while self.takes_tags and len(tags) > 1:
            some, tags = tags[:TAGS_AT_ONCE], tags[TAGS_AT_ONCE:]
            taken = self._record(repository, data, media_type, digest, some).tags
            tags = [*[tag for tag in some if tag not in taken], *tags]
            if not taken:
                break
        self._tag(repository, data, media_type, digest, tags)

    def _record(self, repository: str, data: bytes, media_type: str, digest: Digest, tags: Sequence[str]) -> Recorded:
        if not digest.matches(data):
            raise ValueError(f"not the bytes of {digest}")
        query = f"?{urlencode([('tag', tag_name(tag)) for tag in tags])}" if tags else ""
        reply = self._put(repository, f"{digest}{query}", data, media_type)
        self._compare(repository, reply, digest, digest)
        named = (name.strip() for line in reply.headers.getlist("OCI-Tag") for name in line.split(","))
        return Recorded(digest, bool(reply.headers.get("OCI-Subject")), frozenset(named))

    def _tag(self, repository: str, data: bytes, media_type: str, digest: Digest, tags: Sequence[str]) -> None:
        for tag in tags:
            self._compare(repository, self._put(repository, tag_name(tag), data, media_type), digest, tag)

    def delete_manifest(self, repository: str, reference: str | Digest) -> bool:
        """Delete a manifest or a tag (end-9); False if it was not there. Raises RemoteError where it may not be."""
        return self._delete(repository, f"manifests/{quote(str(reference), safe=':')}")

    def delete_blob(self, repository: str, digest: Digest) -> bool:
        """Delete a blob from a repository (end-10); False if it was not there. Raises RemoteError where it may not."""
        return self._delete(repository, f"blobs/{digest}")

    def _delete(self, repository: str, what: str) -> bool:
        path = f"/v2/{repository_name(repository)}/{what}"
        scope = f"repository:{repository}:pull,push,delete"
        reply = self.transport.request("DELETE", path, scope=scope, answers={200, 202, 204, *LOST, 405})
        if reply.status == 405:  # noqa: PLR2004
            raise RemoteError(
                "delete-refused",
                "the registry deletes nothing",
                where=self.url + path,
                seen=_words(reply),
                hint="have its administrator allow deletes, or remove it there by hand",
            )
        return reply.status not in LOST

    def _put(self, repository: str, reference: str, data: bytes, media_type: str) -> Reply:
        path = f"/v2/{repository_name(repository)}/manifests/{reference}"
        reply = self.transport.request(
            "PUT",
            path,
            scope=_both(repository),
            answers={200, 201, 202, 204, 400, *range(404, 423)} - {408, 421},
            headers={"Content-Type": media_type},
            body=Whole(data),
        )
        if reply.status >= 400:  # noqa: PLR2004
            raise RemoteError(
                "manifest-refused",
                "the registry does not take the manifest",
                where=self.url + path.partition("?")[0],
                seen=_words(reply),
                hint="the registry's own words say why; dryport mirror probe shows what it takes",
            )
        return reply

    def _compare(self, repository: str, reply: Reply, digest: Digest, reference: str | Digest) -> None:
        """Raise RemoteError unless the registry has the very bytes: it says so, or it is asked."""
        stated = _stated(reply)
        if stated is None or stated.algorithm != digest.algorithm:
            stated = self._kept(repository, digest, reference)
        if stated != digest:
            raise RemoteError(
                "target-differs",
                "the registry changed the manifest; a changed manifest breaks every signature and every pin",
                where=f"{self.url}/{repository}{'@' if isinstance(reference, Digest) else ':'}{reference}",
                expected=str(digest),
                seen=str(stated) if stated else "nothing by this name",
                hint="dryport mirror probe shows what the registry keeps as it is",
            )

    def _kept(self, repository: str, digest: Digest, reference: str | Digest) -> Digest | None:
        path = f"/v2/{repository_name(repository)}/manifests/{reference}"
        found = self.transport.document(path, scope=_both(repository), limit=MANIFEST_BYTES, accept=_ACCEPT)
        return Digest.of(found[0], digest.algorithm) if found else None


def _both(repository: str) -> str:
    return f"repository:{repository}:pull,push"


def _stated(reply: Reply) -> Digest | None:
    try:
        return Digest.parse(reply.headers.get("Docker-Content-Digest", ""))
    except ValueError:
        return None


def _words(reply: Reply) -> str:
    return f"{reply.status} {reply.body.decode('utf-8', 'replace').strip()[:1000]}".rstrip()
