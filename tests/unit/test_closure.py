"""Whether a bundle is complete: packs are rendered with the real Helm, and what they start has to be carried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bundles.lock import Lock
from bundles.sources import resolve
from bundles.sources.inputs import Inputs
from installer.cli.bundle import bundle
from registry.errors import DefinitionError
from registry.packs.helm import Helm
from registry.progress import Silent
from tests.chart_samples import chart_archive
from tests.mirror_samples import image, index
from tests.source_registry import HOST, Origin, registry_of_images

WEB, SIDE, TOOL = f"{HOST}/team/web:1.0", f"{HOST}/team/side:2.1", f"{HOST}/team/tool:3"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
    - {name: web, image: "{{ .Values.image }}"}
    - {name: side, image: SIDE}
"""


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    with registry_of_images(tmp_path_factory.mktemp("origin")) as found:
        for name, tag in (("web", "1.0"), ("side", "2.1"), ("tool", "3"), ("side", "latest")):
            image(found.store, f"{HOST}/team/{name}", name + tag, [f"{name} {tag}".encode()], [tag])
        yield found


def write_pack(folder: Path, *, declared: list[str], pod: str = POD, values: str = f"image: {WEB}") -> None:
    """A pack with one chart, whose pod starts an image of its values and one that stands in the template."""
    (folder / "charts").mkdir(parents=True)
    files = {
        "web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        "web/values.yaml": "image: nowhere.example/unset:0\n",
        "web/templates/pod.yaml": pod.replace("SIDE", SIDE),
    }
    (folder / "charts/web-1.0.0.tgz").write_bytes(chart_archive(files))
    metadata = {"name": "web", "displayName": "Web", "version": "1.0.0", "layer": "addon"}
    (folder / "pack.json").write_text(json.dumps({**metadata, "charts": ["charts/web-1.0.0.tgz"]}))
    images = "".join(f"\n      - image: {one}" for one in declared)
    listed = f"\n  content:\n    images:{images}" if declared else " {}"
    (folder / "values.yaml").write_text(f"pack:{listed}\ncharts:\n  web:\n    {values}\n")


def definition(folder: Path, *images: str, pack: str = "") -> Path:
    head = "apiVersion: dryport/v1\nkind: Bundle\nproduct: test\nversion: 1.0.0\nplatforms: [linux/amd64]\n"
    listed = "images: [" + ", ".join(f"{{image: '{one}'}}" for one in images) + "]\n"
    path = folder / "bundle.yaml"
    path.write_text(f"{head}{listed}packs:\n  - folder: {{path: pack}}\n{pack}")
    return path


@pytest.fixture
def inputs(tmp_path: Path, origin: Origin, helm: Helm) -> Inputs:
    return Inputs(tmp_path, {}, tmp_path, origin.registries(), helm=helm, is_static=False)


def locked(path: Path, inputs: Inputs) -> Lock:
    return resolve.lock(path, inputs, Silent())


def refusal(path: Path, inputs: Inputs) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        locked(path, inputs)
    assert caught.value.reference == "closure-incomplete"
    return caught.value


