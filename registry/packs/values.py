"""The images that a pack's `values.yaml` declares (`pack.content.images`), read without building what YAML describes.

Only the node tree is made: no merge keys are expanded, no aliases copied, no dates guessed. Its depth is checked on
the event stream first, because the C composer recurses and a deep document would end the process.
"""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from registry.declaration import QUICK_LOADER, check_depth
from registry.errors import DefinitionError
from registry.packs.model import DeclaredImage, Note

VALUES_BYTES = 8 << 20
MAX_DEPTH = 100
MAX_IMAGES = 10_000


def declared_images(data: bytes, where: str) -> tuple[tuple[DeclaredImage, ...], tuple[Note, ...]]:
    """Return the declared images and what is odd about the list. Raises DefinitionError if the text is not YAML."""
    try:
        check_depth(data, MAX_DEPTH)
        root = yaml.compose(data, Loader=QUICK_LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefinitionError(
            "values-invalid", str(error), where=where, hint="mend the YAML of the pack's values"
        ) from error
    content = _child(_child(root, "pack"), "content")
    entries = _child(content, "images")
    if not isinstance(entries, yaml.SequenceNode) or not entries.value:
        return (), (Note("images-not-declared", "the values declare no images"),)
    if len(entries.value) > MAX_IMAGES:
        raise DefinitionError(
            "values-invalid",
            f"{len(entries.value)} declared images",
            where=where,
            expected=f"at most {MAX_IMAGES}",
            hint="split the pack, or take images out of pack.content.images",
        )
    images: list[DeclaredImage] = []
    notes: list[Note] = []
    for number, entry in enumerate(entries.value, start=1):
        for item in _judge(entry, number):
            (images if isinstance(item, DeclaredImage) else notes).append(item)  # type: ignore[arg-type]
    return tuple(images), tuple(notes)


def _judge(entry: yaml.Node, number: int) -> Iterator[DeclaredImage | Note]:
    text = _text(_child(entry, "image"))
    if not text:
        misspelt = _text(_child(entry, "iamge"))
        if not misspelt:
            yield Note("image-entry-empty", f"entry {number} of the declared images names none")
            return
        yield Note("image-key-misspelt", f"entry {number} says 'iamge': {misspelt}")
        text = misspelt
    yield DeclaredImage(text)
    name, _, digest = text.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if not digest and not tag:
        yield Note("image-without-tag", f"{text} has neither tag nor digest")
    elif not digest and tag == "latest":
        yield Note("image-latest", f"{text} means another image every day")


def _child(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value == key and isinstance(value, yaml.Node):
                return value
    return None


def _text(node: yaml.Node | None) -> str:
    return str(node.value).strip() if isinstance(node, yaml.ScalarNode) else ""
