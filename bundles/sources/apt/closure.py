"""A closure of Debian packages, as an artifact: a small apt repository that needs no other one beside it.

Chosen from the package set of the stated suites by apt itself, in a private root. `base` is what a host is sure to
have: those packages and all they need, in the versions of the first suite, count as installed, so that an update
that something needs is still in the closure. An empty base takes nothing for granted.
"""

from __future__ import annotations

from collections.abc import Sequence

from bundles.definition import AptEntry
from bundles.lock import AptPackage, LockedArtifact, LockedBlob
from bundles.sources.apt import repository, stanza
from bundles.sources.apt.entries import PackageSet, machine_entries, narrowed
from bundles.sources.apt.location import located
from bundles.sources.apt.root import Choice, PrivateApt
from bundles.sources.artifact import Layer, made
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError
from registry.oci.digest import Digest

ARTIFACT_TYPE = "application/vnd.dryport.apt.v1"
INDEX_LAYER = "application/vnd.dryport.apt.v1.index"
PACKAGE_LAYER = "application/vnd.debian.binary-package"
_PREFIX = "dev.dryport.apt"
"""Annotations that tell a site how to use the repository, and which packages it was made for."""


def resolve(entry: AptEntry, version: str, inputs: Inputs) -> LockedArtifact:
    """Return the locked closure. Raises DefinitionError, RemoteError, SiteError."""
    wanted = PackageSet(tuple(entry.suites), tuple(entry.components), entry.architecture)
    apt = PrivateApt.open(narrowed(machine_entries(), wanted), wanted, inputs.scratch)
    base = _base(entry, apt, inputs)
    choices = apt.choose(entry.packages, status=_status(base))
    _check_named(entry, {choice.name for choice in choices} | {fields["Package"] for fields in base})
    fields = apt.stanzas(choices)
    packages = repository.packages_file(fields)
    release = repository.release_file(entry.architecture, packages, apt.newest_date())
    at = f"dists/{repository.SUITE}"
    layers = [
        Layer.text(f"{at}/Release", release, INDEX_LAYER),
        Layer.text(f"{at}/{repository.packages_path(entry.architecture)}", packages, INDEX_LAYER),
        *(package_layer(choice, one, apt) for choice, one in zip(choices, fields, strict=True)),
    ]
    return made(
        "apt",
        ARTIFACT_TYPE,
        f"dryport/apt/{entry.name}:{version}",
        layers,
        annotations={
            f"{_PREFIX}.suite": repository.SUITE,
            f"{_PREFIX}.components": repository.COMPONENT,
            f"{_PREFIX}.architecture": entry.architecture,
            f"{_PREFIX}.packages": " ".join(entry.packages),
        },
        title=f"{', '.join(entry.packages)}: {len(choices)} Debian packages",
    )


def _base(entry: AptEntry, apt: PrivateApt, inputs: Inputs) -> tuple[stanza.Stanza, ...]:
    if not entry.base:
        return ()
    release = apt.of_first_suite(inputs.scratch)
    return release.stanzas(release.choose(entry.base))


def _status(base: Sequence[stanza.Stanza]) -> str:
    return "".join(stanza.render({**fields, "Status": "install ok installed"}) for fields in base)


def _check_named(entry: AptEntry, held: set[str]) -> None:
    """A name may be virtual, and apt then installs another package: the definition must say which."""
    if absent := [name for name in entry.packages if name not in held]:
        raise DefinitionError(
            "apt-unresolvable",
            f"{', '.join(absent)} is only provided by other packages",
            where=f"apt entry {entry.name}",
            hint="name the package that is meant",
        )


def package_layer(choice: Choice, fields: stanza.Stanza, apt: PrivateApt) -> Layer:
    """Return a chosen package as a layer, with its path in our repository as title."""
    digest = Digest("sha256", fields["SHA256"])
    blob = LockedBlob(digest=digest, size=int(fields["Size"]), media_type=PACKAGE_LAYER, origin=_origin(choice, apt))
    return Layer(repository.pool_name(fields), blob)


def _origin(choice: Choice, apt: PrivateApt) -> AptPackage:
    suites, path = located(choice.uri, apt.entries)
    return AptPackage(
        suites=list(suites),
        components=list(apt.wanted.components),
        architecture=apt.wanted.architecture,
        package=choice.name,
        version=choice.version,
        path=path,
    )
