"""Profiles: what is wrong with them is named, what is installed is ordered, what is rendered stays the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from installer.cli.main import main
from registry.errors import DefinitionError
from registry.packs.findings import PROFILE_RULES
from registry.packs.tree import Tree
from registry.profiles.model import Profile
from registry.profiles.resources import quantity
from tests.corpus import CORPUS, needs_corpus
from tests.pack_registry import running
from tests.pack_samples import DEPLOYMENT, IMAGE, VALUES, chart, ready
from tests.profile_samples import judged, names, pack, require, write
from tests.unit.test_pack_push import put

MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '{{ .Values.a }}'}\n"


def manifest_pack(folder: Path, name: str, values: Mapping[str, Any], **more: Any) -> Path:  # noqa: ANN401
    """A pack with one manifest that shows its value `a`."""
    whole = {"pack": {"namespace": name}, "manifests": {name: values}}
    files = {f"manifests/{name}.yaml": MANIFEST, "charts/web-1.0.0.tgz": None, **more.pop("files", {})}
    return pack(folder, name, values=whole, files=files, charts=[], kubeManifests=[f"manifests/{name}.yaml"], **more)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


# -- the declaration


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "No Name"}, "name"),
        ({"version": "v1.2"}, "version"),
        ({"type": "half"}, "type"),
        ({"packs": []}, "packs"),
        ({"extra": 1}, "extra"),
        ({"variables": [{"name": "A"}, {"name": "A"}]}, "variables"),
        ({"variables": [{"name": "A", "pattern": "(?=a)"}]}, "variables.0.pattern"),
        ({"packs": [{"pack": "../x", "version": "1"}]}, "packs.0.pack"),
        ({"packs": [{"pack": "a", "version": "1", "path": "/etc"}]}, "packs.0.path"),
        ({"packs": [{"pack": "a", "version": "1", "digest": "sha256:1"}]}, "packs.0.digest"),
        ({"cluster": {"system": {"moon": "1"}}}, "cluster.system"),
    ],
)
def test_a_profile_that_cannot_be_names_the_field(change: Mapping[str, Any], field: str, tmp_path: Path) -> None:
    path = write(tmp_path, **{"packs": ["a 1"], **change})
    with pytest.raises(DefinitionError) as caught:
        Profile.load(path)
    assert [finding.where for finding in caught.value.findings] == [field]


def test_a_version_without_quotes_is_read_as_it_stands(tmp_path: Path) -> None:
    text = write(tmp_path, ["a 1"]).read_text().replace("version: '1'", "version: 1.5")
    (tmp_path / "profile.yaml").write_text(text)
    assert Profile.load(tmp_path / "profile.yaml").packs[0].version == "1.5"


@pytest.mark.parametrize("text", ["[" * 9_000, "a: 1\na: 2", "- a", "\x00", "a: {{ x }}"])
def test_a_hostile_profile_is_an_error_and_not_a_crash(text: str, tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text(text)
    with pytest.raises(DefinitionError) as caught:
        Profile.load(tmp_path / "profile.yaml")
    assert caught.value.reference in {"profile-unreadable", "profile-invalid"}


# -- findings, each once

Build = Any
CASES: list[tuple[str, Build, Sequence[Any], dict[str, Any]]] = [
    ("pack-not-found", None, ["none 1.0.0"], {}),
    ("pack-not-found", lambda f: pack(f, "a"), [{"pack": "b", "version": "1.0.0", "path": "a-1.0.0"}], {}),
    ("pack-unusable", None, [{"pack": "a", "version": "1", "path": "nowhere"}], {}),
    (
        "pack-digest-differs",
        lambda f: pack(f, "a"),
        [{"pack": "a", "version": "1.0.0", "digest": "sha256:" + "0" * 64}],
        {},
    ),
    ("pack-twice", lambda f: (pack(f, "a"), pack(f, "a", "1.0.1")), ["a 1.0.0", "a 1.0.1"], {}),
    (
        "layer-twice",
        lambda f: (pack(f, "a", layer="cni"), pack(f, "b", layer="cni")),
        ["a 1.0.0", "b 1.0.0"],
        {"type": "full"},
    ),
    (
        "layer-missing",
        lambda f: (pack(f, "a", layer="os"), pack(f, "b", layer="k8s")),
        ["a 1.0.0", "b 1.0.0"],
        {"type": "full"},
    ),
    ("layer-not-allowed", lambda f: pack(f, "a", layer="cni"), ["a 1.0.0"], {}),
    ("cloud-not-supported", lambda f: pack(f, "a", cloudTypes=["aws"]), ["a 1.0.0"], {"cluster": {"cloud": "vsphere"}}),
    ("preset-unknown", lambda f: pack(f, "a"), [{"pack": "a", "version": "1.0.0", "presets": ["G:x"]}], {}),
    ("dependency-missing", lambda f: pack(f, "a", needs=[require("b", "1.2")]), ["a 1.0.0"], {}),
    (
        "dependency-version",
        lambda f: (pack(f, "a", needs=[require("b", "1.2")]), pack(f, "b")),
        ["a 1.0.0", "b 1.0.0"],
        {},
    ),
    (
        "dependency-version",
        lambda f: (pack(f, "a", needs=[require("b", "", "0.9", "optional")]), pack(f, "b")),
        ["a 1.0.0", "b 1.0.0"],
        {},
    ),
    (
        "dependency-refused",
        lambda f: (pack(f, "a", needs=[require("b", "1", "1", "notSupported")]), pack(f, "b")),
        ["a 1.0.0", "b 1.0.0"],
        {},
    ),
    (
        "kubernetes-advisory",
        lambda f: pack(f, "a", needs=[require("kubernetes", "1.29", kind="optional", layer="k8s")]),
        ["a 1.0.0"],
        {"cluster": {"kubernetes": "1.28.4"}},
    ),
    (
        "version-not-compared",
        lambda f: (pack(f, "a", needs=[require("b", "1")]), pack(f, "b", "latest")),
        ["a 1.0.0", "b latest"],
        {},
    ),
    (
        "order-before-required",
        lambda f: (pack(f, "a", needs=[require("b")], layer="csi"), pack(f, "b")),
        ["a 1.0.0", "b 1.0.0"],
        {},
    ),
    (
        "resources-short",
        lambda f: pack(f, "a", resources=[{"type": "cpu", "minLimit": 500}]),
        ["a 1.0.0"],
        {"cluster": {"pools": [{"name": "w", "nodes": 1, "cpu": 499, "memory": 1}]}},
    ),
    ("resources-unchecked", lambda f: pack(f, "a", resources=[{"type": "cpu", "minLimit": 500}]), ["a 1.0.0"], {}),
    (
        "resources-unreadable",
        lambda f: pack(
            f, "a", resources=[{"type": "cpu", "components": [{"resourceRequestParamRef": "charts.web.image"}]}]
        ),
        ["a 1.0.0"],
        {},
    ),
    (
        "variable-missing",
        lambda f: manifest_pack(f, "a", {"a": "{{ .spectro.var.A }}"}),
        ["a 1.0.0"],
        {"variables": [{"name": "A", "required": True}]},
    ),
    (
        "variable-refused",
        lambda f: manifest_pack(f, "a", {"a": "{{ .spectro.var.A }}"}),
        ["a 1.0.0"],
        {"variables": [{"name": "A", "format": "ipv4", "default": "x"}]},
    ),
    ("variable-unknown", lambda f: pack(f, "a"), ["a 1.0.0"], {"given": {"B": 1}}),
    ("variable-undeclared", lambda f: manifest_pack(f, "a", {"a": "{{ .spectro.var.A }}"}), ["a 1.0.0"], {}),
    (
        "variable-read-only",
        lambda f: manifest_pack(f, "a", {"a": "{{ .spectro.var.A }}"}),
        ["a 1.0.0"],
        {"variables": [{"name": "A", "readOnly": True, "default": "x"}], "given": {"A": "y"}},
    ),
    ("variable-unused", lambda f: pack(f, "a"), ["a 1.0.0"], {"variables": [{"name": "A"}]}),
    (
        "value-missing",
        lambda f: pack(f, "a", files={"schema.yaml": "charts.web.x: {schema: '{{ required }}'}"}),
        ["a 1.0.0"],
        {},
    ),
    (
        "value-read-only",
        lambda f: pack(f, "a", files={"schema.yaml": "charts.web.image: {schema: '{{ readonly }}'}"}),
        [{"pack": "a", "version": "1.0.0", "values": {"charts": {"web": {"image": "x"}}}}],
        {},
    ),
    ("macro-unresolved", lambda f: manifest_pack(f, "a", {"a": "{{ .spectro.system.cluster.uid }}"}), ["a 1.0.0"], {}),
    (
        "macro-cycle",
        lambda f: (
            manifest_pack(f, "a", {"a": "{{ .spectro.pack.b.manifests.b.a }}"}),
            manifest_pack(f, "b", {"a": "{{ .spectro.pack.a.manifests.a.a }}"}),
        ),
        ["a 1.0.0", "b 1.0.0"],
        {},
    ),
]
COMPANIONS = {"layer-missing", "order-before-required", "layer-not-allowed"}
"""What some of the small profiles cannot help having beside the one that they are about."""
ELSEWHERE = {"upgrade-refused", "render-unstable"}


@pytest.mark.parametrize(
    ("finding", "build", "packs", "more"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)]
)
def test_a_finding_is_found_and_nothing_else(
    finding: str, build: Build, packs: Sequence[Any], more: dict[str, Any], tmp_path: Path
) -> None:
    if build:
        build(tmp_path)
    found = set(names(judged(tmp_path, packs, **dict(more))))
    assert finding in found
    assert found - {finding} <= COMPANIONS


def test_every_finding_of_profiles_has_a_case() -> None:
    assert {case[0] for case in CASES} | ELSEWHERE == set(PROFILE_RULES)


def test_page_and_table_name_the_same_findings_with_the_same_severities() -> None:
    page = (Path(__file__).parents[2] / "docs/profiles.md").read_text()
    told = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning|note) \|", page, re.MULTILINE))
    assert told == {name: rule.severity for name, rule in PROFILE_RULES.items()}


def test_a_sound_profile_has_nothing_to_be_said_of_it(tmp_path: Path) -> None:
    pack(tmp_path, "a", needs=[require("b", "1.0", "1")])
    pack(tmp_path, "b")
    with ready() as helm:
        report = judged(tmp_path, ["a 1.0.0", "b 1.0.0"], helm)
    assert report.findings == []
    assert [step.part.entry.pack for step in report.steps] == ["b", "a"]
    assert report.images == [IMAGE]


# -- upgrades


@pytest.mark.parametrize(("before", "refused"), [("2.8.0", True), ("2.8.1", False), ("2.9.0", False), (None, False)])
def test_an_upgrade_is_judged_by_what_the_cluster_has(before: str | None, refused: bool, tmp_path: Path) -> None:
    pack(tmp_path, "a", "2.9.0", needs=[require("a", "2.8.1", "", "upgrade")])
    profile = Profile.load(write(tmp_path, [f"a {before}"])) if before else None
    assert ("upgrade-refused" in names(judged(tmp_path, ["a 2.9.0"], before=profile))) is refused


# -- values


def test_values_are_the_packs_then_presets_then_the_profiles_and_macros_last(tmp_path: Path) -> None:
    presets = "presets: [{name: on, group: G, remove: [manifests.a.gone], add: 'manifests: {a: {b: 2, c: 2}}'}]"
    manifest_pack(tmp_path, "a", {"a": "x", "b": 1, "c": 1, "gone": 1}, files={"presets.yaml": presets})
    entry = {
        "pack": "a",
        "version": "1.0.0",
        "presets": ["G:on"],
        "values": {"manifests": {"a": {"c": "{{ .spectro.var.C }}"}}},
    }
    report = judged(tmp_path, [entry], variables=[{"name": "C", "format": "number"}], given={"C": 3})
    assert report.composed.parts[0].values["manifests"]["a"] == {"a": "x", "b": 2, "c": "3"}
    assert names(report) == []


def test_a_macro_reads_the_cluster_and_other_packs_through_their_own_macros(tmp_path: Path) -> None:
    manifest_pack(tmp_path, "a", {"a": "{{ .spectro.pack.b.manifests.b.a | upper }}"})
    manifest_pack(
        tmp_path,
        "b",
        {"a": "on-{{ .spectro.system.kubernetes.version | substr 0 4 }}-{{ .spectro.system.cluster.name }}"},
    )
    report = judged(tmp_path, ["a 1.0.0", "b 1.0.0"], cluster={"kubernetes": "1.33.4", "name": "one"})
    assert report.composed.parts[0].values["manifests"]["a"]["a"] == "ON-1.33-ONE"
    assert names(report) == []


def test_a_long_chain_of_packs_that_name_each_other_twice_takes_no_time(tmp_path: Path) -> None:
    for number in range(40):
        below = f"{{{{ .spectro.pack.p{number + 1}.manifests.p{number + 1}.a }}}}"
        manifest_pack(tmp_path, f"p{number}", {"a": below + below if number < 39 else ""})
    report = judged(tmp_path, [f"p{number} 1.0.0" for number in range(40)])
    assert report.composed.parts[0].values["manifests"]["p0"]["a"] == ""


def test_a_masked_value_is_not_shown(tmp_path: Path) -> None:
    manifest_pack(tmp_path, "a", {"a": "{{ .spectro.var.A }}"})
    variables = [{"name": "A", "masked": True, "pattern": "[0-9]+"}]
    report = judged(tmp_path, ["a 1.0.0"], variables=variables, given={"A": "hunter2"})
    assert "hunter2" not in json.dumps(report.as_json())


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [("string", "a", None), ("number", -1.5, "1e3"), ("boolean", True, "yes"), ("version", "v1.2.3", "1.2"),
     ("ipv4", "10.0.0.1", "10.0.0.0/8"), ("ipv6", "fd00::1", "10.0.0.1"), ("cidr", "10.0.0.0/8", "10.0.0.1")],
)  # fmt: skip
def test_variables_have_formats(form: str, good: object, bad: object, tmp_path: Path) -> None:
    manifest_pack(tmp_path, "a", {"a": "{{ .spectro.var.A }}"})
    declared = {"variables": [{"name": "A", "format": form}]}
    assert names(judged(tmp_path, ["a 1.0.0"], given={"A": good}, **declared)) == []
    if bad is not None:
        assert names(judged(tmp_path, ["a 1.0.0"], given={"A": bad}, **declared)) == ["variable-refused"]


def test_options_bind(tmp_path: Path) -> None:
    manifest_pack(tmp_path, "a", {"a": "{{ .spectro.var.A }}"})
    declared = {"variables": [{"name": "A", "options": ["x", 2]}]}
    assert names(judged(tmp_path, ["a 1.0.0"], given={"A": "2"}, **declared)) == []
    assert names(judged(tmp_path, ["a 1.0.0"], given={"A": "y"}, **declared)) == ["variable-refused"]


# -- resources


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("100m", "cpu", 100),
        (2, "cpu", 2000),
        ("0.5", "cpu", 500),
        ("512Mi", "memory", 512),
        ("1Gi", "memory", 1024),
        ("2G", "diskSize", 2),
    ],
)
def test_quantities_are_read_as_kubernetes_does(text: Any, kind: str, amount: float) -> None:  # noqa: ANN401
    assert quantity(text, kind) == pytest.approx(amount)


@pytest.mark.parametrize("text", ["", "x", "1 Gi B", "-1", "1e3", True, "1Ei"])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text, "cpu")


def test_components_need_request_times_replicas_on_their_nodes(tmp_path: Path) -> None:
    component = {
        "scheduleType": "master",
        "resourceRequestParamRef": "charts.web.cpu",
        "replicaCountParamRef": "charts.web.count",
    }
    values = {**VALUES, "charts": {"web": {"image": IMAGE, "cpu": "600m", "count": 2}}}
    pack(tmp_path, "a", resources=[{"type": "cpu", "minLimit": 99_999, "components": [component]}], values=values)
    pack(tmp_path, "b", resources=[{"type": "cpu", "components": [component]}], values=values)

    def found(cpu: int) -> list[str]:
        pools = [{"name": "cp", "role": "control-plane", "nodes": 3, "cpu": cpu, "memory": 1}]
        return names(judged(tmp_path, ["a 1.0.0", "b 1.0.0"], cluster={"pools": pools}))

    assert found(800) == []
    assert found(799) == ["resources-short"]


# -- order


def test_layers_come_first_then_priority_then_what_is_required_then_the_profile(tmp_path: Path) -> None:
    def prioritised(priority: str) -> dict[str, Any]:
        return {**VALUES, "pack": {**VALUES["pack"], "spectrocloud.com/install-priority": priority}}

    pack(tmp_path, "late", values=prioritised("10"))
    pack(tmp_path, "needy", needs=[require("needed")])
    pack(tmp_path, "plain")
    pack(tmp_path, "needed")
    pack(tmp_path, "early", values=prioritised("-5"))
    pack(tmp_path, "disk", layer="csi")
    order = ["late", "needy", "plain", "needed", "early", "disk"]
    report = judged(tmp_path, [f"{name} 1.0.0" for name in order])
    assert [step.part.entry.pack for step in report.steps] == ["disk", "early", "plain", "needed", "needy", "late"]


def test_a_circle_of_requirements_is_installed_all_the_same_and_told(tmp_path: Path) -> None:
    pack(tmp_path, "a", needs=[require("b")])
    pack(tmp_path, "b", needs=[require("a")])
    report = judged(tmp_path, ["a 1.0.0", "b 1.0.0"])
    assert [step.part.entry.pack for step in report.steps] == ["a", "b"]
    assert names(report) == ["order-before-required"]


# -- the commands


def test_check_explains_and_proposes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(tmp_path, "stack", needs=[require("operator", "3.3.2")])
    for version in ("3.3.1", "3.3.2", "3.4.0"):
        pack(tmp_path, "operator", version)
    path = write(tmp_path, ["stack 1.0.0", "operator 3.3.1"])
    assert run("profile", "check", str(path), "--packs", str(tmp_path)) == 3
    out, err = capsys.readouterr()
    assert "stack 1.0.0 requires operator 3.3.2 or newer; the profile has 3.3.1" in out
    assert "  set operator from 3.3.1 to 3.4.0, because stack 1.0.0 requires operator 3.3.2 or newer" in out
    assert "profile-refused" in err
    assert run("profile", "check", str(path), "--packs", str(tmp_path), "--json") == 3
    value = json.loads(capsys.readouterr().out)
    (change,) = value["proposal"]
    assert (change["pack"], change["from"], change["to"]) == ("operator", "3.3.1", "3.4.0")


def test_a_chain_of_requirements_is_followed_and_each_change_says_why(tmp_path: Path) -> None:
    pack(tmp_path, "shop", needs=[require("stack", "2")])
    pack(tmp_path, "stack", "1.0.0")
    pack(tmp_path, "stack", "2.0.0", needs=[require("operator", "3")])
    pack(tmp_path, "operator", "3.1.0")
    report = judged(tmp_path, ["shop 1.0.0", "stack 1.0.0"])
    assert report.proposal is not None
    assert [str(change) for change in report.proposal] == [
        "set stack from 1.0.0 to 2.0.0, because shop 1.0.0 requires stack 2.0.0 or newer; the profile has 1.0.0",
        "add operator 3.1.0, because stack 2.0.0 requires operator 3.0.0 or newer, which is not in the profile",
    ]


def test_what_no_few_changes_mend_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(tmp_path, "a", needs=[require("nowhere")])
    path = write(tmp_path, ["a 1.0.0"])
    assert run("profile", "check", str(path), "--packs", str(tmp_path)) == 3
    assert "no few changes" in capsys.readouterr().out


def test_packs_come_from_a_registry_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pack(tmp_path / "packs", "served", "1.2.3")
    path = write(tmp_path, ["served 1.2.3"])
    (tmp_path / "site").mkdir()
    with running(tmp_path / "site") as site:
        digest = put(site, folder, "served").digest
        assert run("profile", "check", str(path), "--json", *site.options("pull")) == 0
        value = json.loads(capsys.readouterr().out)
        assert "spectro-packs/archive/served:1.2.3" in value["order"][0]["source"]
        pinned = write(tmp_path, [{"pack": "served", "version": "1.2.3", "digest": str(digest)}])
        assert run("profile", "check", str(pinned), *site.options("pull")) == 0
    assert run("profile", "check", str(pinned), "--packs", str(tmp_path / "packs")) == 0  # the same pack, by its digest


def test_manifests_are_the_same_bytes_each_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = {
        "web": "pod-security.kubernetes.io/enforce=privileged,v={{ .spectro.system.kubernetes.version | substr 0 4 }}"
    }
    values = {**VALUES, "pack": {**VALUES["pack"], "namespaceLabels": labels, "additionalNamespaces": "more"}}
    pack(tmp_path, "a", values=values)
    path = write(tmp_path, ["a 1.0.0"], cluster={"kubernetes": "1.33.4"})
    texts = []
    for name in ("one", "two"):
        out = tmp_path / f"{name}.yaml"
        assert run("profile", "render", str(path), "--packs", str(tmp_path), "--out", str(out)) == 0
        texts.append(out.read_bytes())
    assert texts[0] == texts[1]
    namespace, more, deployment = (Tree.parse(part.encode()).value() for part in texts[0].decode().split("---\n")[1:])
    assert namespace["metadata"] == {
        "name": "web",
        "labels": {"pod-security.kubernetes.io/enforce": "privileged", "v": "1.33"},
    }
    assert more["metadata"] == {"name": "more"}
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert run("profile", "render", str(path), "--packs", str(tmp_path)) == 0
    assert capsys.readouterr().out.encode().strip().endswith(texts[0].strip())


def test_values_made_by_chance_are_refused_or_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: 'y', p: '{{ randAlphaNum 20 }}'}\n"
    pack(tmp_path, "a", files={"charts/web-1.0.0.tgz": chart(templates={"a.yaml": DEPLOYMENT, "s.yaml": secret})})
    path, out = write(tmp_path, ["a 1.0.0"]), tmp_path / "out.yaml"
    assert run("profile", "render", str(path), "--packs", str(tmp_path), "--out", str(out), "--json") == 3
    refused = json.loads(capsys.readouterr().out)
    assert refused["reference"] == "profile-unstable"
    assert "Secret/s: stringData.p" in refused["findings"][0]["message"]
    assert not out.exists()
    texts = []
    for _ in range(2):
        assert run("profile", "render", str(path), "--packs", str(tmp_path), "--out", str(out), "--mark-generated") == 0
        texts.append(out.read_bytes())
    assert texts[0] == texts[1]
    shown = next(one for one in yaml.safe_load_all(texts[0]) if one and one["kind"] == "Secret")
    assert shown["stringData"] == {"a": "y", "p": "(generated)"}
    assert "render-unstable" in names(judged_with_helm(tmp_path))


def judged_with_helm(folder: Path) -> Any:  # noqa: ANN401 - a report
    with ready() as helm:
        return judged(folder, ["a 1.0.0"], helm)


def test_a_profile_with_errors_is_not_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(tmp_path, "a", needs=[require("b")])
    path, out = write(tmp_path, ["a 1.0.0"]), tmp_path / "out.yaml"
    assert run("profile", "render", str(path), "--packs", str(tmp_path), "--out", str(out)) == 3
    assert "profile-refused" in capsys.readouterr().err
    assert not out.exists()


@needs_corpus
def test_a_profile_of_real_packs_is_checked_and_rendered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packs = [
        "elastic-operator 3.3.2",
        "elastic-stack 0.19.0",
        "csi-driver-nfs 4.13.2",
        "spegel 0.7.2",
        "hello-universe 1.3.1",
    ]
    path, out = write(tmp_path, packs, cluster={"kubernetes": "1.33.4"}), tmp_path / "out.yaml"
    assert run("profile", "check", str(path), "--packs", str(CORPUS), "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert [step["pack"] for step in value["order"]] == [
        "csi-driver-nfs", "elastic-operator", "elastic-stack", "spegel", "hello-universe"
    ]  # fmt: skip
    assert run("profile", "render", str(path), "--packs", str(CORPUS), "--out", str(out)) == 0
    first = out.read_bytes()
    assert run("profile", "render", str(path), "--packs", str(CORPUS), "--out", str(out)) == 0
    assert out.read_bytes() == first
