"""crane, oras, regctl and helm push, pull, list and delete, with TLS checked and a user's password."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from tests.interop.registry_site import PASSWORD, USER, Site, served
from tests.oci_samples import descriptor, image


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as opened:
        yield opened


def test_crane_pushes_tags_copies_lists_pulls_and_deletes(site: Site) -> None:
    sample = image()
    digest = str(Digest.of(sample.manifest))
    remote = f"{site.address}/team/app"
    site.run("crane", "push", site.layout(sample), f"{remote}:1.0")
    assert site.run("crane", "digest", f"{remote}:1.0").strip() == digest
    site.run("crane", "tag", f"{remote}:1.0", "latest")
    assert site.run("crane", "ls", remote).split() == ["1.0", "latest"]
    site.run("crane", "copy", f"{remote}:1.0", f"{site.address}/team/copy:1.0")
    assert site.store.has_blob("team/copy", Digest.of(sample.layer))
    assert site.run("crane", "catalog", site.address).split() == ["team/app", "team/copy"]
    site.run("crane", "pull", "--format=oci", f"{remote}:1.0", site.folder / "pulled")
    for blob, data in sample.blobs.items():
        assert (site.folder / "pulled/blobs/sha256" / blob.hex).read_bytes() == data
    assert site.run("crane", "blob", f"{remote}@{Digest.of(sample.config)}") == sample.config.decode()
    site.run("crane", "validate", "--remote", f"{remote}:1.0")
    site.run("crane", "delete", f"{remote}:latest")
    site.run("crane", "delete", f"{remote}@{digest}")
    assert "MANIFEST_UNKNOWN" in site.run("crane", "manifest", f"{remote}:1.0", expected=1)


def test_crane_without_a_login_or_below_another_name_is_refused(site: Site) -> None:
    layout = site.layout(image())
    assert "403 Forbidden" in site.run("crane", "push", layout, f"{site.address}/other/app:1", expected=1)
    (site.docker / "config.json").unlink()
    assert "401 Unauthorized" in site.run("crane", "push", layout, f"{site.address}/team/app:1", expected=1)


def test_oras_pushes_attaches_discovers_lists_pulls_and_deletes(site: Site) -> None:
    remote = f"{site.address}/team/artifact"
    text = site.folder / "readme.md"
    text.write_text("read me\n")
    sbom = site.folder / "sbom.json"
    sbom.write_text("{}")
    site.run("oras", "push", f"{remote}:1,latest", "--artifact-type", "example/readme", "readme.md:text/markdown",
             cwd=site.folder)  # fmt: skip
    site.run("oras", "attach", "--artifact-type", "example/sbom", f"{remote}:1", "sbom.json", cwd=site.folder)
    found = json.loads(site.run("oras", "discover", "--format", "json", f"{remote}:1"))
    referrers = found.get("referrers") or found["manifests"]
    assert [item["artifactType"] for item in referrers] == ["example/sbom"]
    assert site.run("oras", "repo", "tags", remote).split() == ["1", "latest"]  # no fallback tag was written
    assert site.run("oras", "repo", "ls", site.address).split() == ["team/artifact"]
    site.run("oras", "pull", f"{remote}:1", "-o", site.folder / "pulled")
    assert (site.folder / "pulled/readme.md").read_text() == "read me\n"
    site.run("oras", "cp", "-r", f"{remote}:1", f"{site.address}/team/copy:1")
    copied = json.loads(site.run("oras", "discover", "--format", "json", f"{site.address}/team/copy:1"))
    assert len(copied.get("referrers") or copied["manifests"]) == 1
    digest = str(Digest.of(text.read_bytes()))
    assert site.run("oras", "blob", "fetch", "--output", "-", f"{remote}@{digest}") == "read me\n"
    site.run("oras", "manifest", "delete", "--force", f"{remote}:1")
    assert "not found" in site.run("oras", "manifest", "fetch", f"{remote}:latest", expected=1)
    site.run("oras", "blob", "delete", "--force", f"{remote}@{digest}")
    assert not site.store.has_blob("team/artifact", Digest.of(text.read_bytes()))


def test_regctl_copies_in_chunks_lists_attaches_and_deletes_a_tag_alone(site: Site) -> None:
    sample = image(random.Random(7).randbytes(60_000))  # noqa: S311 - many chunks, as it does not shrink
    remote = f"{site.address}/team/app"
    site.run("regctl", "registry", "set", site.address, "--blob-chunk", "4096", "--blob-max", "8192")
    site.run("regctl", "image", "copy", f"ocidir://{site.layout(sample)}:1.0", f"{remote}:1.0")
    site.run("regctl", "image", "copy", f"{remote}:1.0", f"{remote}:2.0")
    assert site.run("regctl", "tag", "ls", remote).split() == ["1.0", "2.0"]
    assert site.run("regctl", "repo", "ls", site.address).split() == ["team/app"]
    assert site.run("regctl", "manifest", "head", f"{remote}:1.0").strip() == str(Digest.of(sample.manifest))
    note = site.folder / "note.txt"
    note.write_text("signed by nobody")
    site.run("regctl", "artifact", "put", "--artifact-type", "example/note", "--subject", f"{remote}:1.0",
             "-f", note)  # fmt: skip
    assert "example/note" in site.run("regctl", "artifact", "list", f"{remote}:1.0")
    site.run("regctl", "tag", "delete", f"{remote}:2.0")
    assert site.run("regctl", "tag", "ls", remote).split() == ["1.0"]
    site.run("regctl", "image", "copy", f"{remote}:1.0", f"ocidir://{site.folder / 'pulled'}:1.0")
    for blob, data in sample.blobs.items():
        assert (site.folder / "pulled/blobs/sha256" / blob.hex).read_bytes() == data
    site.run("regctl", "manifest", "delete", f"{remote}@{Digest.of(sample.manifest)}")
    assert site.store.manifest("team/app", Digest.of(sample.manifest)) is None


def test_regctl_takes_a_fallback_tag_of_another_registry_along(site: Site) -> None:
    sample = image()
    subject = descriptor(sample.manifest, OCI_MANIFEST)
    remote = f"{site.address}/team/app"
    layout = site.layout(sample)
    note = site.folder / "note.txt"
    note.write_text("note")
    site.run("regctl", "artifact", "put", "--artifact-type", "example/note", "--subject",
             f"ocidir://{layout}:1.0", "-f", note)  # fmt: skip
    site.run("regctl", "image", "copy", "--digest-tags", "--referrers", f"ocidir://{layout}:1.0", f"{remote}:1.0")
    assert [item.artifact_type for item in site.store.referrers("team/app", subject.digest)] == ["example/note"]


def test_helm_logs_in_pushes_shows_and_pulls_a_chart(site: Site) -> None:
    chart = site.folder / "web"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.2.3\ndescription: a chart\n")
    (chart / "templates/map.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n")
    site.run("helm", "package", chart, "-d", site.folder)
    packed = site.folder / "web-1.2.3.tgz"
    ca = ("--ca-file", site.ca)
    site.run("helm", "registry", "login", site.address, "-u", USER, "-p", PASSWORD, *ca)
    site.run("helm", "push", packed, f"oci://{site.address}/team/charts", *ca)
    shown = site.run("helm", "show", "chart", f"oci://{site.address}/team/charts/web", "--version", "1.2.3", *ca)
    assert "description: a chart" in shown
    pulled = site.folder / "pulled"
    pulled.mkdir()
    site.run("helm", "pull", f"oci://{site.address}/team/charts/web", "--version", "1.2.3", "-d", pulled, *ca)
    assert (pulled / "web-1.2.3.tgz").read_bytes() == packed.read_bytes()
    assert list(site.store.tags("team/charts/web")) == ["1.2.3"]
