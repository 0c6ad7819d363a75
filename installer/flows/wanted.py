"""Which images a node has to get: from a list, from a verified bundle, or all that a mirror holds for the origins.

Each comes with its original name and its digest. Where a list gives a tag alone, the mirrors say what it means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bundles.content import BundleContent
from registry.client.remote import RemoteRegistry
from registry.errors import RemoteError, UsageError
from registry.mirror.mapping import Mapping, Mirror
from registry.oci.reference import Reference

LIST_BYTES = 16 << 20
Mirrors = Sequence[tuple[Mirror, RemoteRegistry]]


def listed(path: Path, mapping: Mapping, mirrors: Mirrors) -> Iterator[Reference]:
    """Yield the images of a text file, one a line; `#` begins a comment. Raises UsageError, RemoteError."""
    try:
        with path.open("rb") as file:
            lines = file.read(LIST_BYTES).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "list-unreadable", str(error), where=str(path), hint="give a text file with one image a line"
        ) from error
    for number, line in enumerate(lines, 1):
        if text := line.partition("#")[0].strip():
            try:
                wanted = Reference.parse(text)
                places = mapping.mirrored(wanted)
            except ValueError as error:
                raise UsageError(
                    "list-line",
                    str(error),
                    where=f"{path} line {number}",
                    hint="write one image a line, with a tag or a digest: docker.io/library/nginx:1.27",
                ) from error
            yield wanted if wanted.digest else _resolved(wanted, places, mirrors)


def carried(content: BundleContent) -> Iterator[Reference]:
    """Yield the images of a verified bundle."""
    for artifact in content.artifacts:
        if artifact.kind == "image":
            yield replace(Reference.parse(artifact.ref), digest=artifact.root.digest)


def held(mapping: Mapping, mirror: Mirror, remote: RemoteRegistry) -> Iterator[Reference]:
    """Yield all tagged images of the origins that a mirror holds. Raises RemoteError."""
    base = f"{mirror.base}/" if mirror.base else ""
    for repository in sorted(remote.repositories()):
        original = mapping.original(repository.removeprefix(base)) if repository.startswith(base) else None
        if original is None or mapping.folder(f"{original.host}/{original.repository}") is None:
            continue
        for tag in sorted(remote.tags(repository)):
            if found := remote.resolve(repository, tag):
                yield replace(original, tag=tag, digest=found.digest)


def distinct(images: Iterable[Reference]) -> Sequence[Reference]:
    """Return each image once, in their order. Raises UsageError if there is none."""
    found = {(one.host, one.repository, one.digest): one for one in images}
    if not found:
        raise UsageError(
            "nothing-to-prove", "there is no image to pull", hint="give a list, a bundle or a registry that has some"
        )
    return list(found.values())


def _resolved(wanted: Reference, places: Sequence[Reference], mirrors: Mirrors) -> Reference:
    for place, (_, remote) in zip(places, mirrors, strict=True):
        if wanted.tag and (found := remote.resolve(place.repository, wanted.tag)):
            return replace(wanted, digest=found.digest)
    raise RemoteError(
        "image-not-mirrored",
        "no mirror has it",
        where=str(wanted),
        seen=", ".join(str(place) for place in places),
        hint="mirror it first: dryport mirror copy, or dryport registry import",
    )
