"""Helm charts, as Helm itself keeps them in OCI registries: one archive, its Chart.yaml as config.

A registry that serves the bundle gives them to `helm pull oci://...`. A chart of a repository over HTTP is listed
there with its digest; a chart of a folder becomes the same archive on every machine, and what it depends on lies in
its `charts/` already: nothing is fetched beyond what the definition names.

>>> artifact, data = resolve(ChartEntry(chart="oci://registry.example.org/charts/web", version="1.2.0"), inputs)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from bundles.definition import ChartEntry, Location
from bundles.lock import FolderArchive, Inline, LockedArtifact, LockedBlob, Origin, RegistryBlob, UrlBlob
from bundles.sources import registries
from bundles.sources.artifact import inline
from bundles.sources.inputs import Inputs, spelled
from registry.declaration import load, read
from registry.errors import DefinitionError, RemoteError
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST, Manifest
from registry.oci.reference import Reference, repository_name, tag_name
from registry.oci.targz import folder_archive
from registry.packs.charts import Chart

CONFIG = "application/vnd.cncf.helm.config.v1+json"
LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
CHART_BYTES = 32 << 20
INDEX_BYTES, INDEX_DEPTH = 64 << 20, 40


def resolve(entry: ChartEntry, inputs: Inputs) -> tuple[LockedArtifact, bytes]:
    """Return the locked chart, and its archive to be rendered. Raises DefinitionError, RemoteError."""
    if entry.folder is not None:
        return _of_folder(entry.folder, inputs)
    chart, version = entry.chart or "", entry.version or ""
    if entry.repository:
        return _of_repository(entry.repository, chart, version, inputs)
    return _of_registry(chart.removeprefix("oci://"), version, inputs)


def referring(entry: ChartEntry, chart: LockedArtifact, inputs: Inputs) -> list[LockedArtifact]:
    """Return what refers to a chart of a registry: signatures and the like. Raises DefinitionError, RemoteError."""
    if not (entry.chart or "").startswith("oci://"):
        return []
    place = Reference.parse(chart.ref)
    by_digest = Reference(place.host, place.repository, digest=chart.root.digest)
    found = registries.resolve(by_digest, [], inputs.require_registries())
    return [one for one in found if one.root.digest != chart.root.digest]


def _of_registry(name: str, version: str, inputs: Inputs) -> tuple[LockedArtifact, bytes]:
    tag = version.replace("+", "_")  # a tag has no plus; Helm spells it so
    try:
        reference = Reference.parse(f"{name}:{tag}")
    except ValueError as error:
        hint = "write oci://HOST/PATH/NAME"
        raise DefinitionError("chart-malformed", str(error), where=f"oci://{name}", hint=hint) from error
    registry, repository = inputs.require_registries().find(reference)
    named = registry.resolve(repository, tag)
    found = registry.manifest(repository, named.digest) if named else None
    manifest = Manifest.parse(*found) if found else None
    layers = [one for one in manifest.blobs if one.media_type == LAYER] if manifest else []
    if manifest is None or len(layers) != 1 or layers[0].size > CHART_BYTES:
        raise _missing(f"oci://{name}", version, "no chart of that version" if manifest is None else "no Helm chart")
    origin = RegistryBlob(repository=f"{reference.host}/{reference.repository}")
    root = LockedBlob(
        digest=manifest.digest,
        size=len(manifest.data),
        media_type=manifest.media_type,
        origin=Inline(text=manifest.data.decode()),
    )
    artifact = LockedArtifact(
        kind="chart",
        ref=f"{reference.served_at}:{tag}",
        root=root,
        blobs=[_blob(one, origin) for one in manifest.blobs],
        title=f"chart {name.rpartition('/')[2]} {version}",
    )
    archive = registry.blob_bytes(repository, layers[0], CHART_BYTES)
    _require_same(archive, name.rpartition("/")[2], version, f"oci://{name}")
    return artifact, archive


def _of_repository(repository: str, name: str, version: str, inputs: Inputs) -> tuple[LockedArtifact, bytes]:
    base = repository if repository.endswith("/") else f"{repository}/"
    where = f"{base}index.yaml"
    data = inputs.addresses.whole(where, INDEX_BYTES)
    try:
        index = read(data, INDEX_DEPTH)
        listed = index["entries"].get(name, [])
        found: Mapping[str, Any] = next(one for one in listed if str(one["version"]) == version)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RemoteError(
            "chart-index-invalid",
            "the repository's index.yaml cannot be read",
            where=where,
            seen=f"{type(error).__name__}: {error}"[:300],
            hint="see that the address is a chart repository's",
        ) from error
    except StopIteration:
        raise _missing(base, version, f"the repository lists no {name} of that version") from None
    digest, urls = str(found.get("digest", "")).removeprefix("sha256:"), found.get("urls")
    if len(digest) != hashlib.sha256().digest_size * 2 or not isinstance(urls, list) or not urls:
        raise _missing(base, version, f"the repository lists {name} without a digest or an address")
    url = _address(base, str(urls[0]))
    archive = inputs.addresses.whole(url, CHART_BYTES)
    if hashlib.sha256(archive).hexdigest() != digest:
        raise DefinitionError(
            "checksum-mismatch",
            f"chart {name} {version} is not what its repository's index says",
            where=url,
            expected=f"sha256 {digest}",
            seen=f"sha256 {hashlib.sha256(archive).hexdigest()}",
            hint="tell whoever keeps the repository; nothing of it is used",
        )
    _require_same(archive, name, version, url)
    shown = {key: found[key] for key in ("apiVersion", "appVersion", "description") if key in found}
    return _made({**shown, "name": name, "version": version}, archive, UrlBlob(url=url), url), archive


def _of_folder(location: Location, inputs: Inputs) -> tuple[LockedArtifact, bytes]:
    folder = inputs.directory(location)
    try:
        about = load(folder / "Chart.yaml")
        name, version = str(about["name"]), str(about["version"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DefinitionError(
            "chart-invalid",
            f"Chart.yaml cannot be read: {error}",
            where=spelled(location),
            hint="a chart's folder has a Chart.yaml with name and version",
        ) from error
    if absent := [one for one in _needed(about) if not _is_there(folder / "charts", one)]:
        raise DefinitionError(
            "chart-dependency-missing",
            f"chart {name} depends on {', '.join(absent)}, which is not in its charts/",
            where=spelled(location),
            hint="helm dependency build, then lock again",
        )
    data = b"".join(folder_archive(folder, name))
    shown = {key: about[key] for key in ("apiVersion", "appVersion", "description") if key in about}
    about = {**shown, "name": name, "version": version}
    return _made(about, data, FolderArchive(folder=location, prefix=name), spelled(location)), data


def _address(base: str, listed: str) -> str:
    """Return where a repository's archive lies. Raises DefinitionError for what the lock could not hold."""
    scheme = "no address"
    with suppress(ValueError):
        url = urljoin(base, listed)
        parts = urlsplit(url)
        scheme = parts.scheme
        if scheme in {"http", "https"} and parts.hostname and parts.username is None:
            return url
    raise DefinitionError(
        "chart-address-unusable",
        "the repository's index gives an address that is not http or https, or holds a login",
        where=f"{base}index.yaml",
        expected="http or https, with a host and without a login",
        seen=scheme,
        hint="a chart that lies in a registry is named by that: chart: oci://HOST/PATH/NAME",
    )


