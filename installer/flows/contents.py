"""What a release holds that its playbooks must know of: the kit, the playbooks, package repositories, packs.

Read from a ContentSource, so that a mounted bundle and a site's own store tell the same.

>>> Contents.of(verified.content(), "quickstart", "1.0.0").kit.version
'0.1.0'
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.content import ContentSource
from registry.errors import MediaError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import TITLE, Manifest

KIT = "dryport/kit"
PLAYBOOKS = "dryport/playbooks/"
APT = "dryport/apt/"
PACKS = "spectro-packs/archive/"
_APT_NOTE = "dev.dryport.apt"


@dataclass(frozen=True, slots=True)
class Kit:
    """The kit as hosts fetch it."""

    repository: str
    tag: str
    layer: Descriptor

    @property
    def version(self) -> str:
        """The kit's own version: the tag without the platform."""
        return self.tag.removesuffix("-linux-amd64")

    @property
    def title(self) -> str:
        """The file's name."""
        return self.layer.annotations.get(TITLE, "")


@dataclass(frozen=True, slots=True)
class AptRepository:
    """A closure of Debian packages."""

    repository: str
    suite: str
    components: tuple[str, ...]
    packages: tuple[str, ...]
    """What the release wants on every host; the rest is what these need."""
    size: int


@dataclass(frozen=True, slots=True)
class Contents:
    """A release's contents, as far as a site's steps need them."""

    version: str
    kit: Kit
    playbooks_repository: str
    playbooks: Descriptor
    apt: tuple[AptRepository, ...]
    packs: tuple[str, ...]
    """`name:version`, sorted."""

    @classmethod
    def of(cls, source: ContentSource, product: str, version: str) -> Contents:
        """Return the contents of a release. Raises MediaError if a part that every site needs is not there."""
        names = sorted(source.repositories())
        playbooks = f"{PLAYBOOKS}{product}"
        return cls(
            version=version,
            kit=_kit(source),
            playbooks_repository=playbooks,
            playbooks=_only_layer(source, playbooks, version),
            apt=tuple(_apt(source, name, version) for name in names if name.startswith(APT)),
            packs=tuple(
                f"{name.removeprefix(PACKS)}:{tag}"
                for name in names
                if name.startswith(PACKS)
                for tag in sorted(source.tags(name))
            ),
        )


def _kit(source: ContentSource) -> Kit:
    tags = [tag for tag in source.tags(KIT) if tag.endswith("-linux-amd64")]
    if len(tags) != 1:
        raise _lacks("one kit for linux/amd64", KIT)
    return Kit(KIT, tags[0], _only_layer(source, KIT, tags[0]))


def _apt(source: ContentSource, repository: str, version: str) -> AptRepository:
    manifest = _manifest(source, repository, version)
    notes = manifest.annotations
    return AptRepository(
        repository,
        notes.get(f"{_APT_NOTE}.suite", "dryport"),
        tuple(notes.get(f"{_APT_NOTE}.components", "main").split()),
        tuple(notes.get(f"{_APT_NOTE}.packages", "").split()),
        sum(blob.size for blob in manifest.blobs),
    )


def _only_layer(source: ContentSource, repository: str, tag: str) -> Descriptor:
    layers = _manifest(source, repository, tag).blobs[1:]
    if len(layers) != 1:
        raise _lacks("an artefact of one layer", f"{repository}:{tag}")
    return layers[0]


def _manifest(source: ContentSource, repository: str, tag: str) -> Manifest:
    named = source.resolve(repository, tag)
    found = source.manifest(repository, named.digest) if named else None
    if not found:
        raise _lacks("such an artefact", f"{repository}:{tag}")
    return Manifest.parse(*found)


def _lacks(what: str, where: str) -> MediaError:
    return MediaError(
        "bundle-not-installable",
        f"the bundle does not hold {what}",
        where=where,
        hint="a site needs kit, playbooks and apt in the bundle's definition; tell whoever made it",
    )


def read_layer(source: ContentSource, repository: str, digest: Digest, limit: int) -> bytes:
    """Return a whole small layer, checked by its source. Raises MediaError."""
    content = source.blob(repository, digest)
    if content is None:
        raise _lacks("a layer that it names", f"{repository}@{digest}")
    try:
        if content.size > limit:
            raise _lacks(f"it within {limit} bytes", f"{repository}@{digest}")
        return content.read(0, content.size)
    finally:
        content.close()
