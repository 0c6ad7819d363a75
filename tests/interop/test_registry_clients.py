"""skopeo and podman push to and pull from our registry, with TLS checked and a user's password."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.oci.manifest import DOCKER_MANIFEST
from tests.conftest import need, need_root
from tests.interop.registry_site import Site, run, served
from tests.lab import podman
from tests.oci_samples import Image, image


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as opened:
        yield opened


def layout(site: Site, sample: Image) -> str:
    return f"oci:{sample.write_layout(site.folder / 'layout', '1.0')}:1.0"


def test_skopeo_pushes_and_pulls_an_image_without_changing_a_byte(site: Site) -> None:
    need("skopeo")
    sample = image()
    remote = f"docker://{site.address}/team/app:1.0"
    access = ("--authfile", str(site.login))
    run("skopeo", "copy", "--preserve-digests", *access, "--dest-cert-dir", str(site.certificates),
        layout(site, sample), remote)  # fmt: skip
    assert site.store.manifest("team/app", Digest.of(sample.manifest)) is not None

    seen = json.loads(run("skopeo", "inspect", *access, "--cert-dir", str(site.certificates), remote))
    assert seen["Digest"] == str(Digest.of(sample.manifest))
    assert seen["RepoTags"] == ["1.0"]

    target = site.folder / "pulled"
    run("skopeo", "copy", "--preserve-digests", *access, "--src-cert-dir", str(site.certificates),
        remote, f"oci:{target}:1.0")  # fmt: skip
    for digest, data in sample.blobs.items():
        assert (target / "blobs/sha256" / digest.hex).read_bytes() == data


def test_skopeo_pushes_docker_media_types_and_gets_them_back(site: Site) -> None:
    need("skopeo")
    remote = f"docker://{site.address}/team/app:docker"
    access = ("--authfile", str(site.login))
    run("skopeo", "copy", "--format", "v2s2", *access, "--dest-cert-dir", str(site.certificates),
        layout(site, image()), remote)  # fmt: skip
    raw = run("skopeo", "inspect", "--raw", *access, "--cert-dir", str(site.certificates), remote)
    assert json.loads(raw)["mediaType"] == DOCKER_MANIFEST


def test_skopeo_mounts_a_layer_that_another_repository_holds(site: Site) -> None:
    need("skopeo")
    sample = image()
    access = ("--authfile", str(site.login))
    to = ("--dest-cert-dir", str(site.certificates))
    run("skopeo", "copy", *access, *to, layout(site, sample), f"docker://{site.address}/team/one:1")
    run("skopeo", "copy", *access, *to, "--src-cert-dir", str(site.certificates),
        f"docker://{site.address}/team/one:1", f"docker://{site.address}/team/two:1")  # fmt: skip
    assert site.store.has_blob("team/two", Digest.of(sample.layer))


@pytest.mark.parametrize("what", ["a wrong password", "a repository without a grant", "an unknown authority"])
def test_skopeo_is_refused_with(what: str, site: Site) -> None:
    need("skopeo")
    login = site.stranger / "config.json" if what == "a wrong password" else site.login
    name = "other/app" if what == "a repository without a grant" else "team/app"
    trust = ("--dest-cert-dir", str(site.certificates)) if what != "an unknown authority" else ()
    said = run("skopeo", "copy", "--authfile", str(login), *trust, layout(site, image()),
               f"docker://{site.address}/{name}:1", expected=1)  # fmt: skip
    expected = {
        "a wrong password": "unauthorized",
        "a repository without a grant": "403 (forbidden)",
        "an unknown authority": "certificate signed by unknown authority",
    }
    assert expected[what] in said.lower()
    assert list(site.store.repositories()) == []


def test_podman_pushes_and_pulls_an_image(site: Site) -> None:
    need("podman")
    need_root()
    access = ("--authfile", str(site.login), "--cert-dir", str(site.certificates))
    remote = f"{site.address}/team/podman:1.0"
    with tempfile.TemporaryDirectory(prefix="dp-") as short:  # podman takes no longer path than 50 characters
        places = ("--root", f"{short}/root", "--runroot", f"{short}/run", "--tmpdir", f"{short}/tmp")
        program = (*podman.PROGRAM, *places, "--storage-driver", "vfs")
        loaded = run(*program, "pull", "-q", layout(site, image())).strip().splitlines()[-1]
        run(*program, "push", *access, loaded, remote)
        run(*program, "rmi", "--all", "--force")
        run(*program, "pull", "-q", *access, remote)
        assert json.loads(run(*program, "inspect", remote))[0]["Config"]["Cmd"] == ["/hello.txt"]
    assert list(site.store.tags("team/podman")) == ["1.0"]


def test_skopeo_lists_and_deletes(site: Site) -> None:
    need("skopeo")
    sample = image()
    access = ("--authfile", str(site.login))
    remote = f"docker://{site.address}/team/app"
    for tag in ("1", "2"):
        run("skopeo", "copy", *access, "--dest-cert-dir", str(site.certificates),
            f"oci:{site.layout(sample, '1.0', tag)}:1.0", f"{remote}:{tag}")  # fmt: skip
    listed = json.loads(run("skopeo", "list-tags", *access, "--cert-dir", str(site.certificates), remote))
    assert listed["Tags"] == ["1", "2"]
    run("skopeo", "delete", *access, "--cert-dir", str(site.certificates), f"{remote}:1")
    assert list(site.store.tags("team/app")) == []  # skopeo deletes what a tag names, and so its other tags
