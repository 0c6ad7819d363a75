"""A registry over TLS with a user's password, and what foreign clients need to reach it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.conftest import absent, need
from tests.lab import podman
from tests.lab.peers import PEERS, PeerError, peer
from tests.oci_samples import Image

USER, PASSWORD = "pusher", "correct horse"
PLACES = ("team", "upstream.example.org")


@dataclass(frozen=True)
class Site:
    """A registry over TLS; `docker` is what a client keeps that logged in, `stranger` one with a wrong password."""

    folder: Path
    store: Store
    address: str
    certificates: Path
    docker: Path
    stranger: Path

    @property
    def ca(self) -> Path:
        """The authority that signed the registry's certificate."""
        return self.certificates / "ca.crt"

    @property
    def login(self) -> Path:
        """The file with the credentials."""
        return self.docker / "config.json"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a client in Go: whom it trusts, who it is, and nothing of this machine's user."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "DOCKER_CONFIG": str(self.docker),
            "SSL_CERT_FILE": str(self.ca),
        }

    def run(self, *command: str | Path, expected: int = 0, cwd: Path | None = None) -> str:
        """Run a client and return all it said."""
        program, *rest = command
        return run(foreign(str(program)), *map(str, rest), expected=expected, environment=self.environment, cwd=cwd)

    def layout(self, sample: Image, tag: str = "1.0", name: str = "layout") -> Path:
        """Write an image as an OCI layout."""
        return sample.write_layout(self.folder / name, tag)


@contextmanager
def served(folder: Path) -> Iterator[Site]:
    """Serve a new store over TLS for one user, who may do everything below the two `PLACES`."""
    authority = Authority(folder)
    server = authority.issue("127.0.0.1")
    users = folder / "users"
    users.write_text(user_line(USER, PASSWORD, [f"pull,push,delete:{place}/*" for place in PLACES]) + "\n")
    certificates = folder / "certs.d"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(authority.ca.read_bytes())
    settings = Settings(certificate=server.certificate, key=server.key, users=users)
    with Store.open(folder / "store") as store, Running(settings, store) as running:
        address = f"127.0.0.1:{running.port}"
        docker = write_login(folder / "docker", address, f"{USER}:{PASSWORD}")
        stranger = write_login(folder / "stranger", address, f"{USER}:wrong")
        yield Site(folder, store, address, certificates, docker, stranger)


def write_login(folder: Path, address: str, credentials: str) -> Path:
    """Write the file that `docker login` would."""
    folder.mkdir()
    path = folder / "config.json"
    path.write_text(json.dumps({"auths": {address: {"auth": base64.b64encode(credentials.encode()).decode()}}}))
    path.chmod(0o600)
    return folder


def foreign(name: str) -> str:
    """Return a client's path, the pinned one where there is a recipe to build it; skip, or fail in CI, without it."""
    if name not in PEERS:
        need(name)
        return name
    try:
        return str(peer(name))
    except PeerError as error:
        absent(str(error))
        raise


def run(*command: str, expected: int = 0, environment: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program and return all it said; it must end well, or not, as expected."""
    done = subprocess.run(
        command,
        env=environment or podman.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
    )
    assert (done.returncode == 0) == (expected == 0), f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr
