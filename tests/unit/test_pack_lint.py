"""Every finding: a small pack that has it, and the sound pack that has none."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry.packs.artifact import pack_archive
from registry.packs.findings import PACK_RULES
from registry.packs.helm import Helm
from registry.packs.lint import report
from registry.packs.reading import read_files
from tests.pack_samples import (
    DEPLOYMENT,
    DIGEST,
    IMAGE,
    VALUES,
    chart,
    judged,
    make_pack,
    stored_zip_bomb,
    with_values,
)

LABEL = "pod-security.kubernetes.io/enforce=privileged,k=v"
DEPENDENCY = {"packName": "other", "layer": "addon", "type": "optional"}


@dataclass(frozen=True)
class Case:
    """How the sound pack is changed, and what is then found."""

    finding: str
    where: str = ""
    """`file:line` or `file`; empty is not compared."""
    metadata: Mapping[str, Any] | str | None = None
    values: Mapping[str, Any] | str | None = None
    files: Mapping[str, bytes | str | None] | None = None
    static: bool = False
    times: int = 1

    def __str__(self) -> str:
        return self.finding


def needs(**dependency: object) -> dict[str, Any]:
    merged = {**DEPENDENCY, **dependency}
    return {"constraints": {"dependencies": [{key: value for key, value in merged.items() if value is not None}]}}


def wants(**resource: object) -> dict[str, Any]:
    return {"constraints": {"resources": [resource]}}


def images(*entries: object) -> dict[str, Any]:
    return with_values(content={"images": [{"image": IMAGE}, *entries]})


def charted(**given: object) -> dict[str, bytes | str | None]:
    return {"charts/web-1.0.0.tgz": chart(**given)}


def template(text: str, **given: object) -> dict[str, bytes | str | None]:
    """A chart with one more template beside its deployment."""
    return charted(templates={"web.yaml": DEPLOYMENT, "more.yaml": text}, **given)


def pod(image: str, more: str = "") -> str:
    containers = f"[{{name: c, image: '{image}'{more}}}]"
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{containers: {containers}}}\n"


def linked() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("web/Chart.yaml")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    return buffer.getvalue()


def many(before: str, each: str, count: int, after: str = "") -> str:
    """A text with numbers in it."""
    return before + "".join(each.format(n=number) for number in range(count)) + after


PRESET = "presets: [{name: a, group: G, add: 'charts: {web: {x: 1}}'}, {name: b, group: G, add: ''}]"
SCHEMA = "charts.web.image: {schema: '{{ required | format \"${string}\" }}'}\n"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '%s'}\n"


def schema(path: str, template: str) -> dict[str, bytes | str | None]:
    return {"schema.yaml": f"{path}: {{schema: '{template}'}}\n"}


def text_values(first: str, **more: object) -> str:
    return f"{first}\n{yaml.safe_dump({**VALUES, **more})}"


CASES = [
    Case("pack-json-invalid", "pack.json:1", metadata="{nonsense"),
    Case("pack-json-invalid", "pack.json", metadata="[]"),
    Case("pack-json-invalid", metadata='{"name": "a", "name": "b"}'),
    Case("field-missing", metadata={"displayName": None}),
    Case("field-missing", metadata={"displayName": ""}),
    Case("field-missing", metadata={"name": None, "version": ""}, times=2),
    Case("field-invalid", "pack.json:5", metadata={"layer": "roof"}),
    Case("field-invalid", "pack.json:2", metadata={"name": "No Name"}),
    Case("field-invalid", metadata={"charts": "charts/web.tgz"}),
    Case("field-unknown", "pack.json:16", metadata={"commit_msg": "x"}),
    Case("annotation-not-text", metadata={"annotations": {"a": True}}),
    Case("annotation-not-text", metadata={"annotations": [{"a": "b"}]}),
    Case("addon-type-missing", metadata={"addonType": ""}),
    Case("cloud-types-missing", metadata={"cloudTypes": []}),
    Case("cloud-type-unknown", "pack.json:7", metadata={"cloudTypes": ["moon", "all"]}),
    Case("version-not-semver", metadata={"version": "1.0"}),
    Case("version-not-semver", metadata={"version": "v1.0.0"}),
    Case("version-not-semver", metadata={"version": "1.02.0"}),
    Case("eol-invalid", metadata={"eol": "soon"}),
    Case("pack-end-of-life", "pack.json:16", metadata={"eol": "2026-01-01"}),
    Case("pack-deprecated", metadata={"annotations": {"system_state": "deprecated"}}),
    Case("pack-deleted", metadata={"annotations": {"system_state": "deleted"}}),
    Case("pack-disabled", metadata={"annotations": {"disabled": "true"}}),
    Case("airgap-unsupported", metadata={"annotations": {"airgap": "false"}}),
    Case("folder-name-differs", metadata={"version": "1.0.1"}),
    Case("logo-missing", files={"logo.png": None}),
    Case("readme-missing", files={"README.md": None}),
    Case("listed-file-missing", "pack.json:15", metadata={"charts": ["charts/web-1.0.0.tgz", "charts/x.tgz"]}),
    Case("listed-path-unsafe", metadata={"kubeManifests": ["../a.yaml"]}),
    Case("listed-path-unsafe", metadata={"kubeManifests": ["/etc/passwd"]}),
    Case("listed-path-unsafe", metadata={"kubeManifests": ["a\\b.yaml"]}),
    Case("listed-twice", metadata={"charts": ["charts/web-1.0.0.tgz", "./charts/web-1.0.0.tgz"]}),
    Case("file-not-listed", "charts/b.tgz", files={"charts/b.tgz": chart(name="b")}),
    Case("file-not-listed", "manifests/d/a.yml", files={"manifests/d/a.yml": "a: 1"}),
    Case("chart-copy-ignored", "charts/web", files={"charts/web/Chart.yaml": "name: web"}),
    Case("nothing-to-install", metadata={"charts": []}),
    Case("dependency-incomplete", metadata=needs(layer=None)),
    Case("dependency-incomplete", metadata=needs(packName="")),
    Case("dependency-without-type", metadata=needs(type=None)),
    Case("dependency-type-unknown", metadata=needs(type="maybe")),
    Case("dependency-on-itself", metadata=needs(packName="web")),
    Case("upgrade-from-another", metadata=needs(type="upgrade")),
    Case("bound-padded", metadata=needs(minVersion="1.27")),
    Case("bound-padded", metadata=needs(maxVersion="v1.27.0")),
    Case("bound-invalid", metadata=needs(maxVersion="latest")),
    Case("bounds-crossed", metadata=needs(minVersion="2.0.0", maxVersion="1.9.9")),
    Case("resource-invalid", metadata=wants(type="gpu", minLimit=1)),
    Case("resource-invalid", metadata=wants(type="cpu")),
    Case("resource-invalid", metadata=wants(type="cpu", minLimit=-1)),
    Case("resource-invalid", metadata=wants(type="cpu", components=[{"scheduleType": "some"}])),
    Case(
        "resource-path-unknown", metadata=wants(type="cpu", components=[{"resourceRequestParamRef": "charts.web.cpu"}])
    ),
    Case("values-missing", files={"values.yaml": None}),
    Case("values-invalid", "values.yaml:2", values="a: 1\nb: ]\n"),
    Case("values-invalid", values="- a list"),
    Case("values-invalid", values="a: 1\n---\nb: 2\n"),
    Case("values-invalid", "values.yaml:1", values="charts: {web: {a: {{ .spectro.var.A }}}}"),
    Case("values-invalid", values={**VALUES, "charts": "flat"}),
    Case("values-key-twice", "values.yaml:3", values="pack:\n  namespace: web\n  namespace: b\n"),
    Case("namespace-missing", values=with_values(namespace="")),
    Case("namespace-invalid", "values.yaml:8", values=with_values(namespace="No_Name")),
    Case("namespace-invalid", values=with_values(additionalNamespaces="ok, -bad")),
    Case("additional-namespaces-form", values=with_values(additionalNamespaces=["a"])),
    Case("namespace-labels-form", values=with_values(namespaceLabels={"web": ["k=v"]})),
    Case("namespace-labels-form", values=with_values(namespaceLabels=LABEL)),
    Case("namespace-annotations-form", values=with_values(namespaceAnnotations={"web": {"k": "v"}})),
    Case("namespace-label-invalid", values=with_values(namespaceLabels={"web": f"{LABEL},b"})),
    Case("namespace-label-invalid", values=with_values(namespaceLabels={"web": "k=not allowed"})),
    Case("namespace-labels-elsewhere", values=with_values(namespaceLabels={"other": LABEL})),
    Case("release-name-invalid", values=with_values(releaseNameOverride={"web": "No Name"})),
    Case("release-name-unknown", values=with_values(releaseNameOverride={"other": "x"})),
    Case("install-priority-invalid", values=with_values(**{"spectrocloud.com/install-priority": "first"})),
    Case("readiness-check-form", values={**VALUES, "readinessCheck": {"v1beta1": [{"name": "a"}]}}),
    Case(
        "readiness-check-form",
        values={
            **VALUES,
            "readinessCheck": {
                "v1beta1": [{"name": "a", "kind": "K", "version": "v1", "keysToCheck": [{"keyToCheck": "x"}]}]
            },
        },
    ),
    Case("chart-unreadable", "charts/web-1.0.0.tgz", files={"charts/web-1.0.0.tgz": b"no archive"}),
    Case("chart-unreadable", files={"charts/web-1.0.0.tgz": linked()}),
    Case("chart-unreadable", files={"charts/web-1.0.0.tgz": stored_zip_bomb(4 << 20)}),
    Case("chart-unreadable", files=charted(files={"charts/in.tgz": stored_zip_bomb(4 << 20)})),
    Case("chart-invalid", files={"charts/web-1.0.0.tgz": chart(version="")}),
    Case("chart-version-differs", files=charted(version="2.0.0")),
    Case("chart-deprecated", files=charted(deprecated=True)),
    Case("chart-dependency-missing", files=charted(dependencies=[{"name": "db", "version": "1", "repository": ""}])),
    Case("chart-key-unmatched", values={**VALUES, "charts": {**VALUES["charts"], "other": {}}}),
    Case("chart-key-by-file", files=charted(name="longer")),
    Case("chart-values-flat", "values.yaml:1", values={**VALUES, "charts": {"image": IMAGE, "replicas": 1}}),
    Case("chart-values-missing", values={**VALUES, "charts": None}),
    Case("manifest-key-unmatched", values={**VALUES, "manifests": {"other": {}}}),
    Case("render-failed", "charts/web-1.0.0.tgz", files=template('{{ fail "give a region" }}')),
    Case(
        "render-failed",
        files={
            "presets.yaml": "presets: [{name: a, group: G, add: 'charts: {web: {image: }}'}]",
            **charted(templates={"a.yaml": 'x: {{ required "an image" .Values.image }}'}, values={}),
        },
    ),
    Case("images-not-declared", values=with_values(content={"images": []})),
    Case(
        "images-not-pinned", values=images({"image": "registry.example.org/a:1"}, {"image": "registry.example.org/b:1"})
    ),
    Case("image-entry-form", values=images("registry.example.org/a:1")),
    Case("image-entry-empty", values=images({"image": ""})),
    Case("image-key-misspelt", values=images({"iamge": "registry.example.org/a:1"})),
    Case("image-invalid", values=images({"image": "Registry/UPPER case:1"})),
    Case("image-without-tag", values=images({"image": "registry.example.org/a"})),
    Case("image-without-tag", "charts/web-1.0.0.tgz", files=template(pod("registry.example.org/a"))),
    Case("image-latest", values=images({"image": "registry.example.org/a:latest"})),
    Case("image-latest", files=template(pod("registry.example.org/a:latest"))),
    Case("image-twice", values=images({"image": IMAGE})),
    Case("image-host-implicit", values=images({"image": "a:1"})),
    Case("image-undeclared", files=template(pod("registry.example.org/a:1"))),
    Case(
        "image-undeclared",
        "charts/web-1.0.0.tgz",
        files={
            "presets.yaml": "presets: [{name: a, group: G, add: 'charts: {web: {image: registry.example.org/a:1}}'}]"
        },
    ),
    Case("image-host-differs", files=template(pod(f"other.example.org/team/web:1.0@{DIGEST}"))),
    Case("image-possible", files=template(CONFIG % "see registry.example.org/a:1 there")),
    Case("image-annotated", files=charted(annotations={"images": "- name: a\n  image: registry.example.org/a:1\n"})),
    Case("image-unused", "values.yaml:8", values=images({"image": "registry.example.org/a:1"})),
    Case("image-by-macro", values={**VALUES, "charts": {"web": {"image": "{{ .spectro.var.HOST }}/web:1"}}}),
    Case("image-pull-always", files=template(pod(IMAGE, ", imagePullPolicy: Always"))),
    Case("images-static", static=True),
    Case("egress-possible", files=template(CONFIG % "https://download.vendor.io/x")),
    Case("egress-possible", files=template(pod(IMAGE, ", args: ['--repo=git@git.vendor.io:a/b']"))),
    Case("schema-invalid", files={"schema.yaml": "- a"}),
    Case("schema-invalid", files={"schema.yaml": f"{SCHEMA}charts.web.x: {{}}\n"}),
    Case("schema-invalid", files={"schema.yaml": SCHEMA + SCHEMA}),
    Case("schema-path-invalid", files=schema("charts..image", "{{ required }}")),
    Case("schema-template-invalid", files=schema("charts.web.image", "{{ perhaps }}")),
    Case("schema-template-invalid", files=schema("charts.web.image", "required")),
    Case("schema-type-unknown", files=schema("charts.web.image", '{{ format "${input}" }}')),
    Case("schema-pattern-invalid", files=schema("charts.web.image", '{{ format "${string:/(?=a)/}" }}')),
    Case("schema-range-invalid", files=schema("charts.web.image", '{{ format "${number:[9-1]}" }}')),
    Case("schema-range-invalid", files=schema("charts.web.image", '{{ format "${list:[]}" }}')),
    Case("schema-path-unknown", "schema.yaml:1", files=schema("charts.web.other", '{{ format "${string}" }}')),
    Case("value-refused", "values.yaml:3", files=schema("charts.web.image", '{{ format "${number}" }}')),
    Case("value-to-fill", files=schema("charts.web.other", "{{ required }}")),
    Case("presets-invalid", files={"presets.yaml": "presets: {}"}),
    Case("presets-invalid", files={"presets.yaml": "presets: [{group: G}]"}),
    Case("preset-name-twice", files={"presets.yaml": "presets: [{name: a, group: G}, {name: a, group: G}]"}),
    Case("preset-group-missing", files={"presets.yaml": "presets: [{name: a}]"}),
    Case(
        "preset-add-invalid", "presets.yaml:4", files={"presets.yaml": "presets:\n- name: a\n  group: G\n  add: '['\n"}
    ),
    Case("preset-remove-unknown", files={"presets.yaml": "presets: [{name: a, group: G, remove: [charts.x]}]"}),
    Case("preset-line-invalid", "values.yaml:1", values=text_values("# spectrocloud.com/enabled-presets: none")),
    Case("preset-enabled-unknown", "values.yaml:1", values=text_values("# spectrocloud.com/enabled-presets: G:a")),
    Case(
        "preset-group-twice",
        values=text_values("# spectrocloud.com/enabled-presets: G:a,G:b"),
        files={"presets.yaml": PRESET},
    ),
    Case(
        "preset-not-applied",
        values=text_values("# spectrocloud.com/enabled-presets: G:a"),
        files={"presets.yaml": PRESET},
    ),
    Case("macro-invalid", values={**VALUES, "x": "{{ .spectro.var.A | }}"}),
    Case("macro-invalid", values={**VALUES, "x": "{{ .spectro.var.A"}),
    Case("macro-function-unknown", values={**VALUES, "x": '{{ .spectro.var.A | env "HOME" }}'}),
    Case("macro-unknown", values={**VALUES, "x": "{{ .spectro.system.weather }}"}),
]


def test_the_sound_pack_has_nothing_to_be_said_of_it(tmp_path: Path, helm: Helm) -> None:
    found = judged(make_pack(tmp_path / "web-1.0.0"), helm)
    assert [(one.reference, one.text) for one in found.findings] == []
    assert found.inventory is not None
    assert [(entry.image.spelled, entry.declared, entry.used) for entry in found.inventory.images] == [
        (IMAGE, True, True)
    ]


def test_every_finding_has_a_case() -> None:
    assert {case.finding for case in CASES} == set(PACK_RULES)


@pytest.mark.parametrize("case", CASES, ids=[f"{number}-{case}" for number, case in enumerate(CASES)])
def test_a_finding_is_found_where_it_is_and_no_oftener(case: Case, tmp_path: Path, helm: Helm) -> None:
    values = VALUES if case.values is None else case.values
    folder = make_pack(tmp_path / "web-1.0.0", metadata=case.metadata, values=values, files=case.files)
    findings = judged(folder, None if case.static else helm).findings
    mine = [one for one in findings if one.reference == case.finding]
    assert len(mine) == case.times, [(one.reference, one.where, one.text) for one in findings]
    if case.where:
        assert mine[0].where == case.where


@pytest.mark.parametrize("name", ["pack.json", "values.yaml", "schema.yaml", "presets.yaml", "charts/web-1.0.0.tgz"])
@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"[" * 200_000, b"{" * 200_000, b"&a [*a]", b"\x00" * 4096])
def test_no_file_of_a_pack_can_end_the_judgement(name: str, data: bytes, tmp_path: Path) -> None:
    judged(make_pack(tmp_path / "web-1.0.0", files={name: data}))


HOSTILE: dict[str, dict[str, bytes | str | None]] = {
    "images of many names": {
        "values.yaml": many("pack: {content: {images: [", '{{image: "r.io/a{n}:1"}},', 9_999, "]}}")
    },
    "images of one name": {"values.yaml": many("pack: {content: {images: [", '{{image: "r.io/a:{n}"}},', 9_999, "]}}")},
    "labels": {"values.yaml": many('pack: {namespaceLabels: {a: "', "k=v,", 200_000, '"}}')},
    "braces in labels": {"values.yaml": many('pack: {namespaceLabels: {a: "', ",{{", 200_000, '"}}')},
    "rules": {"schema.yaml": many("", "p{n}: {{schema: '{{{{ required }}}}'}}\n", 20_000)},
    "presets": {"presets.yaml": many("presets:\n", "- {{name: a{n}, group: g, add: 'x: {n}'}}\n", 20_000)},
    "macros": {"values.yaml": many("x: [", '"{{{{ .spectro.var.A }}}}",', 50_000, "]")},
    "keys": {"values.yaml": many("", "k: v\n", 100_000)},
    "listed files": {
        "pack.json": many('{"name": "a", "charts": [', '"c{n}.tgz",', 50_000, '""], "layer": "os", "version": "1"}')
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_however_many_there_are_of_anything_the_judgement_ends_soon(name: str, tmp_path: Path) -> None:
    folder = make_pack(tmp_path / "web-1.0.0", files=HOSTILE[name])
    began = time.process_time()
    assert judged(folder).findings
    assert time.process_time() - began < 30


def test_an_unknown_name_is_not_known() -> None:
    assert report.known("image-undeclared")
    assert not report.known("image-purple")


def test_an_archive_is_judged_like_its_folder_but_for_the_folders_name(tmp_path: Path) -> None:
    folder = make_pack(tmp_path / "other-name", metadata={"version": "1.0"})
    packed = tmp_path / "web.tar.gz"
    packed.write_bytes(b"".join(pack_archive(folder)))
    one, other = (report.lint(read_files(path), None).findings for path in (folder, packed))
    assert {item.reference for item in one} - {item.reference for item in other} == {"folder-name-differs"}
