"""Packs as what is copied: each with the images that it starts, found at the source itself.

A pack's images are those that it declares and those that its charts and manifests start; with Helm they are rendered.
An image of `registry.example.org/web` lies at the source under that path, below the base path that the packs have, or
under its path alone where the source is that very registry. What the source does not hold is an error, not left out.

>>> Packs(source, "hub").lines(["web:>=1.2", "clock:1.0.0"])
['hub/spectro-packs/archive/web:1.2.0', 'hub/ghcr.io/team/web:1.2.0', ...]
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from registry.content import ContentSource
from registry.errors import DryportError, MediaError, UsageError
from registry.mirror.selection import Wanted
from registry.oci.digest import Digest
from registry.oci.manifest import Manifest
from registry.oci.reference import Reference
from registry.packs.content import PackContent
from registry.packs.helm import Helm
from registry.packs.images import inventory
from registry.packs.model import NAMESPACE
from registry.packs.place import is_derived
from registry.packs.reading import read_stream
from registry.packs.references import LATEST, Image

PACK_BYTES = 256 << 20


@dataclass
class Packs:
    """The packs of one source, below a base path, and where their images lie there."""

    source: ContentSource
    base: str = ""
    host: str = ""
    """The source's own host, if it is a registry."""
    helm: Helm | None = None
    faults: list[DryportError] = field(default_factory=list)
    """What is named and not there, gathered."""

    def lines(self, names: Iterable[str]) -> Sequence[str]:
        """Return the lines of a selection for packs, each `NAME`, `NAME:VERSION` or `NAME:RANGE`. Raises UsageError."""
        found: dict[str, None] = {}
        for text in names:
            for repository, tag in self._versions(text):
                found[f"{repository}:{tag}"] = None
                for line in self._images(repository, tag):
                    found[line] = None
        return list(found)

    def _versions(self, text: str) -> Iterator[tuple[str, str]]:
        name, colon, version = text.partition(":")
        repository = self._below(f"{NAMESPACE}/{name}")
        try:
            wanted = Wanted.parse(f"{repository}:{version.replace('+', '_')}" if colon else repository)
        except ValueError as error:
            raise UsageError(
                "pack-malformed", str(error), seen=text[:200], hint="--pack NAME, NAME:VERSION or 'NAME:>=1.2 <2'"
            ) from error
        tags = [tag for tag in self.source.tags(repository) if not is_derived(tag) and wanted.takes(tag)]
        if not tags:
            self.faults.append(
                MediaError(
                    "pack-missing",
                    f"the source has no pack {text}",
                    where=repository,
                    hint="see what is there: dryport pack list, or bundle inspect",
                )
            )
        yield from ((repository, tag) for tag in sorted(tags))

    def _images(self, repository: str, tag: str) -> Iterator[str]:
        """Yield the lines of what one version of a pack starts."""
        archive = self._archive(repository, tag)
        if archive is None:
            self.faults.append(
                MediaError(
                    "pack-missing",
                    "what the tag names is no pack, or damaged",
                    where=f"{repository}:{tag}",
                    hint="push it there again: dryport pack push",
                )
            )
            return
        content = PackContent.of(read_stream(io.BytesIO(archive), f"{repository}:{tag}"))
        for one in inventory(content, self.helm).images:
            is_needed = one.declared or one.used
            if one.macros or not (is_needed or one.possible):
                continue
            line = self._line(one.image)
            if line:
                yield line
            elif is_needed:
                self.faults.append(
                    MediaError(
                        "pack-image-missing",
                        f"pack {content.metadata.title} starts {one.title}, which the source does not hold",
                        where=f"{repository}:{tag}",
                        hint="bring the image to the source, or copy the pack without its images: --only",
                    )
                )

    def _archive(self, repository: str, tag: str) -> bytes | None:
        """Return a pack's one layer, checked."""
        named = self.source.resolve(repository, tag)
        data = self.source.manifest(repository, named.digest) if named else None
        try:
            manifest = Manifest.parse(*data) if data else None
        except ValueError:
            return None
        layer = manifest.blobs[-1] if manifest and len(manifest.blobs) > 1 else None
        content = self.source.blob(repository, layer.digest) if layer and layer.size <= PACK_BYTES else None
        if layer is None or content is None:
            return None
        try:
            archive = content.read(0, content.size) if content.size == layer.size else b""
        finally:
            content.close()
        return archive if layer.digest.matches(archive) else None

    def _line(self, image: Image) -> str | None:
        """Return where the source holds an image."""
        reference = Reference(image.host, image.path, image.tag or LATEST)
        places = [self._below(reference.served_at)]
        places += [image.path] if image.host == self.host else []
        for place in places:
            if image.digest:
                digest = Digest.parse(image.digest)
                if self.source.manifest(place, digest):
                    return f"{place}@{digest}"
            elif self.source.resolve(place, image.tag or LATEST):
                return f"{place}:{image.tag or LATEST}"
        return None

    def _below(self, name: str) -> str:
        return f"{self.base}/{name}" if self.base else name
