"""Licences as they are stated, and advisories that somebody gave, for whoever approves an import."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundles.approval import Advisory, licence, matching, read
from bundles.lock import Inline, LockedArtifact, LockedBlob
from bundles.sources.artifact import Layer, made
from registry.errors import DefinitionError
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from tests.unit.test_diff import closure

HEAD = {"apiVersion": "dryport/v1", "kind": "Advisories"}


def image(ref: str, licences: str | None = None) -> LockedArtifact:
    annotations = {"org.opencontainers.image.licenses": licences} if licences else {}
    text = json.dumps({"annotations": annotations})
    root = LockedBlob(
        digest=Digest.of(text.encode()), size=len(text), media_type=OCI_MANIFEST, origin=Inline(text=text)
    )
    return LockedArtifact(kind="image", ref=ref, root=root, blobs=[])


def advisory(kind: str, name: str, *versions: str) -> Advisory:
    return Advisory.model_validate({"id": "CVE-2026-1", "kind": kind, "name": name, "versions": list(versions)})


@pytest.mark.parametrize(
    ("kind", "name", "versions", "about"),
    [
        ("image", "r.example/team/web", [">=1.0 <1.2.3"], "image r.example/team/web 1.2.0"),
        ("image", "r.example/team/web", ["1.2.0"], "image r.example/team/web 1.2.0"),
        ("chart", "web", ["<2"], "chart web 1.0.0+b1"),
        ("os-package", "tool", ["1.0-1", "1.0"], "os-package tool 1.0"),
    ],
)
def test_what_is_affected_is_found_by_kind_name_and_version(
    kind: str, name: str, versions: list[str], about: str
) -> None:
    chart = made("chart", "x", "dryport/charts/web:1.0.0_b1", [Layer.text("x", "x", "text/plain")])
    artifacts = [image("r.example/team/web:1.2.0"), image("r.example/other:1.2.0"), chart, closure(("tool", "1.0", 9))]
    assert [one.about for one in matching([advisory(kind, name, *versions)], artifacts)] == [about]


@pytest.mark.parametrize("versions", [["1.3.0"], [">=1.3"], ["<1.0"]])
def test_other_versions_are_not_affected(versions: list[str]) -> None:
    assert matching([advisory("image", "r.example/web", *versions)], [image("r.example/web:1.2.0")]) == []


@pytest.mark.parametrize(
    ("kind", "name", "artifact"),
    [
        ("image", "r.example/web", image(f"r.example/web@{Digest.of(b'x')}")),
        ("image", "r.example:5000/web", image(f"r.example:5000/web@{Digest.of(b'x')}")),
        ("image", "r.example/web", image("r.example/web:1.25.3-alpine")),
        ("os-package", "tool", closure(("tool", "1.2-3+deb12u1", 9))),
        ("os-package", "tool", closure(("tool", "1:9.2p1-2", 9))),
    ],
)
def test_what_nobody_can_compare_is_left_to_a_person_and_not_to_silence(
    kind: str, name: str, artifact: LockedArtifact
) -> None:
    (found,) = matching([advisory(kind, name, "<2.0")], [artifact])
    assert not found.judged


def test_a_version_as_it_is_written_is_judged_whatever_it_looks_like() -> None:
    (found,) = matching([advisory("os-package", "tool", "1.2-3+deb12u1")], [closure(("tool", "1.2-3+deb12u1", 9))])
    assert found.judged


def test_a_licence_is_what_the_image_states_or_nothing() -> None:
    assert licence(image("r.example/web:1", "Apache-2.0 AND MIT")) == "Apache-2.0 AND MIT"
    assert licence(image("r.example/web:1")) is None


def test_a_file_of_advisories_is_read(tmp_path: Path) -> None:
    one = {"id": "CVE-2026-1", "severity": "high", "kind": "image", "name": "r.example/web", "versions": ["<1.2.3"]}
    (tmp_path / "a.json").write_text(json.dumps({**HEAD, "advisories": [one]}))
    assert read(tmp_path / "a.json")[0].severity == "high"


@pytest.mark.parametrize(
    "value",
    [
        {},
        {**HEAD, "advisories": [{"id": "x"}]},
        {**HEAD, "advisories": [{"id": "CVE-1", "kind": "image", "name": "x", "versions": []}]},
        {**HEAD, "advisories": [{"id": "CVE-1", "kind": "image", "name": "x", "versions": ["<nonsense"]}]},
        {**HEAD, "advisories": [{"id": "CVE-1", "kind": "what", "name": "x", "versions": ["1"]}]},
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, value: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(DefinitionError) as caught:
        read(tmp_path / "a.json")
    assert caught.value.reference == "advisories-invalid"
