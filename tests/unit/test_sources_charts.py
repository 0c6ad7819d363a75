"""Helm charts from registries, repositories and folders: as Helm keeps them, rendered, and whole."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bundles.archive.writer import build
from bundles.definition import ChartEntry, Location
from bundles.lock import Lock
from bundles.sources import charts, resolve
from bundles.sources.charts import CONFIG, LAYER
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError, RemoteError
from registry.packs.helm import Helm
from registry.progress import Silent
from tests.chart_samples import chart, chart_archive
from tests.mirror_samples import image, refer
from tests.source_registry import HOST, Origin, registry_of_images

WEB, EXTRA = f"{HOST}/team/web:1.0", f"{HOST}/team/extra:1.0"
FILES = {
    "web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.0+b1\nappVersion: '1.0'\n",
    "web/values.yaml": f"image: {WEB}\nextra: false\n",
    "web/templates/pod.yaml": "kind: Pod\napiVersion: v1\nmetadata: {name: web}\nspec:\n  containers:\n"
    "    - {name: web, image: '{{ .Values.image }}'}\n"
    f"    {{{{- if .Values.extra }}}}\n    - {{name: extra, image: '{EXTRA}'}}\n    {{{{- end }}}}\n",
}


CHART = chart_archive(FILES)


def write_folder(folder: Path, **more: str) -> None:
    for name, text in {**FILES, **more}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    with registry_of_images(tmp_path_factory.mktemp("origin")) as found:
        for name in ("web", "extra"):
            image(found.store, f"{HOST}/team/{name}", name, [name.encode()], ["1.0"])
        chart(found.store, f"{HOST}/charts/web", CHART, "1.2.0_b1")
        yield found


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[str]:
    """A chart repository over HTTP; its index can be written anew."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "web.tgz").write_bytes(CHART)
    write_index(folder, hashlib.sha256(CHART).hexdigest())
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def write_index(folder: Path, digest: str, *, version: str = "1.2.0+b1", url: str = "web.tgz") -> None:
    entry = f"{{version: {version}, apiVersion: v2, digest: '{digest}', urls: ['{url}']}}"
    (folder / "index.yaml").write_text(f"apiVersion: v1\nentries:\n  web:\n    - {entry}\n")


@pytest.fixture
def inputs(tmp_path: Path, origin: Origin, helm: Helm) -> Inputs:
    return Inputs(tmp_path, {}, tmp_path, origin.registries(), helm=helm, is_static=False)


def definition(folder: Path, charts: str, *images: str) -> Path:
    head = "apiVersion: dryport/v1\nkind: Bundle\nproduct: test\nversion: 1.0.0\nplatforms: [linux/amd64]\n"
    listed = "images: [" + ", ".join(f"{{image: '{one}'}}" for one in images) + "]\n"
    path = folder / "bundle.yaml"
    path.write_text(f"{head}{listed}charts:\n  - {charts}\n")
    return path


def locked(path: Path, inputs: Inputs) -> Lock:
    lock = resolve.lock(path, inputs, Silent())
    build(lock, path.with_name("bundle.tar"), Fetcher(inputs), Silent())
    return lock


FROM_REGISTRY = f"{{chart: 'oci://{HOST}/charts/web', version: 1.2.0+b1}}"


def test_a_chart_of_a_registry_keeps_its_manifest_and_name(tmp_path: Path, inputs: Inputs, origin: Origin) -> None:
    lock = locked(definition(tmp_path, FROM_REGISTRY, WEB), inputs)
    chart = next(one for one in lock.artifacts if one.kind == "chart")
    named = origin.store.resolve(f"{HOST}/charts/web", "1.2.0_b1")
    assert named
    assert (chart.ref, chart.root.digest, chart.proof) == (f"{HOST}/charts/web:1.2.0_b1", named.digest, "rendered")


def test_a_chart_of_a_repository_is_the_one_that_its_index_pins(
    tmp_path: Path, inputs: Inputs, repository: str
) -> None:
    entry = f"{{chart: web, repository: '{repository}', version: 1.2.0+b1}}"
    lock = locked(definition(tmp_path, entry, WEB), inputs)
    chart = next(one for one in lock.artifacts if one.kind == "chart")
    assert chart.ref == "dryport/charts/web:1.2.0_b1"
    assert [blob.media_type for blob in chart.blobs] == [CONFIG, LAYER]
    assert chart.blobs[1].digest.matches(CHART)


