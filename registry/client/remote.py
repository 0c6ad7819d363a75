"""A registry somewhere else, as a content source: what it says is checked, what it breaks off is resumed.

Manifests are checked against their digest here. Blobs leave unchecked, as the border allows: whoever stores one checks
it; `blob_bytes` checks for those who do not store.

>>> with RemoteRegistry("https://registry.example.org:5000", ca=Path("ca.pem"), user="pull", password=secret) as remote:
...     copy(remote, store, progress)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

from urllib3 import HTTPHeaderDict

from registry.client.access import Access, fixed_login
from registry.client.address import origin
from registry.client.answer import WHO_ANSWERS
from registry.client.ranges import ParallelBlob, RemoteBlob, blob_of_size
from registry.client.transport import DEFAULT, Limits, Transport
from registry.content import Content
from registry.errors import RemoteError
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS, OCI_INDEX, Manifest
from registry.oci.reference import repository_name, tag_name

MANIFEST_BYTES = 2 * strictjson.METADATA_BYTES
PAGES = 10_000
RESOLVED = 32
"""Manifests kept from `resolve` for the `manifest` that follows, so that nothing is fetched twice."""
CATALOG = "registry:catalog:*"
_ACCEPT = ", ".join([*sorted(MANIFESTS | INDEXES), "*/*;q=0.1"])


class RemoteRegistry:
    """An OCI registry over HTTPS (implements registry.content.ContentSource). Safe for several threads."""

    def __init__(
        self, url: str, *, ca: Path | None, user: str | None, password: str | None, limits: Limits = DEFAULT
    ) -> None:
        self._use(Transport(url, Access(ca=ca, login=fixed_login(user, password)), limits))

    @classmethod
    def over(cls, transport: Transport) -> Self:
        """Return the registry that a transport leads to, which the caller may share and this closes."""
        remote = cls.__new__(cls)
        remote._use(transport)  # noqa: SLF001 - the other constructor
        return remote

    def _use(self, transport: Transport) -> None:
        self._transport = transport
        self.url = transport.origin
        self._resolved: dict[tuple[str, Digest], tuple[bytes, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def repositories(self) -> Iterable[str]:
        """Return every repository that the user may see. Raises RemoteError where there is no catalogue."""
        names = self._listed("/v2/_catalog", CATALOG, "repositories", repository_name)
        if names is None:
            raise RemoteError(
                "registry-without-catalog",
                "the registry lists no repositories",
                where=self.url,
                hint="name them one by one",
            )
        return names

    def tags(self, repository: str) -> Iterable[str]:
        """Return a repository's tags (end-8)."""
        return self._listed(f"/v2/{repository_name(repository)}/tags/list", _pull(repository), "tags", tag_name) or ()

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """Return the manifest that a tag names, by the digest of the bytes that came."""
        found = self._manifest(repository, tag_name(tag))
        if found is None:
            return None
        data, media_type, stated = found
        if stated and not stated.matches(data):
            raise self._differs(f"{repository}:{tag}", stated, data)
        digest = stated or Digest.of(data)
        if len(self._resolved) >= RESOLVED:
            self._resolved.clear()
        self._resolved[repository, digest] = (data, media_type)
        return Descriptor(media_type, digest, len(data))

    def manifest(self, repository: str, digest: Digest) -> tuple[bytes, str] | None:
        """Return a manifest's exact bytes, checked, and its media type (end-3)."""
        if resolved := self._resolved.pop((repository, digest), None):
            return resolved
        found = self._manifest(repository, str(digest))
        if found is None:
            return None
        if not digest.matches(found[0]):
            raise self._differs(f"{repository}@{digest}", digest, found[0])
        return found[0], found[1]

    def blob(self, repository: str, digest: Digest) -> Content | None:
        """Open a blob (end-2); its bytes are checked by whoever stores them."""
        return RemoteBlob.open(self._transport, f"/v2/{repository_name(repository)}/blobs/{digest}", _pull(repository))

    def blob_of(self, repository: str, descriptor: Descriptor, etag: str | None = None) -> RemoteBlob | ParallelBlob:
        """Return a blob that a manifest names, to be read from any byte on; whether it is there shows when it is read.

        `etag` is what an earlier process kept of it: what it has of the blob then goes on with the same content.
        """
        path = f"/v2/{repository_name(repository)}/blobs/{descriptor.digest}"
        return blob_of_size(self._transport, path, _pull(repository), descriptor.size, etag)

    def blob_bytes(self, repository: str, descriptor: Descriptor, limit: int) -> bytes:
        """Return a whole small blob, checked. Raises RemoteError if it is missing, larger than `limit` or not it."""
        where = f"{self.url}/{repository}@{descriptor.digest}"
        if descriptor.size > limit:
            raise RemoteError(
                "blob-large",
                f"{descriptor.size} bytes, at most {limit} are read here",
                where=where,
                hint="leave this out: what is read here is small where it is what it says it is",
            )
        content = self.blob(repository, descriptor.digest)
        if content is None:
            raise RemoteError(
                "blob-missing",
                "the registry does not have a blob that a manifest names",
                where=where,
                hint="push it there again, or leave the image out; then the same command goes on",
            )
        try:
            data = content.read(0, descriptor.size) if content.size == descriptor.size else b""
        finally:
            content.close()
        if not descriptor.digest.matches(data):
            raise self._differs(where, descriptor.digest, data)
        return data

    def referrers(self, repository: str, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests about `subject` (end-12), from the fallback tag where the registry lacks the API."""
        path = f"/v2/{repository_name(repository)}/referrers/{subject}"
        pages = [list(self._children(value, path)) for value in self._pages(path, _pull(repository))]
        if pages:
            return [descriptor for page in pages for descriptor in page]
        # OCI distribution-spec 1.1, "Referrers Tag Schema"
        fallback = self._manifest(repository, f"{subject.algorithm[:32]}-{subject.hex[:64]}")
        if fallback is None or fallback[1] not in INDEXES:
            return ()
        return list(self._children(fallback[0], path))

    def is_absent(self, repository: str, digest: Digest) -> bool:
        """Say whether the registry says so; dryport's does, in the detail of its 404."""
        path = f"/v2/{repository_name(repository)}/manifests/{digest}"
        try:
            said = strictjson.loads(self._transport.reason_missing(path, scope=_pull(repository)) or b"{}")
            return said["errors"][0]["detail"]["absent"] is True
        except (ValueError, KeyError, IndexError, TypeError):
            return False

    def _manifest(self, repository: str, reference: str) -> tuple[bytes, str, Digest | None] | None:
        path = f"/v2/{repository_name(repository)}/manifests/{reference}"
        found = self._transport.document(path, scope=_pull(repository), limit=MANIFEST_BYTES, accept=_ACCEPT)
        if found is None:
            return None
        data, headers = found
        media_type = headers.get("Content-Type", "").partition(";")[0].strip()
        if media_type not in MANIFESTS | INDEXES:
            raise RemoteError(
                "manifest-type",
                "not a type of manifest",
                where=self.url + path,
                seen=media_type[:100],
                hint=WHO_ANSWERS,
            )
        try:
            stated = headers.get("Docker-Content-Digest")
            return data, media_type, Digest.parse(stated) if stated else None
        except ValueError as error:
            raise RemoteError("registry-answer", str(error), where=self.url + path, hint=WHO_ANSWERS) from error

    def _children(self, value: Mapping[str, Any] | bytes, path: str) -> Iterator[Descriptor]:
        try:
            data = value if isinstance(value, bytes) else strictjson.canonical(value)
            yield from Manifest.parse(data, OCI_INDEX).children
        except ValueError as error:
            raise RemoteError("registry-answer", str(error), where=self.url + path, hint=WHO_ANSWERS) from error

    def _listed(self, path: str, scope: str, key: str, parse: Callable[[str], str]) -> list[str] | None:
        found: dict[str, None] = {}
        pages = 0
        for pages, value in enumerate(self._pages(path, scope), start=1):  # noqa: B007
            names = value.get(key) or []
            try:
                found.update(dict.fromkeys(parse(name) for name in names))
            except (ValueError, TypeError) as error:
                raise RemoteError("registry-answer", str(error), where=self.url + path, hint=WHO_ANSWERS) from error
        return list(found) if pages else None

    def _pages(self, path: str, scope: str) -> Iterator[Mapping[str, Any]]:
        """Yield the JSON objects of a list that may be paged by `Link` (RFC 8288); nothing stands for 404."""
        seen: set[str] = set()
        while path not in seen:
            seen.add(path)
            if len(seen) > PAGES:
                raise RemoteError(
                    "registry-answer-large",
                    f"a list of more than {PAGES} pages",
                    where=self.url + path,
                    hint=WHO_ANSWERS,
                )
            found = self._transport.document(path, scope=scope, limit=strictjson.METADATA_BYTES)
            if found is None:
                return
            try:
                value = strictjson.loads(found[0])
            except ValueError as error:
                raise RemoteError("registry-answer", str(error), where=self.url + path, hint=WHO_ANSWERS) from error
            if not isinstance(value, dict):
                raise RemoteError(
                    "registry-answer", "a JSON object was expected", where=self.url + path, hint=WHO_ANSWERS
                )
            yield value
            path = self._next(path, found[1])

    def _next(self, path: str, headers: HTTPHeaderDict) -> str:
        link = headers.get("Link", "")
        target, _, parameters = link.partition(">")
        if "next" not in parameters or not target.lstrip().startswith("<"):
            return path
        try:
            url = urlsplit(urljoin(self.url + path, target.lstrip()[1:]))
            is_ours = origin(url.scheme, url.hostname, url.port) == self.url
        except ValueError:
            url, is_ours = urlsplit(""), False
        if not is_ours:
            raise RemoteError(
                "registry-answer",
                "the next page lies on another server",
                where=self.url,
                seen=link[:200],
                hint=WHO_ANSWERS,
            )
        return f"{url.path}?{url.query}"

    def _differs(self, where: str, expected: Digest, data: bytes) -> RemoteError:
        return RemoteError(
            "content-differs",
            "the registry gave other bytes than their name promises",
            where=where,
            expected=str(expected),
            seen=f"{Digest.of(data, expected.algorithm)} ({len(data)} bytes)",
            hint="the registry's content is damaged or tampered with; import from the signed bundle instead",
        )


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"
