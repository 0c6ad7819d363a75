"""Layers by their title, for clients that know files and not manifests (apt, curl): `/files/<repository>/<ref>/<path>`.

A repository and a path may both hold slashes, so every way to split is tried, among repositories the caller may pull.
A path is only compared with title annotations; it never becomes one on disk.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator, Sequence

from registry.content import Content
from registry.oci.digest import Digest
from registry.oci.manifest import TITLE, Manifest
from registry.oci.reference import repository_name, tag_name
from registry.server.blobs import FOREVER, OCTETS, serve
from registry.server.context import Call
from registry.server.exchange import Answer
from registry.server.sources import Sources
from registry.server.wire import Refusal

_MOST_PARTS = 64
Split = tuple[str, Digest | str, str]
"""Repository, digest or tag, title."""


async def get(call: Call) -> Answer:
    """Answer the layer whose title is the path."""
    splits = list(_splits(call.argument))
    allowed = [split for split in splits if call.identity.may("pull", split[0])]
    if splits and not allowed:
        raise Refusal("DENIED", "this is not allowed")
    found = await call.registry.threads.keep(_find, call.registry.sources, allowed)
    if found is None:
        raise Refusal("BLOB_UNKNOWN", "no artifact has such a file")
    content, digest, is_fixed = found
    return serve(call, content, digest, OCTETS, FOREVER if is_fixed else "no-cache")


def _splits(path: str) -> Iterator[Split]:
    """Give every way to read a path as repository, reference and title."""
    parts = path.split("/")
    if len(parts) > _MOST_PARTS:
        return
    try:
        parts = [urllib.parse.unquote(part, errors="strict") for part in parts]
    except UnicodeDecodeError:
        return
    if any("/" in part for part in parts):
        return
    for place in range(1, len(parts) - 1):
        reference = parts[place]
        try:
            name = repository_name("/".join(parts[:place]))
            yield (
                name,
                Digest.parse(reference) if ":" in reference else tag_name(reference),
                "/".join(parts[place + 1 :]),
            )
        except ValueError:
            continue


def _find(sources: Sources, splits: Sequence[Split]) -> tuple[Content, Digest, bool] | None:
    for repository, reference, title in splits:
        digest = reference if isinstance(reference, Digest) else _resolve(sources, repository, reference)
        found = sources.manifest(repository, digest) if digest else None
        if found is None:
            continue
        for layer in Manifest.parse(*found).blobs:
            if layer.annotations.get(TITLE) == title and (content := sources.blob(repository, layer.digest)):
                return content, layer.digest, isinstance(reference, Digest)
    return None


def _resolve(sources: Sources, repository: str, tag: str) -> Digest | None:
    known = sources.resolve(repository, tag)
    return known.digest if known else None
