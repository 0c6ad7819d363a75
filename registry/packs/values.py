"""The images that a pack's `values.yaml` declares (`pack.content.images`), read without building what YAML describes.

Only the node tree is made: no merge keys are expanded, no aliases copied, no dates guessed. Its depth is checked on
the event stream first, because the C composer recurses and a deep document would end the process.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from registry.declaration import QUICK_LOADER, check_depth
from registry.errors import DefinitionError
from registry.packs.findings import Finding
from registry.packs.model import DeclaredImage
from registry.packs.tree import child, line_of, text

FILE = "values.yaml"
VALUES_BYTES = 8 << 20
MAX_DEPTH = 100
MAX_IMAGES = 10_000


def declared_images(data: bytes, where: str) -> tuple[tuple[DeclaredImage, ...], tuple[Finding, ...]]:
    """Return the declared images and what is odd about the list. Raises DefinitionError if the text is not YAML."""
    try:
        check_depth(data, MAX_DEPTH)
        root = yaml.compose(data, Loader=QUICK_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefinitionError(
            "values-invalid", str(error), where=where, hint="mend the YAML of the pack's values"
        ) from error
    content = child(child(root, "pack"), "content")
    entries = child(content, "images")
    if not isinstance(entries, yaml.SequenceNode) or not entries.value:
        return (), (Finding("images-not-declared", "the values declare no images", FILE),)
    if len(entries.value) > MAX_IMAGES:
        raise DefinitionError(
            "values-invalid",
            f"{len(entries.value)} declared images",
            where=where,
            expected=f"at most {MAX_IMAGES}",
            hint="split the pack, or take images out of pack.content.images",
        )
    images: list[DeclaredImage] = []
    notes: list[Finding] = []
    for number, entry in enumerate(entries.value, start=1):
        for item in _judge(entry, number):
            (images if isinstance(item, DeclaredImage) else notes).append(item)  # type: ignore[arg-type]
    return tuple(images), tuple(notes)


def _judge(entry: yaml.Node, number: int) -> Iterator[DeclaredImage | Finding]:
    line = line_of(entry)
    if not isinstance(entry, yaml.MappingNode):
        yield Finding("image-entry-form", f"entry {number} of the declared images is no map", FILE, line)
        return
    named = text(child(entry, "image"))
    if not named:
        misspelt = text(child(entry, "iamge"))
        if not misspelt:
            yield Finding("image-entry-empty", f"entry {number} of the declared images names none", FILE, line)
            return
        yield Finding("image-key-misspelt", f"entry {number} says 'iamge': {misspelt}", FILE, line)
        named = misspelt
    yield DeclaredImage(named, line)
    name, _, digest = named.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if not digest and not tag:
        yield Finding("image-without-tag", f"{named} has neither tag nor digest", FILE, line)
    elif not digest and tag == "latest":
        yield Finding("image-latest", f"{named} means another image every day", FILE, line)
