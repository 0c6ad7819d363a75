"""apt's own https method fetches from `/files/` with the CA checked and its login kept out of the address."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_EMPTY, OCI_MANIFEST, TITLE, artifact
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.conftest import absent
from tests.oci_samples import descriptor

HELPER = "/usr/lib/apt/apt-helper"
TITLE_OF = "pool/libc++1_1:16.0~rc1+b2_amd64.deb"
DATA = b"a package " * 5000


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_apt_fetches_a_package_whose_name_needs_quoting(tmp_path: Path, password: str) -> None:
    if shutil.which(HELPER) is None:
        absent(f"{HELPER} is not here; this needs Debian or Ubuntu")
    authority = Authority(tmp_path)
    identity = authority.issue()
    users = tmp_path / "users"
    users.write_text(user_line("host", "right", ["pull:dryport/apt/*"]))
    login = tmp_path / "login"
    settings = Settings(certificate=identity.certificate, key=identity.key, users=users)
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        fill(store)
        login.write_text(f"machine https://127.0.0.1:{running.port} login host password {password}\n")
        target = tmp_path / "got.deb"
        done = subprocess.run(
            [HELPER, "-o", f"Acquire::https::CAInfo={authority.ca}", "-o", f"Dir::Etc::netrc={login}",
             "-o", "Acquire::Retries=0", "-o", "APT::Sandbox::User=root", "download-file",
             f"{running.url}/files/dryport/apt/host/1.0/{TITLE_OF}", str(target)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    if password == "right":
        assert done.returncode == 0, done.stdout + done.stderr
        assert target.read_bytes() == DATA
    else:
        assert done.returncode != 0
        assert "401" in done.stdout + done.stderr


def fill(store: Store) -> None:
    name = "dryport/apt/host"
    for data in (b"{}", DATA):
        store.put_blob(name, Digest.of(data), [data])
    item = descriptor(DATA)
    layer = type(item)(item.media_type, item.digest, item.size, {TITLE: TITLE_OF})
    manifest = artifact("application/vnd.dryport.apt.v1", [layer], config=descriptor(b"{}", OCI_EMPTY))
    store.put_manifest(name, manifest, OCI_MANIFEST, ["1.0"])
