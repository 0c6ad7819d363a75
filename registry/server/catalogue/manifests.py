"""One manifest: what an image runs, its layers, its platforms, and what was said about it by signers and SBOMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from itertools import islice

from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import TITLE, Manifest
from registry.server.catalogue.kinds import fallback_kind, kind
from registry.server.catalogue.repositories import platform_name, size_below
from registry.server.catalogue.viewer import Found, Name, Shown, Viewer

CONFIG_BYTES = 4 << 20
MOST_REFERRERS = 200


class Layer(Shown):
    """A blob of a manifest, and what made it where that is known."""

    digest: str
    media_type: str
    size: int
    title: str = ""
    made_by: str = ""


class Platform(Shown):
    """A child of an index."""

    name: str
    digest: str
    media_type: str
    size: int
    is_here: bool


class Config(Shown):
    """What an image's config says of how it runs."""

    created: str = ""
    platform: str = ""
    user: str = ""
    working_dir: str = ""
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Sequence[str] = ()
    ports: Sequence[str] = ()
    volumes: Sequence[str] = ()
    labels: Mapping[str, str] = {}


class Referrer(Shown):
    """A manifest that speaks about this one."""

    kind: str
    artifact_type: str
    digest: str
    size: int
    created: str = ""


class ManifestView(Shown):
    """A manifest with all that a person asks of it."""

    repository: str
    tags: Sequence[str]
    digest: str
    kind: str
    media_type: str
    artifact_type: str
    manifest_size: int
    size: int
    annotations: Mapping[str, str]
    subject: str = ""
    config: Config | None = None
    layers: Sequence[Layer] = ()
    platforms: Sequence[Platform] = ()
    referrers: Sequence[Referrer] = ()


def manifest(viewer: Viewer, name: Name) -> ManifestView:
    """Return the manifest that is named. Raises NotVisibleError."""
    found = viewer.find(name)
    one, repository = found.manifest, name.repository
    word = kind(repository, one.media_type, one.artifact_type)
    config = _config(viewer, repository, one) if word == "image" and one.blobs else {}
    layers = one.blobs[1:] if config else one.blobs
    return ManifestView(
        repository=repository,
        tags=_tags(viewer, found),
        digest=str(found.digest),
        kind=word,
        media_type=one.media_type,
        artifact_type=one.artifact_type or "",
        manifest_size=len(one.data),
        size=size_below(viewer, repository, one),
        annotations={key: str(value) for key, value in one.annotations.items()},
        subject=str(one.subject.digest) if one.subject else "",
        config=_told(config) if config else None,
        layers=_layers(layers, _strings(config.get("history"), "created_by") if config else []),
        platforms=[_platform(viewer, repository, child) for child in one.children],
        referrers=_referrers(viewer, repository, found.digest),
    )


def read_blob(viewer: Viewer, repository: str, digest: Digest, limit: int) -> bytes | None:
    """Return a small blob's bytes; None if it is not there or larger than `limit`."""
    content = viewer.sources.blob(repository, digest)
    if content is None:
        return None
    try:
        return content.read(0, content.size) if content.size <= limit else None
    finally:
        content.close()


def _tags(viewer: Viewer, found: Found) -> list[str]:
    if found.name.tag:
        return [found.name.tag]
    sources, repository = viewer.sources, found.name.repository
    names = list(sources.tags(repository))[:1000]  # each is one question; a page need not know all of ten thousand
    return [tag for tag in names if (known := sources.resolve(repository, tag)) and known.digest == found.digest]


def _config(viewer: Viewer, repository: str, manifest: Manifest) -> dict[str, object]:
    data = read_blob(viewer, repository, manifest.blobs[0].digest, CONFIG_BYTES)
    try:
        value = strictjson.loads(data, limit=CONFIG_BYTES) if data else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _told(value: Mapping[str, object]) -> Config:
    run = value.get("config")
    run = run if isinstance(run, dict) else {}
    labels = run.get("Labels")
    return Config(
        created=_moment(value.get("created")),
        platform=platform_name(dict(value)),
        user=_text(run.get("User")),
        working_dir=_text(run.get("WorkingDir")),
        entrypoint=_texts(run.get("Entrypoint")),
        command=_texts(run.get("Cmd")),
        environment=_texts(run.get("Env")),
        ports=_texts(run.get("ExposedPorts")),
        volumes=_texts(run.get("Volumes")),
        labels={str(key): str(text) for key, text in labels.items()} if isinstance(labels, dict) else {},
    )


def _layers(layers: Sequence[Descriptor], history: Sequence[str]) -> list[Layer]:
    made = history if len(history) == len(layers) else [""] * len(layers)
    return [
        Layer(
            digest=str(layer.digest),
            media_type=layer.media_type,
            size=layer.size,
            title=layer.annotations.get(TITLE, ""),
            made_by=text,
        )
        for layer, text in zip(layers, made, strict=True)
    ]


def _platform(viewer: Viewer, repository: str, child: Descriptor) -> Platform:
    found = viewer.manifest(repository, child.digest)
    size = child.size + sum({blob.digest: blob.size for blob in found.blobs}.values()) if found else child.size
    return Platform(
        name=platform_name(child.platform) or "any",
        digest=str(child.digest),
        media_type=child.media_type,
        size=size,
        is_here=found is not None,
    )


def _referrers(viewer: Viewer, repository: str, digest: Digest) -> list[Referrer]:
    """Return what refers to a digest, by the referrers API's rule or by a fallback tag of cosign's."""
    with closing(viewer.sources.referrers_after(repository, digest)) as items:
        found = list(islice(items, MOST_REFERRERS))
    shown = {item.digest: _referrer(repository, item) for item in found}
    for end in ("sig", "att", "sbom"):
        tag = f"{digest.algorithm}-{digest.hex}.{end}"
        if known := viewer.sources.resolve(repository, tag):
            shown.setdefault(known.digest, _referrer(repository, known, fallback_kind(tag)))
    return sorted(shown.values(), key=lambda item: (item.kind, item.digest))


def _referrer(repository: str, item: Descriptor, word: str | None = None) -> Referrer:
    return Referrer(
        kind=word or kind(repository, item.media_type, item.artifact_type),
        artifact_type=item.artifact_type or item.media_type,
        digest=str(item.digest),
        size=item.size,
        created=_moment(item.annotations.get("org.opencontainers.image.created", "")),
    )


def _strings(value: object, key: str) -> list[str]:
    """Return a text of each history entry that made a layer."""
    entries = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    return [_text(item.get(key)) for item in entries if not item.get("empty_layer")]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | dict) else []


def _moment(value: object) -> str:
    """Return a time to the second as UTC, or the text as it is."""
    try:
        return f"{datetime.fromisoformat(_text(value)):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return _text(value)
