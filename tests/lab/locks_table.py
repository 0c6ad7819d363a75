"""Every real pack as a bundle of its own: locked with all images that it starts, or why not.

    python -m tests.lab.locks_table

Images are synthetic: a registry that stands for all others serves one under each name that the packs use.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bundles.closure import Closure
from bundles.definition import Location, PackEntry
from bundles.lock import Lock
from bundles.sources import resolve
from bundles.sources.inputs import Inputs
from bundles.sources.registries import Registries
from registry.client.remote import RemoteRegistry
from registry.errors import DefinitionError
from registry.mirror.mapping import Mapping, Mirror
from registry.oci.reference import Reference
from registry.packs.helm import Helm
from registry.packs.references import LATEST
from registry.progress import Silent
from registry.store.store import Store
from tests import mirror_samples, pack_registry
from tests.corpus import real_packs
from tests.pack_samples import ready

DEFINITION = """\
apiVersion: dryport/v1
kind: Bundle
product: pack
version: 1.0.0
platforms: [linux/amd64]
packs:
  - {folder: {input: pack}, carry: true}
"""


@dataclass(frozen=True)
class Locked:
    """What became of one pack."""

    images: int
    """That it starts or declares."""
    lock: Lock | None
    findings: tuple[tuple[str, str], ...] = ()
    """Name and what was seen of each, sorted."""


@dataclass(frozen=True)
class Everywhere:
    """A registry in the place of all others, and Helm."""

    store: Store
    registries: Registries
    helm: Helm

    def lock(self, pack: Path, scratch: Path) -> Locked:
        """Serve what a pack names, and lock it."""
        inputs = Inputs(scratch, {"pack": pack}, scratch, self.registries, helm=self.helm, is_static=False)
        wanted = self._serve(inputs)
        (scratch / "bundle.yaml").write_text(DEFINITION)
        try:
            return Locked(wanted, resolve.lock(scratch / "bundle.yaml", inputs, Silent()))
        except DefinitionError as error:
            found = error.findings or [error]
            return Locked(wanted, None, tuple(sorted((one.reference, one.seen) for one in found)))  # type: ignore[attr-defined]

    def _serve(self, inputs: Inputs) -> int:
        closure = Closure.of([PackEntry(folder=Location(input="pack"), carry=True)], inputs)
        for spelled in closure.to_carry([]):
            reference = Reference.parse(spelled)
            place = self.registries.mapping.place(reference)
            tags = [reference.tag] if reference.tag else [LATEST]
            mirror_samples.image(self.store, place, spelled, [spelled.encode()], tags)
        return sum(1 for _ in closure.packs[0].wanted())


@contextmanager
def everywhere(folder: Path) -> Iterator[Everywhere]:
    """Run the registry."""
    with pack_registry.running(folder) as site, ready() as helm:
        mapping = Mapping((Mirror.parse(site.url.removeprefix("https://")),))

        def reach(_: str) -> RemoteRegistry:
            return RemoteRegistry(site.url, ca=site.ca, user="pull", password=pack_registry.PASSWORD)

        registries = Registries(reach, mapping)
        yield Everywhere(site.store, registries, helm)
        registries.close()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="locks-") as name:
        folder = Path(name)
        (folder / "registry").mkdir()
        with everywhere(folder / "registry") as every:
            for pack in real_packs():
                scratch = folder / pack.name
                scratch.mkdir()
                done = every.lock(pack, scratch)
                count = sum(one.kind == "image" for one in done.lock.artifacts) if done.lock else 0
                words = f"locked with {count} image(s)" if done.lock else f"{len(done.findings)} finding(s)"
                print(f"{pack.name:40} {done.images:4} wanted  {words}")
                for reference, seen in done.findings:
                    print(f"{'':40}   {reference}: {seen[:100]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