def test_what_charts_start_and_the_bundle_carries_is_a_closure(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(tmp_path / "pack", declared=[WEB])
    found = resolve.resolve(definition(tmp_path, WEB, SIDE), inputs, Silent())
    pack = next(one for one in found.lock.artifacts if one.kind == "pack")
    assert pack.proof == "rendered"
    assert found.notes == ["pack web-1.0.0 starts " + SIDE + " and does not declare it"]


def test_an_image_that_only_a_template_names_is_missed_and_named_with_its_place(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(tmp_path / "pack", declared=[WEB])
    (finding,) = refusal(definition(tmp_path, WEB), inputs).findings
    assert SIDE in finding.message
    assert "charts/web-1.0.0.tgz" in finding.where
    assert "Pod/web: spec.containers.1.image" in finding.where
    assert "leave_out" in finding.hint


def test_a_declared_image_has_to_be_carried_though_nothing_starts_it(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(tmp_path / "pack", declared=[WEB, SIDE, TOOL])
    (finding,) = refusal(definition(tmp_path, WEB, SIDE), inputs).findings
    assert TOOL in finding.message
    assert "values.yaml line" in finding.where


def test_an_almost_right_reference_is_shown_the_right_one(tmp_path: Path, inputs: Inputs, origin: Origin) -> None:
    image(origin.store, f"{HOST}/team/web", "other", [b"other"], ["1.0.1"])
    write_pack(tmp_path / "pack", declared=[WEB])
    (finding,) = refusal(definition(tmp_path, f"{WEB}.1", SIDE), inputs).findings
    assert f"{WEB}.1 is" in finding.seen


def test_an_image_by_its_digest_is_the_carried_one(tmp_path: Path, inputs: Inputs, origin: Origin) -> None:
    named = origin.store.resolve(f"{HOST}/team/web", "1.0")
    assert named
    write_pack(tmp_path / "pack", declared=[], values=f"image: {HOST}/team/web@{named.digest}")
    locked(definition(tmp_path, WEB, SIDE), inputs)


def test_an_image_pinned_to_another_digest_is_not_the_one_that_is_carried(
    tmp_path: Path, inputs: Inputs, origin: Origin
) -> None:
    named = origin.store.resolve(f"{HOST}/team/web", "1.0")
    assert named
    write_pack(tmp_path / "pack", declared=[], values=f"image: {WEB}@{named.digest}")
    locked(definition(tmp_path, WEB, SIDE), inputs)
    write_pack(tmp_path / "other/pack", declared=[], values=f"image: {WEB}@sha256:{'0' * 64}")
    path = definition(tmp_path / "other", WEB, SIDE)
    (finding,) = refusal(path, replace(inputs, folder=tmp_path / "other")).findings
    assert (finding.reference, WEB in finding.message) == ("image-not-carried", True)


def test_a_pinned_child_of_an_index_is_carried_for_the_platforms_of_the_bundle_alone(
    tmp_path: Path, inputs: Inputs, origin: Origin
) -> None:
    multi = f"{HOST}/team/multi:1.0"
    whole = index(origin.store, f"{HOST}/team/multi", 2, [b"multi"], "1.0")
    data, _ = origin.store.manifest(f"{HOST}/team/multi", whole) or (b"", "")
    amd64, arm64 = (one["digest"] for one in json.loads(data)["manifests"])
    write_pack(tmp_path / "pack", declared=[], values=f"image: {multi}@{amd64}")
    locked(definition(tmp_path, multi, SIDE), inputs)
    write_pack(tmp_path / "other/pack", declared=[], values=f"image: {multi}@{arm64}")
    path = definition(tmp_path / "other", multi, SIDE)
    refusal(path, replace(inputs, folder=tmp_path / "other"))


def test_a_pack_whose_images_are_to_be_carried_needs_no_entries(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(tmp_path / "pack", declared=[WEB])
    lock = locked(definition(tmp_path, pack="    carry: true\n"), inputs)
    assert [one.ref for one in lock.artifacts if one.kind == "image"] == [SIDE, WEB]


def test_what_is_left_out_is_left_out_with_its_reason(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(tmp_path / "pack", declared=[WEB])
    left = f"    leave_out: [{{what: '{SIDE}', reason: it is off on sites}}]\n"
    found = resolve.resolve(definition(tmp_path, WEB, pack=left), inputs, Silent())
    pack = next(one for one in found.lock.artifacts if one.kind == "pack")
    assert pack.left_out == {SIDE: "it is off on sites"}
    assert any("is left out: it is off on sites" in note for note in found.notes)


def test_leaving_out_what_nobody_names_is_a_mistake(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(tmp_path / "pack", declared=[WEB])
    left = f"    leave_out: [{{what: '{SIDE}x', reason: it is off on sites}}]\n"
    found = refusal(definition(tmp_path, WEB, SIDE, pack=left), inputs)
    assert [one.reference for one in found.findings] == ["leave-out-unknown"]


def test_a_chart_that_cannot_be_rendered_proves_nothing(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(tmp_path / "pack", declared=[WEB], pod=POD + '{{ fail "set the domain first" }}')
    error = refusal(definition(tmp_path, WEB, SIDE), inputs)
    assert [one.reference for one in error.findings] == ["chart-unrendered"]
    assert "set the domain first" in error.findings[0].seen
    left = "    leave_out: [{what: charts/web-1.0.0.tgz, reason: it is installed by hand}]\n"
    locked(definition(tmp_path, WEB, pack=left), inputs)


def test_an_image_of_no_certain_version_is_told(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(tmp_path / "pack", declared=[WEB], pod=POD.replace("SIDE", SIDE.replace("2.1", "latest")))
    found = resolve.resolve(definition(tmp_path, WEB, SIDE.replace("2.1", "latest")), inputs, Silent())
    assert any("today's latest" in note for note in found.notes)


def test_without_helm_a_look_has_to_be_asked_for_and_shows_in_the_lock(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(tmp_path / "pack", declared=[WEB])
    path = definition(tmp_path, WEB)
    with pytest.raises(DefinitionError) as caught:
        locked(path, replace(inputs, helm=None))
    assert caught.value.reference == "helm-missing"
    lock = locked(path, replace(inputs, helm=None, is_static=True))
    assert next(one for one in lock.artifacts if one.kind == "pack").proof == "static"


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, inputs: Inputs) -> None:
    write_pack(
        tmp_path / "pack", declared=[TOOL], pod=POD + "---\nkind: Pod\nspec: {containers: [{image: 'no image'}]}\n"
    )
    found = {one.reference for one in refusal(definition(tmp_path), inputs).findings}
    assert found == {"image-not-carried", "image-mistyped"}


def test_who_wants_an_image_is_explained(tmp_path: Path, helm: Helm) -> None:
    assert helm
    write_pack(tmp_path / "pack", declared=[WEB])
    done = CliRunner().invoke(bundle, ["lock", str(definition(tmp_path, WEB)), "--explain", f"{HOST}/team/side:2.1"])
    assert done.exit_code == 0, done.output
    assert "pack web-1.0.0" in done.output
    assert "carried by" not in done.output
    assert "charts/web-1.0.0.tgz: Pod/web: spec.containers.1.image" in done.output
    assert not (tmp_path / "bundle.lock.json").exists()