def test_a_chart_of_a_folder_is_the_same_archive_everywhere(tmp_path: Path, inputs: Inputs, helm: Helm) -> None:
    write_folder(tmp_path / "one")
    write_folder(tmp_path / "two")
    digests = {
        charts.resolve(ChartEntry(folder=Location(path=f"{name}/web")), inputs)[0].root.digest
        for name in ("one", "two")
    }
    assert len(digests) == 1
    assert helm.version
    locked(definition(tmp_path, "{folder: {path: one/web}}", WEB), inputs)


def test_what_refers_to_a_chart_in_its_registry_comes_along(tmp_path: Path, inputs: Inputs, origin: Origin) -> None:
    place = f"{HOST}/charts/web"
    named = origin.store.resolve(place, "1.2.0_b1")
    assert named
    signature = refer(origin.store, place, named.digest, "signature of a chart")
    image(origin.store, place, "cosign", [b"cosign"], [f"sha256-{named.digest.hex}.sig"])
    found = {one.ref: one.kind for one in locked(definition(tmp_path, FROM_REGISTRY, WEB), inputs).artifacts}
    assert found[f"{place}:1.2.0_b1"] == "chart"
    assert found[f"{place}@{signature}"] == "content"
    assert found[f"{place}:sha256-{named.digest.hex}.sig"] == "content"


def test_a_chart_under_the_name_of_another_is_refused(tmp_path: Path, inputs: Inputs, repository: str) -> None:
    write_index(tmp_path / "repository", hashlib.sha256(CHART).hexdigest(), version="1.3.0")
    entry = f"{{chart: web, repository: '{repository}', version: 1.3.0}}"
    with pytest.raises(DefinitionError) as caught:
        resolve.lock(definition(tmp_path, entry, WEB), inputs, Silent())
    assert (caught.value.reference, caught.value.seen) == ("chart-invalid", "web 1.2.0+b1")


def test_a_tag_that_holds_another_version_of_a_chart_is_refused(inputs: Inputs, origin: Origin) -> None:
    chart(origin.store, f"{HOST}/charts/web", CHART, "2.0.0")
    with pytest.raises(DefinitionError) as caught:
        charts.resolve(ChartEntry(chart=f"oci://{HOST}/charts/web", version="2.0.0"), inputs)
    assert (caught.value.reference, caught.value.seen) == ("chart-invalid", "web 1.2.0+b1")


def test_what_is_no_archive_is_refused_though_the_index_pins_it(
    tmp_path: Path, inputs: Inputs, repository: str
) -> None:
    (tmp_path / "repository/web.tgz").write_bytes(b"no archive")
    write_index(tmp_path / "repository", hashlib.sha256(b"no archive").hexdigest())
    entry = f"{{chart: web, repository: '{repository}', version: 1.2.0+b1}}"
    with pytest.raises(DefinitionError) as caught:
        resolve.lock(definition(tmp_path, entry, WEB), inputs, Silent())
    assert caught.value.reference == "chart-invalid"


@pytest.mark.parametrize(
    "url", ["oci://x.example.org/web:1", "file:///etc/passwd", "https://me:secret@x.example.org/web.tgz", "https://[x"]
)
def test_an_address_that_no_lock_may_hold_is_refused(tmp_path: Path, inputs: Inputs, repository: str, url: str) -> None:
    write_index(tmp_path / "repository", hashlib.sha256(CHART).hexdigest(), url=url)
    entry = f"{{chart: web, repository: '{repository}', version: 1.2.0+b1}}"
    with pytest.raises(DefinitionError) as caught:
        resolve.lock(definition(tmp_path, entry, WEB), inputs, Silent())
    assert caught.value.reference == "chart-address-unusable"
    assert "secret" not in str(caught.value)


def test_a_chart_whose_name_no_registry_can_hold_is_refused(tmp_path: Path, inputs: Inputs) -> None:
    write_folder(tmp_path, **{"web/Chart.yaml": "apiVersion: v2\nname: ../Web\nversion: 1.0.0\n"})
    with pytest.raises(DefinitionError) as caught:
        charts.resolve(ChartEntry(folder=Location(path="web")), inputs)
    assert caught.value.reference == "chart-invalid"


