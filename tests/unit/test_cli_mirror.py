"""`dryport mirror probe` against our own registry: what it prints, how it logs in, and what it leaves behind."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from installer.cli.main import main
from registry.client.capabilities import NAMES, Capabilities
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority

PASSWORD = "correct horse"


@dataclass
class Site:
    folder: Path
    store: Store
    address: str
    ca: Path

    def authfile(self, secret: str = PASSWORD) -> str:
        pair = base64.b64encode(f"push:{secret}".encode()).decode()
        path = self.folder / "auth.json"
        path.write_text(json.dumps({"auths": {f"{self.address}/team": {"auth": pair}}}))
        return str(path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    authority = Authority(tmp_path)
    identity = authority.issue()
    users = tmp_path / "users"
    users.write_text(user_line("push", PASSWORD, ["pull,push,delete:team/*"]) + "\n")
    settings = Settings(certificate=identity.certificate, key=identity.key, users=users)
    with Store.open(tmp_path / "store") as store, Running(settings, store) as server:
        yield Site(tmp_path, store, f"127.0.0.1:{server.port}", authority.ca)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["mirror", "probe", *arguments])
    said = capsys.readouterr()
    assert caught.value.code == code, said.out + said.err
    return said.out if code == 0 or "--json" in arguments else said.err


def test_our_own_registry_can_everything_and_keeps_nothing(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    login = ("--ca", str(site.ca), "--authfile", site.authfile())
    said = run(capsys, f"{site.address}/team", *login, "--json")
    value = json.loads(said)
    assert (value["kind"], value["repository"]) == ("MirrorProbe", "team/dryport-probe")
    found = Capabilities.from_json(value)
    no = {name for name in NAMES if found.can(name) is False}
    assert no == set()
    assert found.finding("upload-status").value == "exact"
    assert [name for name in site.store.repositories() if list(site.store.tags(name))] == []
    lines = run(capsys, f"{site.address}/team", *login).splitlines()
    assert len(lines) == len(NAMES) + 1
    assert any(line.split()[:2] == ["sparse-indexes", "yes"] for line in lines)


def test_a_certificates_folder_serves_as_the_ca(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    place = site.folder / "certs.d" / site.address
    place.mkdir(parents=True)
    (place / "ca.crt").write_bytes(site.ca.read_bytes())
    run(capsys, f"{site.address}/team", "--certs", str(place.parent), "--authfile", site.authfile())
    assert "registry-certificate" in run(capsys, f"{site.address}/team", "--authfile", site.authfile(), code=8)


def test_a_place_where_nothing_may_be_pushed_is_told_with_all_that_was_found(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    password = site.folder / "password"
    password.write_text(PASSWORD)
    options = ("--ca", str(site.ca), "--user", "push", "--password-file", str(password), "--json")
    value = json.loads(run(capsys, f"{site.address}/elsewhere", *options, code=8))
    assert value["error"]["reference"] == "registry-not-writable"
    assert value["capabilities"]["writable"]["value"] is False


def test_a_wrong_password_is_told_without_repeating_it(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, f"{site.address}/team", "--ca", str(site.ca), "--authfile", site.authfile("hunter2"), code=8)
    assert "registry-denied" in said
    assert "hunter2" not in said
