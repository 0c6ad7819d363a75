"""What every kind of source promises: the same lock twice, bytes as locked, and plain words when something changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bundles.archive.writer import build
from bundles.lock import Lock, LockedBlob
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from bundles.sources.registries import Registries
from bundles.sources.resolve import lock
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.progress import Silent
from tests import mirror_samples
from tests.chart_samples import chart, chart_archive
from tests.conftest import need
from tests.lab.demo_images import File, Layout
from tests.package_server import PackageServer
from tests.source_registry import HOST, registry_of_images

HEAD = "apiVersion: dryport/v1\nkind: Bundle\nproduct: test\nversion: 1.0.0\nplatforms: [linux/amd64]\n"
IMAGE = "registry.example.org/test/app:1.0"
GZIP = b"\x1f\x8b"


@dataclass(slots=True)
class Case:
    """One source: its entry in a definition, a file that carries its bytes, and what messages must call it."""

    folder: Path
    entry: str
    carrier: Path
    named: str
    inputs: dict[str, Path] = field(default_factory=dict)
    registries: Registries | None = None
    withdraw: Callable[[], object] | None = None
    """How the source goes away before the lock, where removing the carrier is not that."""

    def reading(self, scratch: str = "scratch") -> Inputs:
        (self.folder / scratch).mkdir(exist_ok=True)
        return Inputs(self.folder, self.inputs, self.folder / scratch, self.registries)

    def lock(self, scratch: str = "scratch") -> Lock:
        (self.folder / "bundle.yaml").write_text(HEAD + self.entry)
        return lock(self.folder / "bundle.yaml", self.reading(scratch), Silent())

    def fetch_all(self, locked: Lock) -> None:
        build(locked, self.folder / "bundle.tar", Fetcher(self.reading()), Silent())


def image(folder: Path, _: ExitStack) -> Case:
    layout = Layout(folder / "layout")
    layout.add_image(IMAGE, [{"bin/app": File(b"app" * 1000, 0o755)}], {"Cmd": ["/bin/app"]})
    layout.close()
    carrier = next(path for path in (folder / "layout/blobs/sha256").iterdir() if path.read_bytes()[:2] == GZIP)
    return Case(folder, f"images: [{{image: '{IMAGE}', layout: {{path: layout}}}}]", carrier, carrier.name)


def pack(folder: Path, _: ExitStack) -> Case:
    top = folder / "some-pack"
    top.mkdir()
    (top / "pack.json").write_text('{"name": "some", "displayName": "Some", "version": "1.0.0", "layer": "addon"}')
    (top / "values.yaml").write_text("pack: {}\n")
    return Case(folder, "packs: [{folder: {path: some-pack}}]", top / "pack.json", "some-pack")


def playbooks(folder: Path, _: ExitStack) -> Case:
    (folder / "plays/roles").mkdir(parents=True)
    (folder / "plays/step.yml").write_text("- hosts: all\n")
    (folder / "plays/roles/a.yml").write_text("a\n")
    case = Case(folder, "playbooks: {folder: {path: plays}}", folder / "plays/step.yml", "plays")
    case.withdraw = lambda: (folder / "plays").rename(folder / "elsewhere")  # without one file it is another folder
    return case


def kit(folder: Path, _: ExitStack) -> Case:
    path = folder / "dryport-kit-1.2.3-linux-amd64.tar"
    path.write_bytes(b"kit" * 100_000)
    return Case(folder, "kit: [{file: {input: kit}}]", path, "input kit", {"kit": path})


def plain_file(folder: Path, _: ExitStack) -> Case:
    (folder / "notes.txt").write_text("notes\n")
    return Case(folder, "files: [{name: notes, file: {path: notes.txt}}]", folder / "notes.txt", "notes.txt")


def vmimage(folder: Path, _: ExitStack) -> Case:
    path = folder / "disk.img"
    path.write_bytes(bytes(510) + b"\x55\xaa" + b"disk" * 100_000 + bytes(512 - 400_000 % 512))
    return Case(folder, "vmimages: [{name: host, file: {path: disk.img}}]", path, "disk.img")


def apt(folder: Path, stack: ExitStack) -> Case:
    need("apt-get", "apt-config", "dpkg-deb", "gpgv")
    server = PackageServer.start(folder / "server")
    stack.callback(server.stop)
    server.add("library", "2.1")
    carrier = server.add("tool", "1.0", depends="library")
    server.publish()
    stack.enter_context(pytest.MonkeyPatch.context()).setenv("APT_CONFIG", str(server.machine()))

    def withdraw() -> None:
        server.stanzas["stable"] = [text for text in server.stanzas["stable"] if "Package: tool\n" not in text]
        server.publish()

    entry = "apt: [{name: host, suites: [stable], packages: [tool]}]"
    return Case(folder, entry, carrier, "tool", withdraw=withdraw)


def registry_image(folder: Path, stack: ExitStack) -> Case:
    origin = stack.enter_context(registry_of_images(folder / "origin"))
    layer = bytes(range(256)) * 300
    mirror_samples.image(origin.store, f"{HOST}/test/app", "app", [layer], ["1.0"])
    carrier = origin.store.files.path(Digest.of(layer))
    registries = origin.registries()
    stack.callback(registries.close)
    found = origin.store.resolve(f"{HOST}/test/app", "1.0")

    def withdraw() -> None:
        assert found
        origin.store.files.path(found.digest).unlink()

    entry = f"images: [{{image: '{HOST}/test/app:1.0'}}]"
    return Case(folder, entry, carrier, "test/app", registries=registries, withdraw=withdraw)


def folder_chart(folder: Path, _: ExitStack) -> Case:
    top = folder / "charts/own"
    top.mkdir(parents=True)
    (top / "Chart.yaml").write_text("apiVersion: v2\nname: own\nversion: 1.0.0\n")
    (top / "values.yaml").write_text("replicas: 1\n")
    case = Case(folder, "charts: [{folder: {path: charts/own}}]", top / "values.yaml", "charts/own")
    case.withdraw = lambda: top.rename(folder / "elsewhere")  # without one file it is another folder
    return case


def registry_chart(folder: Path, stack: ExitStack) -> Case:
    origin = stack.enter_context(registry_of_images(folder / "origin"))
    archive = chart_archive({"own/Chart.yaml": "apiVersion: v2\nname: own\nversion: 1.0.0\n"})
    digest = chart(origin.store, f"{HOST}/charts/own", archive, "1.0.0")
    registries = origin.registries()
    stack.callback(registries.close)
    case = Case(
        folder,
        f"charts: [{{chart: 'oci://{HOST}/charts/own', version: 1.0.0}}]",
        origin.store.files.path(Digest.of(archive)),
        "charts/own",
        registries=registries,
    )
    case.withdraw = origin.store.files.path(digest).unlink
    return case


KINDS = [
    image,
    registry_image,
    folder_chart,
    registry_chart,
    pack,
    playbooks,
    kit,
    plain_file,
    vmimage,
    pytest.param(apt, marks=pytest.mark.interop),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    made: Callable[[Path, ExitStack], Case] = request.param
    with ExitStack() as stack:
        yield made(tmp_path, stack)


def test_the_same_definition_locked_twice_gives_the_same_bytes(case: Case) -> None:
    assert case.lock("scratch").encode() == case.lock("another-scratch").encode()


def test_the_lock_names_no_folder_of_this_machine(case: Case) -> None:
    assert str(case.folder).encode() not in case.lock().encode()


def test_every_blob_has_the_digest_and_size_that_the_lock_says(case: Case) -> None:
    locked, fetch = case.lock(), Fetcher(case.reading())
    for blob in locked.blobs():
        with fetch(blob) as blocks:
            data = b"".join(blocks)
        assert (len(data), blob.digest.matches(data)) == (blob.size, True), blob


def test_every_blob_can_be_taken_from_any_byte_on(case: Case) -> None:
    fetch = Fetcher(case.reading())
    for blob in case.lock().blobs():
        with fetch(blob) as blocks:
            data = b"".join(blocks)
        for start in (1, blob.size // 2, blob.size):
            with fetch(blob, start) as blocks:
                assert b"".join(blocks) == data[start:], blob


def test_every_blob_is_reachable_from_the_artefacts_root(case: Case) -> None:
    (artifact,) = case.lock().artifacts
    fetch = Fetcher(case.reading())
    text = ""
    for manifest in (artifact.root, *artifact.manifests):
        with fetch(manifest) as blocks:
            text += b"".join(blocks).decode()
    assert [str(blob.digest) for blob in (*artifact.manifests, *artifact.blobs) if str(blob.digest) not in text] == []


def test_a_source_that_changed_after_the_lock_is_refused_and_named(case: Case) -> None:
    locked = case.lock()
    data = bytearray(case.carrier.read_bytes())
    data[len(data) // 2] ^= 1
    case.carrier.write_bytes(data)
    with pytest.raises(DefinitionError) as caught:
        case.fetch_all(locked)
    assert caught.value.reference == "source-changed"
    assert case.named in caught.value.where


def test_a_source_that_grew_is_refused_before_more_bytes_than_locked_come_out(case: Case) -> None:
    locked, fetch = case.lock(), Fetcher(case.reading())
    with case.carrier.open("ab") as stream:
        stream.write(b"\0" * (3 << 20))

    def read(blob: LockedBlob) -> None:
        out = 0
        with fetch(blob) as blocks:
            for block in blocks:
                out += len(block)
                assert out <= blob.size

    with pytest.raises(DefinitionError) as caught:
        list(map(read, locked.blobs()))
    assert caught.value.reference in {"source-changed", "source-missing"}  # a registry may itself refuse to give it


def test_a_source_that_vanished_after_the_lock_is_named(case: Case) -> None:
    locked = case.lock()
    case.carrier.unlink()
    with pytest.raises(DefinitionError) as caught:
        case.fetch_all(locked)
    assert caught.value.reference in {"source-missing", "source-changed"}
    assert case.named in f"{caught.value.where} {caught.value.message}"
    assert caught.value.hint


def test_a_source_that_is_not_there_cannot_be_locked(case: Case) -> None:
    (case.withdraw or case.carrier.unlink)()
    with pytest.raises(DefinitionError) as caught:
        case.lock()
    assert case.named in f"{caught.value.message} {caught.value.where}"
    assert caught.value.hint
