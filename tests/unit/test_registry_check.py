"""`dryport registry serve --check`: every fault of a configuration at once, and nothing is changed by looking."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bundles.trust.verify import fingerprint
from installer.cli.checking import check
from installer.cli.main import main
from installer.site import memory as site_memory
from registry.server.handshake import objection
from registry.server.users import user_line
from registry.store.store import Store
from tests.attacks.publisher import Publisher
from tests.authority import Authority
from tests.sample_bundles import Sample
from tests.site_samples import sample
from tests.unit.test_cli_registry import published
from tests.unit.test_site_memory import long_lived

SERVE = "from installer.cli.main import main; main()"
NOBODY = 65534
CONFIG = "listen: 127.0.0.1:0\ncertificate: server.pem\nkey: server.key\nusers: users\nstore: store\nworkers: 1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all that `CONFIG` names."""
    identity = Authority(tmp_path).issue()
    identity.certificate.rename(tmp_path / "server.pem")
    identity.key.rename(tmp_path / "server.key")
    (tmp_path / "users").write_text(user_line("ann", "pw", ["pull:*"], iterations=100_000) + "\n")
    Store.open(tmp_path / "store").close()
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], path: Path, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["registry", "serve", "--config", str(path), "--check", "--json"])
    out, err = capsys.readouterr()
    assert ended.value.code == code, out + err
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


def references(folder: Path) -> list[str]:
    return [one.reference for one in check(folder / "config.yaml").findings]


