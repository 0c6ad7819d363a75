"""Lists: tags (end-8a, b), the catalog, referrers (end-12a, b); paged, sorted, only what the caller may pull."""

from __future__ import annotations

import json
import urllib.parse
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import partial

from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_INDEX
from registry.server.context import Call, digest_of
from registry.server.exchange import Answer
from registry.server.wire import Refusal

PAGE = 1000
_DIGITS = 9
_INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})[:-2].encode()


async def tags(call: Call) -> Answer:
    """OCI dist-spec: end-8a, end-8b."""
    sources, keep = call.registry.sources, call.registry.threads.keep
    most = _most(call)
    found = await keep(sources.tags_after, call.repository, call.request.asked("last") or "", most + 1)
    if not found and not await keep(sources.has_repository, call.repository):
        raise Refusal("NAME_UNKNOWN", "there is no such repository")
    page, path = found[:most], f"/v2/{call.repository}/tags/list"
    is_more = bool(page) and len(found) > most
    link = _next(path, {"n": str(most), "last": page[-1]}) if is_more else {}
    return _json({"name": call.repository, "tags": page}, link)


async def catalog(call: Call) -> Answer:
    """Docker's `_catalog`: the repositories that the caller may pull."""
    names = await call.registry.threads.keep(call.registry.sources.repositories)
    page, link = _page(call, [name for name in names if call.identity.sees(name)], "/v2/_catalog")
    return _json({"repositories": page}, link)


async def referrers(call: Call) -> Answer:
    """OCI dist-spec: end-12a, end-12b. What nobody refers to, or nobody ever saw, has an empty list."""
    digest = digest_of(call.argument)
    wanted = call.request.asked("artifactType")
    path = f"/v2/{call.repository}/referrers/{digest}"
    most = _most(call) if call.request.asked("n") else None  # not all clients follow a Link, so only size makes pages
    last = call.request.asked("last") or ""
    body, link = await call.registry.threads.keep(partial(_referrers, call, digest, wanted, most, last))
    headers = {"Content-Type": OCI_INDEX}
    if wanted:
        headers["OCI-Filters-Applied"] = "artifactType"
    if link:
        query = {} if most is None else {"n": str(most)}
        headers |= _next(path, query | ({"artifactType": wanted} if wanted else {}) | {"last": link})
    return Answer(200, headers, body)


def _referrers(call: Call, subject: Digest, wanted: str | None, most: int | None, last: str) -> tuple[bytes, str]:
    """Return a page that no client's limit for manifests refuses, and the last digest on it if there are more."""
    found = sorted(call.registry.sources.referrers(call.repository, subject), key=lambda item: str(item.digest))
    rest = found[bisect_right(found, last, key=lambda item: str(item.digest)) :] if last else found
    page: list[bytes] = []
    size, ends_at, is_more = len(_INDEX) + 2, "", False
    for item in rest:
        if wanted and item.artifact_type != wanted:
            continue
        encoded = json.dumps(item.as_json()).encode()
        size += len(encoded) + 1
        if len(page) == most or (page and size > strictjson.METADATA_BYTES):
            is_more = True
            break
        page.append(encoded)
        ends_at = str(item.digest)
    return _INDEX + b",".join(page) + b"]}", ends_at if is_more else ""


def _page(call: Call, names: Sequence[str], path: str) -> tuple[Sequence[str], dict[str, str]]:
    """Return the page that `n` and `last` ask for, and the Link to the next; `last` need not exist."""
    most = _most(call)
    last = call.request.asked("last")
    rest = names[bisect_right(names, last) :] if last else names
    page = rest[:most]
    if not page or len(page) == len(rest):
        return page, {}
    return page, _next(path, {"n": str(most), "last": page[-1]})


def _most(call: Call) -> int:
    """Return how many entries a page may have. Raises Refusal for what is no number; a huge one is clamped."""
    asked = call.request.asked("n")
    if asked is None:
        return PAGE
    if not (asked.isascii() and asked.isdigit()):
        raise Refusal("UNSUPPORTED", "n is not a number", status=400)
    return PAGE if len(asked) > _DIGITS else min(int(asked), PAGE)


def _next(path: str, query: Mapping[str, str]) -> dict[str, str]:
    return {"Link": f'<{path}?{urllib.parse.urlencode(query)}>; rel="next"'}


def _json(value: object, headers: dict[str, str]) -> Answer:
    return Answer(200, {"Content-Type": "application/json"} | headers, json.dumps(value).encode())
