"""Lists: tags (end-8a, b), the catalog, referrers (end-12a, b); paged, sorted, only what the caller may pull."""

from __future__ import annotations

import json
import urllib.parse
from bisect import bisect_right
from collections.abc import Sequence

from registry.oci.manifest import OCI_INDEX
from registry.server.context import Call, digest_of
from registry.server.exchange import Answer
from registry.server.wire import Refusal

PAGE = 1000
_DIGITS = 9


async def tags(call: Call) -> Answer:
    """OCI dist-spec: end-8a, end-8b."""
    sources, keep = call.registry.sources, call.registry.threads.keep
    names = await keep(sources.tags, call.repository)
    if not names and not await keep(sources.has_repository, call.repository):
        raise Refusal("NAME_UNKNOWN", "there is no such repository")
    page, link = _page(call, names, f"/v2/{call.repository}/tags/list")
    return _json({"name": call.repository, "tags": page}, link)


async def catalog(call: Call) -> Answer:
    """Docker's `_catalog`: the repositories that the caller may pull."""
    names = await call.registry.threads.keep(call.registry.sources.repositories)
    page, link = _page(call, [name for name in names if call.identity.may("pull", name)], "/v2/_catalog")
    return _json({"repositories": page}, link)


async def referrers(call: Call) -> Answer:
    """OCI dist-spec: end-12a, end-12b. What nobody refers to, or nobody ever saw, has an empty list."""
    digest = digest_of(call.argument)
    found = await call.registry.threads.keep(call.registry.sources.referrers, call.repository, digest)
    wanted = call.request.asked("artifactType")
    if wanted:
        found = [item for item in found if item.artifact_type == wanted]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [item.as_json() for item in found]}
    answer = _json(index, {"OCI-Filters-Applied": "artifactType"} if wanted else {})
    answer.headers["Content-Type"] = OCI_INDEX
    return answer


def _page(call: Call, names: Sequence[str], path: str) -> tuple[Sequence[str], dict[str, str]]:
    """Return the page that `n` and `last` ask for, and the Link to the next; `last` need not exist."""
    asked = call.request.asked("n")
    if asked is not None and not (asked.isascii() and asked.isdigit()):
        raise Refusal("UNSUPPORTED", "n is not a number", status=400)
    most = PAGE if asked is None else PAGE if len(asked) > _DIGITS else min(int(asked), PAGE)
    last = call.request.asked("last")
    rest = names[bisect_right(names, last) :] if last else names
    page = rest[:most]
    if not page or len(page) == len(rest):
        return page, {}
    query = urllib.parse.urlencode({"n": most, "last": page[-1]})
    return page, {"Link": f'<{path}?{query}>; rel="next"'}


def _json(value: object, headers: dict[str, str]) -> Answer:
    return Answer(200, {"Content-Type": "application/json"} | headers, json.dumps(value).encode())
