"""skopeo and podman push to and pull from our registry, with TLS checked and a user's password."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.oci.manifest import DOCKER_MANIFEST
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.conftest import need, need_root
from tests.lab import podman
from tests.oci_samples import Image, image

PASSWORD = "correct horse"


@dataclass(frozen=True)
class Site:
    """A registry over TLS, and what a client needs to reach it."""

    folder: Path
    store: Store
    address: str
    certificates: Path
    login: Path
    stranger: Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    authority = Authority(tmp_path)
    server = authority.issue("127.0.0.1")
    users = tmp_path / "users"
    users.write_text(user_line("pusher", PASSWORD, ["pull,push:team/*"]) + "\n")
    certificates = tmp_path / "certs.d"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(authority.ca.read_bytes())
    settings = Settings(certificate=server.certificate, key=server.key, users=users)
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        address = f"127.0.0.1:{running.port}"
        login = write_login(tmp_path / "auth.json", address, f"pusher:{PASSWORD}")
        stranger = write_login(tmp_path / "stranger.json", address, "pusher:wrong")
        yield Site(tmp_path, store, address, certificates, login, stranger)


def write_login(path: Path, address: str, credentials: str) -> Path:
    path.write_text(json.dumps({"auths": {address: {"auth": base64.b64encode(credentials.encode()).decode()}}}))
    path.chmod(0o600)
    return path


def run(*command: str, expected: int = 0) -> str:
    done = subprocess.run(command, env=podman.environment(), capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode == 0) == (expected == 0), f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


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
    login = site.stranger if what == "a wrong password" else site.login
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