def everything(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """All that there is below a folder: kinds and modes, times and bytes."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        about = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (about.st_mode, about.st_mtime_ns, about.st_ctime_ns, content)
    return found


@pytest.fixture
def serving(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SERVE, "registry", "serve", "--config", str(folder / "config.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while process.stdout.readline() not in ("ready\n", ""):
            pass
        yield process
        process.kill()


def test_a_configuration_that_is_well_is_told_part_by_part(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "store/policy.yaml").write_text("rules: [{repositories: ['*'], deletes: false}]")
    seen = told(capsys, folder / "config.yaml")
    assert (seen["kind"], seen["isUsable"], seen["warnings"]) == ("RegistryConfig", True, [])
    kinds = [line.split()[0] for line in seen["seen"]]
    assert kinds == ["listens", "certificate", "users", "store", "policy"]


def test_nothing_is_changed_by_looking_at_a_store_that_rests(folder: Path) -> None:
    before = everything(folder)
    assert references(folder) == []
    assert everything(folder) == before


def test_nothing_is_made_where_there_is_no_store_yet(folder: Path) -> None:
    shutil.rmtree(folder / "store")
    before = everything(folder)
    done = check(folder / "config.yaml")
    assert done.findings == ()
    assert any(line.endswith("store, to be made") for line in done.seen)
    assert everything(folder) == before


def test_nothing_is_changed_beside_a_server_that_runs_nor_after_it_was_killed(
    folder: Path, serving: subprocess.Popen[str]
) -> None:
    with Store.open(folder / "store") as store:
        store.put_blob("a", *blob(b"in the log"))
        before = everything(folder)
        assert (folder / "store/index.sqlite-wal").stat().st_size > 0
        assert references(folder) == []
        assert everything(folder) == before
        serving.send_signal(signal.SIGKILL)
        serving.wait()
        copy = folder / "killed"
        shutil.copytree(folder / "store", copy)  # with the log that nobody put into the index
    (folder / "config.yaml").write_text(CONFIG.replace("store: store", "store: killed"))
    before = everything(folder)
    assert references(folder) == []
    assert everything(folder) == before


def blob(data: bytes) -> tuple[Any, list[bytes]]:
    from registry.oci.digest import Digest  # noqa: PLC0415

    return Digest.of(data), [data]


def test_all_faults_are_told_at_once_the_worst_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = folder / "b.tar"
    trust = published(Sample.small(), bundle)
    other = Authority(folder, "other").issue()
    shutil.copy(other.key, folder / "server.key")
    (folder / "users").write_text("ann\nbob:x:pull:*\n# fine\n")
    (folder / "store/policy.yaml").write_text("rules: [{repositories: []}]\nread: true\n")
    (folder / "store/access").mkdir()
    (folder / "store/access/robots").write_text("{")
    (folder / "config.yaml").write_text(
        CONFIG
        + "stores: typo\nexternal_url: http://registry.example.org\nclient_ca: nowhere.pem\nbundles:\n"
        + f"  - {{path: b.tar, root: {trust[1]}, fingerprint: 'sha256:{'0' * 64}'}}\n"
        + "  - {path: missing.tar, root: 1.root.json, fingerprint: " + trust[3] + "}\n  - {path: b.tar}\n"
    )  # fmt: skip
    error = told(capsys, folder / "config.yaml", code=5)["error"]
    assert (error["family"], error["reference"]) == ("trust", "config-unusable")
    found = [(one["family"], one["reference"]) for one in error["findings"]]
    assert [family for family, _ in found] == sorted(
        (family for family, _ in found), key=["trust", "media", "site"].index
    )
    assert sorted(reference for _, reference in found) == sorted(
        [
            *("root-fingerprint-mismatch", "bundle-missing", "trust-missing", "config-field", "certificate-unusable"),
            *(
                "client-ca-unusable",
                "users-invalid",
                "users-invalid",
                "policy-field",
                "policy-field",
                "robots-unreadable",
            ),
        ]
    )


def test_what_does_not_fit_together_is_told_too(folder: Path) -> None:
    (folder / "config.yaml").write_text(
        "listen: 0.0.0.0:0\nkey: server.key\nclient_ca: server.pem\naccel: /-/x\nexternal_url: ftp://x\n"
    )
    assert sorted(references(folder)) == sorted(
        ["nothing-to-serve", "accel-invalid", "tls-incomplete", "tls-incomplete", "external-url-invalid", "tls-missing"]
    )


def test_a_fault_that_serving_meets_has_the_same_name_and_exit_code_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = folder / "config.yaml"
    config.write_text("listen: 0.0.0.0:0\nstore: store\n")
    found = told(capsys, config, code=6)["error"]["findings"][0]
    with pytest.raises(SystemExit) as ended:
        main(["registry", "serve", "--config", str(config), "--json"])
    served = json.loads(capsys.readouterr().out)
    assert ended.value.code == 6
    assert [(one["family"], one["reference"]) for one in (served, found)] == [("site", "tls-missing")] * 2


@pytest.mark.parametrize("text", ["", "- a\n", "listen: [\n", "1: x\n", "listen: 1\nstore: [s]\n", "bundles: [{}]\n"])
def test_a_file_that_is_no_configuration_is_said_to_be_none(folder: Path, text: str) -> None:
    (folder / "config.yaml").write_text(text)
    assert {"config-field", "config-unreadable", "nothing-to-serve"} & set(references(folder))


def test_an_address_that_is_not_this_machines_is_found(folder: Path) -> None:
    (folder / "config.yaml").write_text(CONFIG.replace("127.0.0.1:0", "192.0.2.7:5000"))
    assert references(folder) == ["address-unusable"]


def test_the_port_may_be_the_running_registrys_own(folder: Path, serving: subprocess.Popen[str]) -> None:  # noqa: ARG001
    assert references(folder) == []


def test_a_certificate_that_clients_will_refuse_is_a_warning(folder: Path) -> None:
    (folder / "config.yaml").write_text(CONFIG + "external_url: https://registry.example.org:5000\n")
    (folder / "server.key").chmod(0o644)
    done = check(folder / "config.yaml")
    assert done.findings == ()
    refused, readable = done.warnings
    assert "registry.example.org" in refused
    assert "everybody on this machine may read it" in readable


def test_a_client_in_memory_judges_as_a_client_outside(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, wild = authority.issue("127.0.0.1", "localhost"), authority.issue("*.example.org")
    assert [objection(one.certificate, one.key, host) for host in (None, "localhost", "127.0.0.1")] == ["", "", ""]
    assert "Hostname mismatch" in objection(one.certificate, one.key, "registry.example.org")
    assert objection(wild.certificate, wild.key, "registry.example.org") == ""
    with pytest.raises(OSError, match="mismatch"):
        objection(one.certificate, wild.key)


@pytest.mark.parametrize(
    ("damage", "reference"),
    [
        ("index", "store-unusable"),
        ("newer", "store-version-unknown"),
        ("lost", "store-index-lost"),
        ("file", "store-unusable"),
    ],
)
def test_a_store_that_cannot_be_opened_is_found_and_left_alone(folder: Path, damage: str, reference: str) -> None:
    store = folder / "store"
    index = store / "index.sqlite"
    if damage == "index":
        index.write_bytes(b"no database" * 1000)
    elif damage == "newer":
        with sqlite3.connect(index) as connection:
            connection.execute("UPDATE facts SET value = '99' WHERE name = 'version'")
        connection.close()
    elif damage == "lost":
        (store / "blobs/sha256" / ("0" * 64)).write_bytes(b"")
        index.unlink()
    else:
        shutil.rmtree(store)
        store.write_text("a file")
    before = everything(folder)
    assert references(folder) == [reference]
    assert everything(folder) == before


def test_a_store_with_a_part_that_the_service_may_not_write_is_found() -> None:
    """As after a command that was run as root beside the service."""
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o755)
        Store.open(place / "store").close()
        (place / "config.yaml").write_text("store: store\n")
        if os.geteuid() == 0:
            for path in (place / "store", *(place / "store").rglob("*")):
                os.chown(path, NOBODY, NOBODY)
            os.chown(place / "store/index.sqlite", 0, 0)
        (place / "store/index.sqlite").chmod(0o444)
        with nobody():
            found = check(place / "config.yaml").findings
    finally:
        shutil.rmtree(place)
    assert [(one.reference, one.seen) for one in found] == [
        ("store-unusable", "not this user's to write: index.sqlite")
    ]


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights meanwhile, if this is root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
            os.setegid(0)


def test_a_home_learns_nothing_when_a_bundle_is_only_looked_at(tmp_path: Path) -> None:
    home, publisher = sample(tmp_path).home, Publisher()
    site_memory.begin(home, publisher.roots[0], fingerprint(publisher.roots[0]))
    publisher.rotate()
    long_lived(tmp_path / "b.tar", publisher, sequence=1)
    (tmp_path / "config.yaml").write_text(f"bundles: [{{path: b.tar, home: {home.path}}}]\n")
    before = everything(tmp_path)
    done = check(tmp_path / "config.yaml")
    assert [str(one) for one in done.findings] == []
    assert everything(tmp_path) == before


def test_only_a_configuration_file_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["registry", "serve", "--store", "s", "--check", "--json"])
    assert ended.value.code == 2
    assert json.loads(capsys.readouterr().out)["reference"] == "check-without-config"
