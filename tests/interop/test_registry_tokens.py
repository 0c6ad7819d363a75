"""Foreign clients with the token flow: told to fetch tokens, they push, mount, list, pull and delete with them."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import urllib3

from registry.oci.digest import Digest
from registry.server.accounts import ROBOTS
from registry.server.robots import Robots, new_robot
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.interop.registry_site import Site, write_login
from tests.oci_samples import image

ROBOT = "robot@ci"


@dataclass(frozen=True)
class TokenSite(Site):
    """A registry that hands out tokens; its one user is a robot."""

    def tokens(self) -> int:
        """Return how many tokens were given out."""
        headers = urllib3.make_headers(basic_auth="meter:pw")
        with urllib3.PoolManager(ca_certs=str(self.ca), timeout=20) as pool:
            lines = pool.request("GET", f"https://{self.address}/metrics", headers=headers).data.decode().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("dryport_tokens_issued_total "))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[TokenSite]:
    authority = Authority(tmp_path)
    server = authority.issue("127.0.0.1")
    (tmp_path / "users").write_text(user_line("meter", "pw", ["metrics:*"], iterations=100_000) + "\n")
    robot, secret = new_robot(ROBOT, ["pull,push,delete:team/*"], 1, datetime.now(UTC))
    (tmp_path / "access").mkdir()
    (tmp_path / "access" / ROBOTS).write_bytes(Robots([robot]).as_file())
    certificates = tmp_path / "certs.d"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(authority.ca.read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    settings = Settings(
        port=port,
        certificate=server.certificate,
        key=server.key,
        users=tmp_path / "users",
        access=tmp_path / "access",
        external_url=f"https://{address}",
    )
    with Store.open(tmp_path / "store") as store, Running(settings, store):
        docker = write_login(tmp_path / "docker", address, f"{ROBOT}:{secret}")
        stranger = write_login(tmp_path / "stranger", address, f"{ROBOT}:wrong")
        yield TokenSite(tmp_path, store, address, certificates, docker, stranger)


def test_crane(site: TokenSite) -> None:
    sample = image()
    remote = f"{site.address}/team/app"
    site.run("crane", "push", site.layout(sample), f"{remote}:1.0")
    site.run("crane", "copy", f"{remote}:1.0", f"{site.address}/team/copy:1.0")
    assert site.store.has_blob("team/copy", Digest.of(sample.layer))
    assert site.run("crane", "ls", remote).split() == ["1.0"]
    assert site.run("crane", "catalog", site.address).split() == ["team/app", "team/copy"]
    site.run("crane", "validate", "--remote", f"{remote}:1.0")
    site.run("crane", "delete", f"{remote}@{Digest.of(sample.manifest)}")
    assert "MANIFEST_UNKNOWN" in site.run("crane", "manifest", f"{remote}:1.0", expected=1)
    site.run("crane", "push", site.folder / "layout", f"{site.address}/other/app:1", expected=1)
    assert site.tokens() > 3
    assert list(site.store.repositories()) == ["team/app", "team/copy"]


def test_oras(site: TokenSite) -> None:
    (site.folder / "readme.md").write_text("read me\n")
    remote = f"{site.address}/team/artifact"
    push = ("oras", "push", f"{remote}:1", "--artifact-type", "example/readme", "readme.md:text/markdown")
    site.run(*push, cwd=site.folder)
    site.run("oras", "attach", "--artifact-type", "example/note", f"{remote}:1", "readme.md", cwd=site.folder)
    assert "example/note" in site.run("oras", "discover", f"{remote}:1")
    (site.folder / "pulled").mkdir()
    site.run("oras", "pull", f"{remote}:1", cwd=site.folder / "pulled")
    assert (site.folder / "pulled/readme.md").read_text() == "read me\n"
    assert site.run("oras", "repo", "tags", remote).split() == ["1"]
    site.run("oras", "manifest", "delete", "--force", f"{remote}:1")
    assert site.tokens() > 1


def test_regctl(site: TokenSite) -> None:
    sample = image()
    remote = f"{site.address}/team/app:1.0"
    layout = f"ocidir://{site.layout(sample)}:1.0"
    site.run("regctl", "image", "copy", layout, remote)
    assert site.run("regctl", "tag", "ls", f"{site.address}/team/app").split() == ["1.0"]
    assert json.loads(site.run("regctl", "manifest", "get", "--format", "raw-body", remote)) == json.loads(
        sample.manifest
    )
    site.run("regctl", "tag", "delete", remote)
    assert site.store.tags("team/app") == []
    assert site.tokens() > 1


def test_skopeo(site: TokenSite) -> None:
    sample = image()
    remote = f"docker://{site.address}/team/app:1.0"
    access = ("--authfile", site.login)
    trust = str(site.certificates)
    source = f"oci:{site.layout(sample)}:1.0"
    site.run("skopeo", "copy", *access, "--preserve-digests", "--dest-cert-dir", trust, source, remote)
    copy = f"docker://{site.address}/team/copy:1.0"
    site.run("skopeo", "copy", *access, "--dest-cert-dir", trust, "--src-cert-dir", trust, remote, copy)
    tags = json.loads(site.run("skopeo", "list-tags", *access, "--cert-dir", trust, remote.removesuffix(":1.0")))
    assert tags["Tags"] == ["1.0"]
    site.run("skopeo", "delete", *access, "--cert-dir", trust, remote)
    assert site.store.manifest("team/app", Digest.of(sample.manifest)) is None
    stranger = ("--authfile", site.stranger / "config.json")
    assert "unauthorized" in site.run("skopeo", "inspect", *stranger, "--cert-dir", trust, copy, expected=1).lower()
    assert site.tokens() > 1


def test_podman_logs_in_with_a_token(site: TokenSite) -> None:
    secret = json.loads(site.login.read_text())["auths"][site.address]["auth"]
    name, _, password = base64.b64decode(secret).decode().partition(":")
    arguments = ("--cert-dir", str(site.certificates), "--authfile", str(site.folder / "new.json"))
    site.run("podman", "login", "-u", name, "-p", password, *arguments, site.address)
    assert site.tokens() == 1
    site.run("podman", "login", "-u", name, "-p", "wrong", *arguments, site.address, expected=1)
