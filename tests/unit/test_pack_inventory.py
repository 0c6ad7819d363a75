"""What is said of a pack's images where a part of it cannot be rendered, and where two findings would say the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.packs.helm import Helm
from registry.packs.lint.report import lint
from registry.packs.reading import read_files
from registry.packs.rendering import Offered
from tests.pack_samples import DEPLOYMENT, IMAGE, VALUES, chart, make_pack

BROKEN = 'x: {{ required "a secret" .Values.secret }}\n---\n' + DEPLOYMENT
SECOND = "registry.example.org/team/second:2.0"


def declaring(*images: str, **charts: object) -> dict[str, Any]:
    """Return values that declare images, and say something to charts."""
    entries = [{"image": image} for image in images]
    return {**VALUES, "pack": {**VALUES["pack"], "content": {"images": entries}}, "charts": {"web": charts}}


def said(folder: Path, helm: Helm | None, offered: Offered | None = None) -> set[tuple[str, str]]:
    """Return the findings about single images and addresses: name, and the first word."""
    report = lint(read_files(folder), helm, offered or Offered())
    names = ("image-", "egress-", "render-")
    return {(one.reference, one.text.split()[0]) for one in report.findings if one.reference.startswith(names)}


def templates(tmp_path: Path, text: str, values: Mapping[str, Any] = VALUES, **files: bytes | str) -> Path:
    """Write a pack with one template in its chart."""
    data = chart(templates={"a.yaml": text})
    return make_pack(tmp_path / "web-1.0.0", values=values, files={"charts/web-1.0.0.tgz": data, **files})


def test_what_does_not_render_is_looked_through_without(tmp_path: Path, helm: Helm) -> None:
    folder = templates(tmp_path, f"{BROKEN}\n---\n  image: {SECOND}\n")
    assert said(folder, helm) == {("render-failed", "execution"), ("image-possible", SECOND)}


def test_a_manifest_that_does_not_render_is_looked_through_without(tmp_path: Path, helm: Helm) -> None:
    folder = make_pack(
        tmp_path / "web-1.0.0",
        metadata={"charts": [], "kubeManifests": ["manifests/a.yaml"]},
        values=declaring(IMAGE),
        files={"charts/web-1.0.0.tgz": None, "manifests/a.yaml": f"x: {{{{ .Other.a }}}}\nimage: {SECOND}\n"},
    )
    assert ("image-possible", SECOND) in said(folder, helm)


def test_a_preset_that_does_not_render_is_looked_through_alone(tmp_path: Path, helm: Helm) -> None:
    add = f"charts: {{web: {{image: '{SECOND}', broken: true}}}}"
    text = '{{ if .Values.broken }}{{ fail "no" }}{{ end }}\n' + DEPLOYMENT
    presets = f'presets: [{{name: a, group: G, add: "{add}"}}]'
    folder = templates(tmp_path, text, **{"presets.yaml": presets})
    report = lint(read_files(folder), helm)
    (entry,) = [one for one in report.inventory.images if one.image.spelled == SECOND] if report.inventory else []
    assert (entry.possible, entry.used, list(entry.presets)) == (True, False, ["G:a"])


def test_nothing_is_called_unused_where_a_part_never_rendered(tmp_path: Path, helm: Helm) -> None:
    assert said(templates(tmp_path, BROKEN, declaring(IMAGE, SECOND)), helm) == {("render-failed", "execution")}


def test_an_image_is_unused_only_if_no_kubernetes_that_is_asked_for_uses_it(tmp_path: Path, helm: Helm) -> None:
    text = DEPLOYMENT.replace(
        "{{ .Values.image | quote }}", '"registry.example.org/team/kubectl:{{ .Capabilities.KubeVersion.Version }}"'
    )
    images = [f"registry.example.org/team/kubectl:v1.{minor}.0" for minor in (32, 33)]
    folder = templates(tmp_path, text, declaring(*images))
    assert said(folder, helm, Offered(("1.33.0",))) == {("image-unused", images[0])}
    assert said(folder, helm, Offered(("1.32.0", "1.33.0"))) == set()


def test_an_image_that_is_used_under_another_host_is_not_called_unused_too(tmp_path: Path, helm: Helm) -> None:
    other = "registry.example.net/team/second:2.0"
    assert said(templates(tmp_path, DEPLOYMENT, declaring(SECOND, image=other)), helm) == {
        ("image-host-differs", other)
    }


def test_a_service_in_a_namespace_of_the_pack_is_no_egress(tmp_path: Path, helm: Helm) -> None:
    config = "kind: ConfigMap\nmetadata: {name: a}\ndata: {a: 'http://api.web, http://db.data, http://x.vendor'}\n"
    values = {**VALUES, "pack": {**VALUES["pack"], "additionalNamespaces": {"data": ""}}}
    assert said(templates(tmp_path, config + "---\n" + DEPLOYMENT, values), helm) == {("egress-possible", "x.vendor")}


def test_an_empty_schema_or_presets_is_no_file(tmp_path: Path, helm: Helm) -> None:
    folder = templates(tmp_path, DEPLOYMENT, **{"schema.yaml": "", "presets.yaml": ""})
    assert [one.reference for one in lint(read_files(folder), helm).findings] == []


def test_a_definition_of_resources_names_no_image(tmp_path: Path, helm: Helm) -> None:
    crd = f"kind: CustomResourceDefinition\nmetadata: {{name: a}}\nspec: {{description: 'as {SECOND}'}}\n---\n"
    assert said(templates(tmp_path, crd + DEPLOYMENT), helm) == set()
