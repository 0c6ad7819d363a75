"""A small registry in memory that does all of OCI distribution-spec 1.1; what a vendor does otherwise is a subclass.

It is an answer for `tests.attacks.scripted_server`. Switches say what it can; methods can be replaced one by one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import threading
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from registry.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX
from tests.attacks.scripted_server import Request

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>blobs/uploads|blobs|manifests|tags|referrers)/(?P<rest>[^/]*)")


def digest_of(data: bytes, like: str = "sha256:") -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def fault(request: Request, status: int, code: str, message: str = "", **headers: str) -> None:
    """Answer with an error as the specification writes it."""
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower()}]}).encode()
    request.reply(status, body, Content_Type="application/json", **headers)


class MemoryRegistry:
    """Repositories, blobs, manifests and upload sessions."""

    referrers_api = True
    mounts = True
    anonymous_mounts = True
    chunks = True
    takes_tags = True
    deletes = True
    sparse = True
    docker_types = True
    ranges = True
    pages = True
    keeps_broken = True
    """Whether what arrived of a broken request stays in its session, and is told of."""
    states_digests = True
    extra_upload_headers: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.uploads: dict[str, bytearray] = {}
        self.received = 0
        """Bytes of blobs that came in, also in vain."""
        self._numbers = itertools.count(1)
        self.lock = threading.RLock()

    def __call__(self, request: Request) -> None:
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if not self.admits(request, parts.path):
            return
        if parts.path == "/v2/":
            request.reply(200, b"{}", Docker_Distribution_API_Version="registry/2.0")
            return
        found = _ROUTE.fullmatch(parts.path)
        if not found:
            fault(request, 404, "NAME_UNKNOWN")
            return
        name, kind, rest = found["name"], found["kind"].replace("blobs/uploads", "uploads"), found["rest"]
        method = getattr(self, f"{request.command.lower().replace('head', 'get')}_{kind}", None)
        if method is None:
            fault(request, 405, "UNSUPPORTED")
        else:
            method(request, name, rest, query)

    def admits(self, _request: Request, _path: str) -> bool:
        """Say whether a request may go on; answer it if not."""
        return True

    # blobs

    def get_blobs(self, request: Request, name: str, digest: str, _query: dict[str, str]) -> None:
        data = self.blobs.get((name, digest))
        if data is None:
            fault(request, 404, "BLOB_UNKNOWN")
            return
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "")) if self.ranges else None
        if found:
            start, end = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
            part = data[start : end + 1]
            request.reply(206, part, Content_Range=f"bytes {start}-{end}/{len(data)}", Docker_Content_Digest=digest)
        else:
            request.reply(200, data, Docker_Content_Digest=digest, ETag=f'"{digest}"')

    def delete_blobs(self, request: Request, name: str, digest: str, _query: dict[str, str]) -> None:
        if not self.deletes:
            fault(request, 405, "UNSUPPORTED")
        else:
            request.reply(202 if self.blobs.pop((name, digest), None) is not None else 404)

    # uploads

    def post_uploads(self, request: Request, name: str, _rest: str, query: dict[str, str]) -> None:
        if "mount" in query and self.mounted(name, query["mount"], query.get("from")):
            self.blob_made(request, name, query["mount"])
            return
        if "digest" in query:
            data = self.receive(request)
            self.finish(request, name, data, query["digest"])
            return
        request.body()
        self.begin(request, name)

    def mounted(self, name: str, digest: str, source: str | None) -> bool:
        if not self.mounts or (source is None and not self.anonymous_mounts):
            return False
        for (holder, held), data in list(self.blobs.items()):
            if held == digest and source in (None, holder):
                self.blobs[name, digest] = data
                return True
        return False

    def begin(self, request: Request, name: str) -> None:
        identity = f"{next(self._numbers):08d}"
        self.uploads[identity] = bytearray()
        request.reply(202, **self.place(name, identity), **self.extra_upload_headers)

    def place(self, name: str, identity: str) -> dict[str, str]:
        size = len(self.uploads[identity])
        return {"Location": f"/v2/{name}/blobs/uploads/{identity}", "Range": f"0-{max(0, size - 1)}"}

    def receive(self, request: Request) -> bytes:
        data = request.body()
        with self.lock:
            self.received += len(data)
        return data

    def patch_uploads(self, request: Request, name: str, identity: str, _query: dict[str, str]) -> None:
        kept = self.uploads.get(identity)
        if kept is None:
            request.body()
            fault(request, 404, "BLOB_UPLOAD_UNKNOWN")
            return
        if not self.chunks:
            fault(request, 405, "UNSUPPORTED")
            return
        found = re.fullmatch(r"(\d+)-(\d+)", request.headers.get("Content-Range", ""))
        data = self.receive(request)
        if found and int(found[1]) != len(kept):
            fault(request, 416, "BLOB_UPLOAD_INVALID", **self.place(name, identity))
            return
        if not request.left or self.keeps_broken:
            kept += data
        request.reply(202, **self.place(name, identity))

    def put_uploads(self, request: Request, name: str, identity: str, query: dict[str, str]) -> None:
        kept = self.uploads.get(identity)
        if kept is None:
            request.body()
            fault(request, 404, "BLOB_UPLOAD_UNKNOWN")
            return
        data = self.receive(request)
        if request.left:
            if self.keeps_broken:
                kept += data
            return
        del self.uploads[identity]
        self.finish(request, name, bytes(kept) + data, query["digest"])

    def finish(self, request: Request, name: str, data: bytes, digest: str) -> None:
        if digest_of(data, digest) != digest:
            fault(request, 400, "DIGEST_INVALID")
            return
        self.blobs[name, digest] = data
        self.blob_made(request, name, digest)

    def blob_made(self, request: Request, name: str, digest: str) -> None:
        request.reply(201, Location=f"/v2/{name}/blobs/{digest}", Docker_Content_Digest=digest)

    def get_uploads(self, request: Request, name: str, identity: str, _query: dict[str, str]) -> None:
        if identity in self.uploads:
            request.reply(204, **self.place(name, identity))
        else:
            fault(request, 404, "BLOB_UPLOAD_UNKNOWN")

    def delete_uploads(self, request: Request, _name: str, identity: str, _query: dict[str, str]) -> None:
        request.reply(204 if self.uploads.pop(identity, None) is not None else 404)

    # manifests

    def get_manifests(self, request: Request, name: str, reference: str, _query: dict[str, str]) -> None:
        digest = self.tags.get((name, reference), reference)
        found = self.manifests.get((name, digest))
        if found is None:
            fault(request, 404, "MANIFEST_UNKNOWN")
        else:
            stated = {"Docker_Content_Digest": digest} if self.states_digests else {}
            request.reply(200, found[0], Content_Type=found[1], **stated)

    def put_manifests(self, request: Request, name: str, reference: str, _query: dict[str, str]) -> None:
        data, media_type = request.body(), request.headers.get("Content-Type", "")
        value = json.loads(data)
        if media_type in {DOCKER_MANIFEST, DOCKER_LIST} and not self.docker_types:
            fault(request, 415, "MANIFEST_INVALID", "media type not supported")
            return
        if missing := self.missing(name, value):
            fault(request, 404, "MANIFEST_BLOB_UNKNOWN", missing)
            return
        digest = digest_of(data, reference if ":" in reference else "sha256:")
        if ":" in reference and digest != reference:
            fault(request, 400, "DIGEST_INVALID")
            return
        self.manifests[name, digest] = (self.kept(data), media_type)
        self.record(request, name, reference, digest, value)

    def kept(self, data: bytes) -> bytes:
        """Return what is stored for a manifest's bytes."""
        return data

    def missing(self, name: str, value: dict) -> str:
        for child in value.get("manifests", []):
            if not self.sparse and (name, child["digest"]) not in self.manifests:
                return child["digest"]
        for blob in [value["config"], *value.get("layers", [])] if "config" in value else []:
            if (name, blob["digest"]) not in self.blobs:
                return blob["digest"]
        return ""

    def record(self, request: Request, name: str, reference: str, digest: str, value: dict) -> None:
        asked = parse_qs(urlsplit(request.path).query).get("tag", []) if self.takes_tags else []
        for tag in [*asked, *([] if ":" in reference else [reference])]:
            self.tags[name, tag] = digest
        more = {"OCI_Tag": ", ".join(asked)} if asked else {}
        if "subject" in value and self.referrers_api:
            more["OCI_Subject"] = value["subject"]["digest"]
        if self.states_digests:
            more["Docker_Content_Digest"] = digest_of(self.manifests[name, digest][0], digest)
        request.reply(201, Location=f"/v2/{name}/manifests/{digest}", **more)

    def delete_manifests(self, request: Request, name: str, reference: str, _query: dict[str, str]) -> None:
        if not self.deletes:
            fault(request, 405, "UNSUPPORTED")
            return
        gone = self.tags.pop((name, reference), None) or self.manifests.pop((name, reference), None)
        request.reply(202 if gone else 404)

    # lists

    def get_tags(self, request: Request, name: str, _rest: str, query: dict[str, str]) -> None:
        tags = sorted(tag for holder, tag in self.tags if holder == name and tag > query.get("last", ""))
        count = int(query.get("n", 1000)) if self.pages else len(tags)
        more = {"Link": f'</v2/{name}/tags/list?n={count}&last={tags[count - 1]}>; rel="next"'} if tags[count:] else {}
        request.reply(200, json.dumps({"name": name, "tags": tags[:count]}).encode(), **more)

    def get_referrers(self, request: Request, name: str, digest: str, _query: dict[str, str]) -> None:
        if not self.referrers_api:
            fault(request, 404, "UNSUPPORTED")
            return
        found = [
            {"mediaType": media_type, "digest": key, "size": len(data)}
            for (holder, key), (data, media_type) in self.manifests.items()
            if holder == name and json.loads(data).get("subject", {}).get("digest") == digest
        ]
        body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}).encode()
        request.reply(200, body, Content_Type=OCI_INDEX)
