"""A definition resolved into a lock: every artefact by digest and size. Reads, never builds; writes only to scratch.

The same definition against unchanged sources gives the same bytes. All entries are resolved, and all that is wrong
with them is told at once.

>>> lock(Path("bundle.yaml"), Inputs(Path("."), {"kit": kit}, scratch), Silent()).encode()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bundles.approval import licence, matching
from bundles.closure import Carried, Closure
from bundles.definition import Definition, ImageEntry
from bundles.lock import Lock, LockedArtifact
from bundles.sources import charts, files, folders, images, vmimages, wheels
from bundles.sources.apt import closure as apt_closure
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.packs.references import Image
from registry.progress import Progress

Step = tuple[str, Callable[[], LockedArtifact | list[LockedArtifact]]]


@dataclass(frozen=True)
class Resolution:
    """A lock, what is odd about it, and what its packs want."""

    lock: Lock
    notes: Sequence[str]
    closure: Closure


def lock(definition_path: Path, inputs: Inputs, progress: Progress) -> Lock:
    """Return the lock of a definition. Raises DefinitionError with every finding; RemoteError, SiteError at once."""
    return resolve(definition_path, inputs, progress).lock


def wanting(definition_path: Path, inputs: Inputs) -> Closure:
    """Return what the packs of a definition want; nothing else of it is looked at. Raises DefinitionError."""
    definition = Definition.read(definition_path)
    closure = Closure.of(definition.packs, inputs)
    for chart in definition.charts:
        closure.add_chart(chart, *charts.resolve(chart, inputs), inputs)
    return closure


def resolve(definition_path: Path, inputs: Inputs, progress: Progress) -> Resolution:
    """Return the lock of a definition, proven to be complete.

    Raises DefinitionError with every finding; RemoteError, SiteError at once.
    """
    definition = Definition.read(definition_path)
    faults: list[DefinitionError] = []
    try:
        closure = Closure.of(definition.packs, inputs)
    except DefinitionError as fault:  # a pack that cannot be read is told of again by its own step, or is told of here
        faults, closure = [fault], Closure()
    found: list[LockedArtifact] = []
    for chart in definition.charts:
        try:
            artifact, archive = charts.resolve(chart, inputs)
            closure.add_chart(chart, artifact, archive, inputs)
            found.extend([artifact, *charts.referring(chart, artifact, inputs)])
        except DefinitionError as fault:
            faults.append(fault)
    more = closure.to_carry([Image.parse(entry.image) for entry in definition.images])
    steps = list(_steps(definition, [*definition.images, *(ImageEntry(image=one) for one in more)], inputs))
    with progress.meter("resolve", len(steps), "artefacts") as meter:
        for label, step in steps:
            try:
                made = step()
                found.extend(made if isinstance(made, list) else [made])
            except DefinitionError as fault:
                faults.extend([] if str(fault) in map(str, faults) else [fault])
            meter.advance(1, label)
    found = _once(found)
    faults.extend(_taken_twice(found))
    images = [one for one in found if one.kind == "image"]
    # Whoever pins one platform's manifest of an index has it, too.
    carried = [Carried(Image.parse(one.ref), blob.digest) for one in images for blob in (one.root, *one.manifests)]
    if not faults:
        faults.extend(_open(closure, carried, definition_path))
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
    found = [one.model_copy(update={"licence": licence(one)}) for one in found]
    locked = Lock(
        advisories=matching(inputs.advisories, found) or None,
        product=definition.product,
        version=definition.version,
        platforms=definition.platforms,
        definition=str(Digest.of(definition_path.read_bytes())),
        artifacts=sorted(map(closure.marked, found), key=lambda artifact: artifact.ref),
    )
    return Resolution(locked, closure.notes(carried), closure)


def _open(closure: Closure, carried: Sequence[Carried], definition_path: Path) -> Iterator[DefinitionError]:
    """Yield one error with all that the bundle would lack."""
    if missing := closure.errors(carried):
        yield DefinitionError(
            "closure-incomplete",
            f"{len(missing)} thing(s) that packs start would not be in the bundle: "
            + ", ".join(one.seen.partition(";")[0] or one.message for one in missing[:5]),
            where=str(definition_path),
            expected="every image of a pack carried, or left out with a reason",
            findings=missing,
            hint="mend what is named here; who wants an image is told by: dryport bundle lock --explain IMAGE",
        )


def _steps(definition: Definition, image_entries: Sequence[ImageEntry], inputs: Inputs) -> Iterator[Step]:
    version = definition.version
    for kit in definition.kit:
        yield f"kit {kit.platform}", partial(files.resolve_kit, kit, inputs)
    if definition.playbooks:
        yield (
            "playbooks",
            partial(folders.resolve_playbooks, definition.playbooks, definition.product, version, inputs),
        )
    for image in image_entries:
        yield image.image, partial(images.resolve, image, definition.platforms, inputs)
    for pack in definition.packs:
        yield "pack", partial(folders.resolve_pack, pack, inputs)
    for python in definition.wheels:
        yield f"wheels {python.name}", partial(wheels.resolve, python, version, inputs)
    for disk in definition.vmimages:
        yield f"image {disk.name}", partial(vmimages.resolve, disk, version, inputs)
    for one in definition.files:
        yield f"file {one.name}", partial(files.resolve_file, one, version, inputs)
    for apt in definition.apt:
        yield f"apt {apt.name}", partial(apt_closure.resolve, apt, version, inputs)


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
