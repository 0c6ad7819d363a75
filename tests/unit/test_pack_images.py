"""Images are found where they are started, and told apart from what is merely spoken of."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml

from registry.errors import SiteError
from registry.packs import helm as helm_module
from registry.packs import manifests
from registry.packs.helm import Helm, Job, RenderError, as_json
from registry.packs.images import inventory
from registry.packs.lint.report import lint
from registry.packs.reading import read_files
from registry.packs.rendering import Offered
from tests.corpus import needs_corpus, real_packs
from tests.pack_samples import DEPLOYMENT, DIGEST, IMAGE, chart, content, make_pack

REAL = "registry.example.org/a/b:1"


def found(text: str) -> dict[str, bool]:
    return {one.text: one.is_used for one in manifests.found(manifests.parse(text))}


@pytest.mark.parametrize(
    ("spec", "image", "used"),
    [
        ("kind: Pod\nspec: {containers: [{image: 'web:1'}]}", "web:1", True),
        ("kind: Pod\nspec: {initContainers: [{image: web}]}", "web", True),
        ("kind: Pod\nspec: {ephemeralContainers: [{image: 'web:1'}]}", "web:1", True),
        (
            "kind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: 'a/b:1'}]}}}}}",
            "a/b:1",
            True,
        ),
        ("kind: List\nitems: [{kind: Pod, spec: {containers: [{image: 'web:1'}]}}]", "web:1", True),
        ("kind: Database\nspec: {image: 'a/b:1'}", "a/b:1", True),
        ("kind: Database\nspec: {x: {repository: a/b, tag: 1}}", "a/b:1", True),
        (
            f"kind: Database\nspec: {{x: {{registry: r.io, repository: b, tag: v1, digest: '{DIGEST}'}}}}",
            f"r.io/b:v1@{DIGEST}",
            True,
        ),
        (
            f"kind: Pod\nspec: {{containers: [{{image: 'w:1', env: [{{name: RELATED_IMAGE_X, value: '{REAL}'}}]}}]}}",
            REAL,
            True,
        ),
        (
            f"kind: Pod\nspec: {{containers: [{{image: 'w:1', env: [{{name: KAFKA_IMAGES, value: '3.6={REAL}'}}]}}]}}",
            REAL,
            True,
        ),
        (f"kind: Pod\nspec: {{containers: [{{image: 'w:1', args: ['--reloader={REAL}']}}]}}", REAL, True),
        (f"kind: Pod\nspec: {{containers: [{{image: 'w:1', env: [{{name: OTHER, value: '{REAL}'}}]}}]}}", REAL, False),
        (f"kind: ConfigMap\ndata: {{a: 'use {REAL} here'}}", REAL, False),
        (f"kind: ConfigMap\ndata: {{image: '{REAL}'}}", REAL, False),
        (f"kind: ConfigMap\ndata: {{sideImage: '{REAL}'}}", REAL, False),
        ("kind: ConfigMap\ndata: {a: 'docker.io/library/postgres:16'}", "docker.io/library/postgres:16", False),
        (f"kind: Database\nspec: {{sideImage: '{REAL}'}}", REAL, True),
        ("kind: Database\nspec: {sideImage: 'registry.example.org/a/b:16'}", "registry.example.org/a/b:16", True),
        (f"kind: Database\nspec: {{sideImage: 'as {REAL} says'}}", REAL, False),
    ],
)
def test_an_image_is_used_or_only_possible(spec: str, image: str, used: bool) -> None:
    assert found(spec)[image] is used


@pytest.mark.parametrize(
    "spec",
    [
        f"kind: CustomResourceDefinition\nspec: {{image: '{REAL}'}}",
        "kind: Pod\nspec: {containers: [{image: ''}]}",
        "kind: Thing\nspec: {image: nothing}",
        "kind: Thing\nspec: {image: 'https://example.org/logo.png'}",
        f"kind: Thing\nmetadata: {{annotations: {{a: '{REAL}'}}}}",
        "kind: ConfigMap\ndata: {a: 'https://registry.example.org/a/b:1'}",
        "kind: Thing\nspec: {repository: 'https://charts.example.org', tag: 1}",
        "kind: Thing\nspec: {sideImage: 'web:1'}",
        "kind: Pod\nspec: {containers: [{env: [{name: IMAGE_CONFIG_MAP_NAME, value: 'images:config'}]}]}",
        "kind: Pod\nspec: {containers: [{args: ['--server=agent.example.org:443']}]}",
        f"kind: ConfigMap\ndata: {{a: '  # as in {REAL}'}}",
    ],
)
def test_what_is_no_image_is_none(spec: str) -> None:
    assert found(spec) == {}


def test_an_image_is_found_in_each_kubernetes_that_is_asked_for(tmp_path: Path, helm: Helm) -> None:
    text = DEPLOYMENT.replace("{{ .Values.image | quote }}", '"kubectl:{{ .Capabilities.KubeVersion.Version }}"')
    folder = make_pack(tmp_path / "p", files={"charts/web-1.0.0.tgz": chart(templates={"a.yaml": text})})
    stock = inventory(content(folder), helm, Offered(("1.32.1", "1.33.0")))
    assert {entry.image.tag for entry in stock.images if entry.used} == {"v1.32.1", "v1.33.0"}
    assert stock.kube_versions == ("1.32.1", "1.33.0")


def test_an_image_is_found_where_an_api_is_offered(tmp_path: Path, helm: Helm) -> None:
    text = '{{ if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}' + DEPLOYMENT + "{{ end }}"
    folder = make_pack(tmp_path / "p", files={"charts/web-1.0.0.tgz": chart(templates={"a.yaml": text})})
    for apis, used in (((), [False]), (("monitoring.coreos.com/v1",), [True])):
        assert [entry.used for entry in inventory(content(folder), helm, Offered((), apis)).images] == used


def test_tests_of_charts_are_left_out(tmp_path: Path, helm: Helm) -> None:
    head = 'apiVersion: v1\nkind: Pod\nmetadata: {name: t, annotations: {"helm.sh/hook": test}}\n'
    test = head + 'spec: {containers: [{image: "t:1"}]}\n'
    data = chart(templates={"web.yaml": DEPLOYMENT, "tests/t.yaml": test})
    folder = make_pack(tmp_path / "p", files={"charts/web-1.0.0.tgz": data})
    assert [entry.image.spelled for entry in inventory(content(folder), helm).images] == [IMAGE]
    assert [entry.image.spelled for entry in inventory(content(folder), None).images] == [IMAGE]


def test_without_helm_values_and_literal_templates_are_looked_through(tmp_path: Path) -> None:
    values = {
        "image": {"registry": "registry.example.org", "repository": "a", "tag": ""},
        "side": {"image": "b:2"},
        "x": [{"repository": "c", "tag": 3}],
    }
    data = chart(
        values=values, templates={"a.yaml": f"image: {REAL} # always\n  - image: {{{{ .x }}}}\n"}, appVersion="9.1"
    )
    folder = make_pack(tmp_path / "p", values={"pack": {}}, files={"charts/web-1.0.0.tgz": data})
    stock = inventory(content(folder), None)
    assert stock.method == "static"
    assert {entry.image.spelled for entry in stock.images} == {
        "registry.example.org/a:9.1", "docker.io/library/b:2", "docker.io/library/c:3", REAL
    }  # fmt: skip
    assert {entry.possible for entry in stock.images} == {True}


def test_a_manifest_is_a_template_of_its_own_values(tmp_path: Path, helm: Helm) -> None:
    values = {"manifests": {"web": {"image": REAL}}}
    files: dict[str, bytes | str | None] = {"manifests/web.yaml": DEPLOYMENT, "charts/web-1.0.0.tgz": None}
    folder = make_pack(
        tmp_path / "p", metadata={"charts": [], "kubeManifests": ["manifests/web.yaml"]}, values=values, files=files
    )
    assert [entry.image.spelled for entry in inventory(content(folder), helm).images] == [REAL]


# -- Helm, fenced in


def test_helm_sees_nothing_of_the_machine(helm: Helm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET_OF_THE_MACHINE", "x")
    monkeypatch.setenv("HELM_NAMESPACE", "elsewhere")
    monkeypatch.setenv("HELM_KUBEAPISERVER", "https://127.0.0.1:1")
    template = 'x: {{ .Release.Namespace }} {{ getHostByName "localhost" }}{{ (lookup "v1" "Namespace" "" "") }}'
    assert "x: web map[]" in helm.render(Job({"a": template}, {}, "web", "web"))
    with pytest.raises(RenderError, match="env"):
        helm.render(Job({"a": '{{ env "SECRET_OF_THE_MACHINE" }}'}, {}, "web", "web"))
    (tmp_path / "secret").write_text("x")
    template = f'x: {{{{ .Files.Get "{tmp_path}/secret" | quote }}}}'
    assert 'x: ""' in helm.render(Job({"a": template}, {}, "web", "web"))


def test_a_template_without_end_is_stopped(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helm_module, "SECONDS", 2)
    endless = (
        '{{ define "x" }}{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}{{ end }}{{ include "x" . }}'
    )
    began = time.monotonic()
    with pytest.raises(RenderError):
        helm.render(Job({"a": endless}, {}, "web", "web"))
    assert time.monotonic() - began < 10


def test_output_without_end_is_cut(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helm_module, "OUTPUT_BYTES", 1 << 20)
    with pytest.raises(RenderError):
        helm.render(Job({"a": 'x: {{ repeat 8000000 "y" }}'}, {}, "web", "web"))


def test_memory_has_a_bound(helm: Helm) -> None:
    with pytest.raises(RenderError):
        helm.render(Job({"a": 'x: {{ repeat 2000000000 "yyyyyyyy" | repeat 4 | len }}'}, {}, "web", "web"))


@pytest.mark.parametrize(
    ("release", "namespace"), [("--help", "web"), ("web", "--debug"), ("A", "web"), ("a" * 54, "web"), ("web", "")]
)
def test_names_cannot_be_options(release: str, namespace: str, helm: Helm) -> None:
    with pytest.raises(RenderError, match="cannot be"):
        helm.render(Job({"a": "x: 1"}, {}, release, namespace))


def test_errors_name_the_packs_files_and_not_this_machines(helm: Helm) -> None:
    with pytest.raises(RenderError) as caught:
        helm.render(Job({"manifests/web.yaml": "x: {{ .Values.a.b }}"}, {}, "web", "web"))
    assert "manifests/web.yaml:1" in str(caught.value)
    assert "/tmp" not in str(caught.value)


def test_a_program_that_is_no_helm_is_an_error_of_this_machine() -> None:
    for program in (Path("/nonexistent/helm"), Path("/bin/false")):
        with pytest.raises(SiteError) as caught, Helm.ready(program):
            pass
        assert caught.value.reference == "helm-unusable"


def test_values_survive_the_way_to_helm(helm: Helm) -> None:
    odd = [
        "y",
        "on",
        "1e3",
        "\u2028",
        "\x7f",
        "\x85",
        "\ufeff",
        "😀",
        'a"b',
        "a\nb",
        2**53,
        -1,
        0.5,
        None,
        True,
        [],
        {},
    ]
    text = helm.render(Job({"a": "x: {{ .Values.odd | toJson | quote }}"}, {"odd": odd}, "web", "web"))
    assert json.loads(yaml.safe_load(text)["x"]) == odd
    assert "\u2028" not in as_json(odd)


def test_nothing_is_left_in_the_temporary_folder(helm: Helm) -> None:
    before = set(helm._folder.iterdir())
    helm.render(Job({"a": "x: 1"}, {}, "web", "web"))
    assert set(helm._folder.iterdir()) == before


# -- the collection of real packs


@needs_corpus
def test_every_real_pack_is_judged_and_what_is_known_of_them_is_found(helm: Helm) -> None:
    seen: dict[str, list[str]] = {}
    for folder in real_packs():
        report = lint(read_files(folder), helm)
        assert report.metadata is not None
        assert report.inventory is not None
        for finding in report.findings:
            seen.setdefault(finding.reference, []).append(folder.name)
    assert seen["listed-file-missing"] == ["haproxy-unified-gateway-1.0.1"]
    assert len(seen["images-not-declared"]) == 12
    assert seen["image-host-differs"] == ["crossplane-2.1.4", "crossplane-2.2.0", "crossplane-2.3.0"]
    assert seen["chart-key-by-file"] == ["ambassador-6.6.0"]
    assert seen["chart-values-flat"] == ["kubehunter-1.0.3"]
    assert seen["version-not-semver"] == ["trident-operator-26.02.1"]
    assert seen["pack-deprecated"] == ["argocd-3.26.7", "argocd-3.3.5"]
    assert len(seen["bound-padded"]) == 12
    assert "kyverno-1.12.2" in seen["image-undeclared"]
    assert {"hello-universe-1.2.0", "hello-universe-1.3.0", "hello-universe-1.3.1"} <= set(seen["image-undeclared"])


@needs_corpus
def test_every_real_pack_is_judged_without_helm_too() -> None:
    for folder in real_packs():
        report = lint(read_files(folder), None)
        assert report.inventory is not None
        assert report.inventory.method == "static"