def test_images_of_a_chart_have_to_be_carried_too(tmp_path: Path, inputs: Inputs) -> None:
    with pytest.raises(DefinitionError) as caught:
        resolve.lock(definition(tmp_path, FROM_REGISTRY), inputs, Silent())
    assert caught.value.reference == "closure-incomplete"
    assert WEB in caught.value.findings[0].message
    assert "Pod/web" in caught.value.findings[0].where


def test_values_decide_which_images_a_chart_starts(tmp_path: Path, inputs: Inputs) -> None:
    (tmp_path / "values.yaml").write_text("extra: true\n")
    entry = FROM_REGISTRY.replace("}", ", values: {path: values.yaml}, carry: true}")
    lock = locked(definition(tmp_path, entry), inputs)
    assert [one.ref for one in lock.artifacts if one.kind == "image"] == [EXTRA, WEB]


@pytest.mark.parametrize(
    ("entry", "reference"),
    [
        (f"{{chart: 'oci://{HOST}/charts/web', version: 9.9.9}}", "chart-missing"),
        (f"{{chart: 'oci://{HOST}/team/web', version: '1.0'}}", "chart-missing"),
        ("{chart: 'oci://Nonsense//', version: '1.0'}", "chart-malformed"),
        ("{folder: {path: absent}}", "source-missing"),
    ],
)
def test_what_is_no_chart_is_named(tmp_path: Path, inputs: Inputs, entry: str, reference: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        resolve.lock(definition(tmp_path, entry), inputs, Silent())
    assert caught.value.reference == reference


def test_another_archive_than_the_index_pins_is_refused(tmp_path: Path, inputs: Inputs, repository: str) -> None:
    write_index(tmp_path / "repository", "0" * 64)
    entry = f"{{chart: web, repository: '{repository}', version: 1.2.0+b1}}"
    with pytest.raises(DefinitionError) as caught:
        resolve.lock(definition(tmp_path, entry, WEB), inputs, Silent())
    assert caught.value.reference == "checksum-mismatch"


@pytest.mark.parametrize("text", ["entries: 5", "entries: {web: [5]}", "[", "a: &a [*a]", "entries: {web: {}}"])
def test_an_index_that_makes_no_sense_is_the_repositorys_fault(
    tmp_path: Path, inputs: Inputs, repository: str, text: str
) -> None:
    (tmp_path / "repository/index.yaml").write_text(text)
    entry = f"{{chart: web, repository: '{repository}', version: 1.2.0+b1}}"
    with pytest.raises((RemoteError, DefinitionError)):
        resolve.lock(definition(tmp_path, entry, WEB), inputs, Silent())


def test_a_dependency_that_is_not_in_the_folder_is_named(tmp_path: Path, inputs: Inputs) -> None:
    needs = (
        FILES["web/Chart.yaml"] + "dependencies: [{name: base, version: 1.0.0, repository: https://x.example.org}]\n"
    )
    write_folder(tmp_path, **{"web/Chart.yaml": needs})
    with pytest.raises(DefinitionError) as caught:
        charts.resolve(ChartEntry(folder=Location(path="web")), inputs)
    assert caught.value.reference == "chart-dependency-missing"
    assert "base" in caught.value.message
    (tmp_path / "web/charts").mkdir()
    (tmp_path / "web/charts/base-1.0.0.tgz").write_bytes(b"x")
    charts.resolve(ChartEntry(folder=Location(path="web")), inputs)


@pytest.mark.parametrize(
    "entry",
    [
        {"chart": "web", "version": "1"},
        {"chart": "oci://x.example.org/web"},
        {"chart": "oci://x.example.org/web", "version": "1", "repository": "https://x.example.org"},
        {"chart": "web", "folder": {"path": "x"}},
        {},
    ],
)
def test_an_entry_that_says_too_little_or_too_much_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"give|version"):
        ChartEntry.model_validate(entry)


def test_without_helm_a_charts_files_are_looked_through(tmp_path: Path, inputs: Inputs) -> None:
    static = replace(inputs, helm=None, is_static=True)
    found = resolve.resolve(definition(tmp_path, FROM_REGISTRY), static, Silent())
    assert any(WEB in note and "may start" in note for note in found.notes)
