r"""What rendered manifests name: images, and other things that a site without internet does not have.

Reads the documents that Helm made, without trusting their kinds: an image in a container, in a field called `image`, as
`repository` and `tag`, whole in a field called `...Image`, in a variable called `..._IMAGE` or in an argument is
**used**; one that other text names is **possible**. Custom resource definitions describe and use nothing.

>>> [(one.text, one.is_used) for one in found(parse("kind: Pod\\nspec: {containers: [{image: 'web:1'}]}"))]
[('web:1', True)]
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from registry.packs.references import full_references, is_full, looks_like
from registry.packs.scalars import Value
from registry.packs.tree import MAX_DEPTH, Tree

_BETWEEN = re.compile(r"^---[ \t]*(?:#.*)?$", re.MULTILINE)
_DEFINITION = re.compile(r"^kind:[ \t]*[\"']?CustomResourceDefinition\b", re.MULTILINE)
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_URL = re.compile(r"(?:https?|git|oci)://(?:[^\s/@\"'<>]*@)?([A-Za-z0-9.-]+)|git@([A-Za-z0-9.-]+):")
_INSIDE = ("svc", "local", "localhost", "internal", "example", "invalid", "test")
_EXAMPLES = (".example.com", ".example.org", ".example.net")


@dataclass(frozen=True, slots=True)
class Named:
    """An image that a manifest names."""

    text: str
    is_used: bool
    where: str
    """`Kind/name: path`."""


def parse(text: str) -> list[dict[str, Any]]:
    """Return the documents of rendered manifests, without resource definitions. Raises ValueError."""
    documents: list[dict[str, Any]] = []
    for part in _BETWEEN.split(text):
        # Half of what operators render is definitions: they use nothing, and reading them takes longest.
        if not _DEFINITION.search(part):
            documents += _flat(Tree.parse(part.encode()).value())
    return documents


def documents(text: str) -> list[str]:
    """Return the texts of rendered manifests, one for each object, definitions included."""
    return [f"{part.strip()}\n" for part in _BETWEEN.split(text) if part.strip()]


def found(documents: Sequence[dict[str, Any]]) -> Iterator[Named]:
    """Yield every image that the documents name, as often as they do."""
    for document in documents:
        title = _title(document)
        is_text = document.get("kind") in {"ConfigMap", "Secret"}
        for path, value, key in _walk(document, (), 0):
            if path[:1] in {("metadata",), ("status",)} and len(path) <= 3:  # noqa: PLR2004 - metadata.annotations.x
                continue
            where = f"{title}: {'.'.join(path)}"
            if isinstance(value, dict):
                yield from _pair(value, where)
            elif isinstance(value, str):
                yield from _text(value, key, path, where, is_text=is_text)


def pulls_always(documents: Sequence[dict[str, Any]]) -> Sequence[str]:
    """Return the containers that ask the registry at each start."""
    return [
        f"{_title(document)}: {value.get('name', '')}"
        for document in documents
        for path, value, _ in _walk(document, (), 0)
        if isinstance(value, dict)
        and value.get("imagePullPolicy") == "Always"
        and len(path) > 1
        and path[-2] in _CONTAINERS
    ]


def egress(documents: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the outside hosts that arguments, variables and ConfigMaps name, each with where."""
    hosts: dict[str, str] = {}
    for document in documents:
        for text, where in _spoken(document):
            for line in text.splitlines():
                if line.lstrip().startswith("#"):
                    continue
                for url in _URL.finditer(line):
                    host = (url[1] or url[2]).lower().strip(".-")
                    if is_outside(host):
                        hosts.setdefault(host, where)
    return hosts


def is_outside(host: str) -> bool:
    """Say whether a host's name can only be one of the internet or of a site's own network."""
    if "." not in host or host.rpartition(".")[2] in _INSIDE or f".{host}".endswith(_EXAMPLES):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _pair(value: dict[str, Any], where: str) -> Iterator[Named]:
    """Yield the image of `{registry, repository, tag, digest}`."""
    joined = pair(value)
    if joined:
        yield Named(joined, is_used=True, where=where)


def pair(value: dict[str, Any], version: str = "") -> str:
    """Return the reference that `repository`, `tag`, `registry` and `digest` of a map make; nothing if none."""
    repository = value.get("repository")
    if not isinstance(repository, str) or not repository or "//" in repository or " " in repository:
        return ""
    registry, tag, digest = value.get("registry"), value.get("tag"), value.get("digest") or value.get("sha")
    name = f"{registry}/{repository}" if isinstance(registry, str) and registry else repository
    tag = str(tag) if isinstance(tag, str | int | float) and not isinstance(tag, bool) and str(tag) else version
    digest = str(digest) if isinstance(digest, str) and digest.startswith("sha256:") else ""
    if not tag and not digest:
        return ""
    return name + (f":{tag}" if tag and ":" not in name.rpartition("/")[2] else "") + (f"@{digest}" if digest else "")


def _text(value: str, key: str, path: Sequence[str], where: str, *, is_text: bool) -> Iterator[Named]:
    above = path[-2] if len(path) > 1 else ""
    if key.endswith("Image") and not is_text and is_full(value):
        yield Named(value, is_used=True, where=where)
        return
    if key == "image" and not is_text:
        is_container = len(path) > 2 and path[-3] in _CONTAINERS  # noqa: PLR2004 - containers.0.image
        if value and (is_container or looks_like(value)):
            yield Named(value, is_used=True, where=where)
        return
    if above in {"args", "command"} and not is_text:
        for part in {value, value.partition("=")[2]}:
            if looks_like(part) and any(True for _ in full_references(part)):
                yield Named(part, is_used=True, where=where)
                return
    yield from (Named(one, is_used=False, where=where) for one in full_references(value))


def _walk(value: Value, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Value, str]]:
    """Yield path, value and last key of everything below; a variable's value has its variable's name as key."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        yield path, value, path[-1] if path else ""
        name = value.get("name")
        for key, below in value.items():
            if key == "value" and isinstance(name, str) and isinstance(below, str):
                yield from _variable(name, below, (*path, str(key)))
            else:
                yield from _walk(below, (*path, str(key)), depth + 1)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _walk(below, (*path, str(number)), depth + 1)
    else:
        yield path, value, path[-1] if path else ""


def _variable(name: str, value: str, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Value, str]]:
    """A variable called ..._IMAGE holds an image, or several with words around them."""
    if "IMAGE" not in name.upper().replace("IMAGEPULL", "").replace("IMAGE_PULL", ""):
        yield path, value, "value"
        return
    for one in [value] if is_full(value) else full_references(value):
        yield path, one, "image"


def _spoken(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    title = _title(document)
    if document.get("kind") == "ConfigMap":
        data = document.get("data")
        yield from (
            (text, f"{title}: data.{name}")
            for name, text in (data.items() if isinstance(data, dict) else ())
            if isinstance(text, str)
        )
        return
    for path, value, _ in _walk(document, (), 0):
        inside = {"args", "command", "env"} & set(path[-4:])
        if isinstance(value, str) and inside:
            yield value, f"{title}: {'.'.join(path)}"


def _flat(document: object) -> Iterator[dict[str, Any]]:
    if isinstance(document, dict):
        items = document.get("items")
        if str(document.get("kind", "")).endswith("List") and isinstance(items, list):
            yield from (item for item in items if isinstance(item, dict))
        else:
            yield document


def _title(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return f"{document.get('kind', '')}/{name}"
