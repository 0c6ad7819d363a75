"""Lists: tags (end-8a, b), the catalog, referrers (end-12a, b); paged, sorted, only what the caller may pull."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import islice

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
    page, link = await keep(
        _page, call, partial(sources.tags_after, call.repository), f"/v2/{call.repository}/tags/list"
    )
    if not page and not await keep(sources.has_repository, call.repository):
        raise Refusal("NAME_UNKNOWN", "there is no such repository")
    return _json({"name": call.repository, "tags": page}, link)


async def catalog(call: Call) -> Answer:
    """Docker's `_catalog`: the repositories that the caller may pull."""
    page, link = await call.registry.threads.keep(_page, call, partial(_seen, call), "/v2/_catalog")
    return _json({"repositories": page}, link)


def _seen(call: Call, last: str) -> Generator[str, None, None]:
    with closing(call.registry.sources.repositories_after(last, call.identity.shown)) as names:
        yield from filter(call.identity.sees, names)


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
    page: list[bytes] = []
    size, ends_at, is_more = len(_INDEX) + 2, "", False
    found = call.registry.sources.referrers_after(call.repository, subject, last, wanted or None)
    with closing(found):
        for item in found:
            encoded = json.dumps(item.as_json()).encode()
            size += len(encoded) + 1
            if len(page) == most or (page and size > strictjson.METADATA_BYTES):
                is_more = True
                break
            page.append(encoded)
            ends_at = str(item.digest)
    return _INDEX + b",".join(page) + b"]}", ends_at if is_more else ""


def _page(
    call: Call, after: Callable[[str], Generator[str, None, None]], path: str
) -> tuple[Sequence[str], dict[str, str]]:
    """Return the page that `n` and `last` ask for, and the Link to the next; `last` need not exist."""
    most = _most(call)
    with closing(after(call.request.asked("last") or "")) as names:
        found = list(islice(names, most + 1))
    page = found[:most]
    return page, _next(path, {"n": str(most), "last": page[-1]}) if page and len(found) > most else {}


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