def _require_same(archive: bytes, name: str, version: str, where: str) -> None:
    """Refuse an archive that is no chart, or another one than whoever gave it says."""
    try:
        chart = Chart.read(archive)
    except ValueError as error:
        seen = str(error)
    else:
        if (chart.name, chart.version) == (name, version):
            return
        seen = f"{chart.name} {chart.version}"
    raise DefinitionError(
        "chart-invalid",
        "what came is not the chart that it is called",
        where=where,
        expected=f"{name} {version}",
        seen=seen[:300],
        hint="tell whoever keeps it; nothing of it is used",
    )


def _made(about: Mapping[str, Any], archive: bytes, origin: Origin, where: str) -> LockedArtifact:
    name, version = str(about["name"]), str(about["version"])
    tag = version.replace("+", "_")
    try:
        repository_name(f"dryport/charts/{name}")
        tag_name(tag)
    except ValueError as error:
        hint = "a chart's name is lower-case letters, digits and hyphens"
        raise DefinitionError("chart-invalid", str(error), where=where, hint=hint) from error
    config = inline(strictjson.canonical({key: str(value) for key, value in about.items()}).decode(), CONFIG)
    layer = LockedBlob(digest=Digest.of(archive), size=len(archive), media_type=LAYER, origin=origin)
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor(CONFIG, config.digest, config.size).as_json(),
        "layers": [Descriptor(LAYER, layer.digest, layer.size).as_json()],
    }
    return LockedArtifact(
        kind="chart",
        ref=f"dryport/charts/{name}:{tag}",
        root=inline(strictjson.canonical(value).decode(), OCI_MANIFEST),
        blobs=[config, layer],
        title=f"chart {name} {version}",
    )


def _blob(descriptor: Descriptor, origin: Origin) -> LockedBlob:
    return LockedBlob(digest=descriptor.digest, size=descriptor.size, media_type=descriptor.media_type, origin=origin)


def _needed(about: Mapping[str, Any]) -> list[str]:
    listed = about.get("dependencies")
    return (
        [str(one["name"]) for one in listed if isinstance(one, dict) and "name" in one]
        if isinstance(listed, list)
        else []
    )


def _is_there(charts: Path, name: str) -> bool:
    return (charts / name / "Chart.yaml").is_file() or any(charts.glob(f"{name}-*.tgz"))


def _missing(where: str, version: str, seen: str) -> DefinitionError:
    return DefinitionError(
        "chart-missing",
        f"the chart is not there: {seen}",
        where=where,
        expected=f"version {version}",
        seen=seen,
        hint="mend name, version or address in the definition",
    )
