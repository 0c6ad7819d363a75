"""A definition resolved into a lock: every artefact by digest and size. Reads, never builds; writes only to scratch.

The same definition against unchanged sources gives the same bytes. All entries are resolved, and all that is wrong
with them is told at once.

>>> lock(Path("bundle.yaml"), Inputs(Path("."), {"kit": kit}, scratch), Silent()).encode()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bundles.definition import Definition
from bundles.lock import Lock, LockedArtifact
from bundles.sources import files, folders, images, vmimages
from bundles.sources.apt import closure
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.oci.reference import Reference
from registry.progress import Progress

Step = tuple[str, Callable[[], LockedArtifact | list[LockedArtifact]]]


def lock(definition_path: Path, inputs: Inputs, progress: Progress) -> Lock:
    """Return the lock of a definition. Raises DefinitionError with every finding; RemoteError, SiteError at once."""
    definition = Definition.read(definition_path)
    steps = list(_steps(definition, inputs))
    found: list[LockedArtifact] = []
    faults: list[DefinitionError] = []
    with progress.meter("resolve", len(steps), "artefacts") as meter:
        for label, step in steps:
            try:
                made = step()
                found.extend(made if isinstance(made, list) else [made])
            except DefinitionError as fault:
                faults.append(fault)
            meter.advance(1, label)
    found = _once(found)
    faults.extend(_taken_twice(found))
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise DefinitionError(
            "definition-unresolved",
            f"{len(faults)} findings while resolving the definition",
            where=str(definition_path),
            findings=faults,
            hint="mend what is named here, then lock again: dryport bundle lock",
        )
    return Lock(
        product=definition.product,
        version=definition.version,
        platforms=definition.platforms,
        definition=str(Digest.of(definition_path.read_bytes())),
        artifacts=sorted(found, key=lambda artifact: artifact.ref),
    )


def _steps(definition: Definition, inputs: Inputs) -> Iterator[Step]:
    version = definition.version
    carried = frozenset(str(Reference.parse(entry.image)) for entry in definition.images)
    for kit in definition.kit:
        yield f"kit {kit.platform}", partial(files.resolve_kit, kit, inputs)
    if definition.playbooks:
        yield (
            "playbooks",
            partial(folders.resolve_playbooks, definition.playbooks, definition.product, version, inputs),
        )
    for image in definition.images:
        yield image.image, partial(images.resolve, image, definition.platforms, inputs)
    for pack in definition.packs:
        yield "pack", partial(folders.resolve_pack, pack, carried, inputs)
    for disk in definition.vmimages:
        yield f"image {disk.name}", partial(vmimages.resolve, disk, version, inputs)
    for one in definition.files:
        yield f"file {one.name}", partial(files.resolve_file, one, version, inputs)
    for apt in definition.apt:
        yield f"apt {apt.name}", partial(closure.resolve, apt, version, inputs)


def _once(artifacts: list[LockedArtifact]) -> list[LockedArtifact]:
    """Leave out what several images bring along, to the byte: a signature of two tags of one digest, say."""
    seen: dict[str, LockedArtifact] = {}
    return [one for one in artifacts if one.kind != "content" or seen.setdefault(one.ref, one) is one]


def _taken_twice(artifacts: list[LockedArtifact]) -> Iterator[DefinitionError]:
    refs = [artifact.ref for artifact in artifacts]
    for ref in sorted({ref for ref in refs if refs.count(ref) > 1}):
        yield DefinitionError(
            "name-taken", f"two entries would both be {ref}", where=ref, hint="name each entry of the definition once"
        )
