"""`dryport registry` and `dryport pack`, run as a person or a service runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bundles.archive.reader import read_head
from bundles.archive.writer import sign_in_place
from bundles.trust.roles import Statement, sign_release
from bundles.trust.verify import fingerprint
from installer.cli.main import main
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_MANIFEST
from registry.packs.artifact import pack_archive, pack_manifest
from registry.packs.reading import read_folder
from registry.server.users import Users
from registry.store.store import Store
from tests.attacks.publisher import Publisher
from tests.authority import Authority
from tests.contracts.test_content_source import fill
from tests.sample_bundles import Sample

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, a certificate, users, a password, a store with a pack, and what a service is told."""
    place = tmp_path_factory.mktemp("site with a space")
    authority = Authority(place)
    authority.ca.rename(place / "ca.pem")
    identity = authority.issue()
    identity.certificate.rename(place / "server.pem")
    identity.key.rename(place / "server.key")
    (place / "password").write_text(f"{PASSWORD}\n")
    users, password = str(place / "users"), str(place / "password")
    run("registry", "user", "add", "pull", "--users", users, "--password-file", password, "--grant", "pull:*")
    with Store.open(place / "store") as store:
        add_pack(fill(store), place / "pack")
    (place / "config.yaml").write_text(
        "listen: 127.0.0.1:0\ncertificate: server.pem\nkey: server.key\nusers: users\nstore: store\nbundles: []\n"
    )
    return place


def add_pack(store: Store, folder: Path) -> None:
    folder.mkdir()
    (folder / "pack.json").write_text('{"name": "web", "version": "1.0.0", "layer": "addon"}')
    (folder / "values.yaml").write_text("pack: {content: {images: [{image: 'registry.example.org/web:1.0'}]}}")
    data = b"".join(pack_archive(folder))
    metadata = read_folder(folder).metadata
    layer = Descriptor("application/octet-stream", Digest.of(data), len(data))
    store.put_blob(metadata.repository, layer.digest, [data])
    store.put_blob(metadata.repository, Digest.of(EMPTY_BYTES), [EMPTY_BYTES])
    store.put_manifest(metadata.repository, pack_manifest(metadata, layer), OCI_MANIFEST, [metadata.tag])


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command with --json and return its one object."""
    capsys.readouterr()
    seen = run(*arguments, "--json")
    out, err = capsys.readouterr()
    assert seen == code, err
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


@contextmanager
def serving(*arguments: str) -> Iterator[dict[str, Any]]:
    """Run `registry serve` as a process of its own, until it is told to end."""
    command = [sys.executable, "-c", "from installer.cli.main import main; main()", "registry", "serve", "--json"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        while (line := process.stdout.readline()) and line != "}\n":
            lines.append(line)
        try:
            yield json.loads("".join([*lines, line]))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


def published(sample: Sample, path: Path) -> Sequence[str]:
    """Build and sign a bundle today; return the options that trust it."""
    publisher, now = Publisher(), datetime.now(UTC).replace(microsecond=0)
    sample.build(path)
    with read_head(path) as head:
        index = head.index
    said = Statement("sample", "1.0.0", 1, ("linux/amd64",), now - timedelta(minutes=5), now + timedelta(days=9))
    sign_in_place(path, sign_release(index, said, publisher.roots, publisher.release))
    root = path.with_name("1.root.json")
    root.write_bytes(publisher.roots[0])
    return "--root", str(root), "--fingerprint", str(fingerprint(publisher.roots[0]))


def access(folder: Path) -> Sequence[str]:
    return "--ca", str(folder / "ca.pem"), "--user", "pull", "--password-file", str(folder / "password")


def test_a_service_serves_what_its_file_says_and_ends_when_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving("--config", str(folder / "config.yaml")) as ready:
        assert "spectro-packs/archive/web" in ready["sources"][0]["repositories"]
        store = str(tmp_path / "copy")
        first = told(capsys, "registry", "import", "--from", ready["url"], "--store", store, *access(folder))
        assert (first["repositories"], first["bytes_copied"] > 9 << 20, first["bytes_shared"]) == (3, True, 0)
        again = told(capsys, "registry", "import", "--from", ready["url"], "--store", store, *access(folder))
        assert again["copied"] == 0
        (pack,) = told(capsys, "pack", "list", "--registry", ready["url"], *access(folder))["packs"]
        assert (pack["name"], pack["version"], pack["layer"]) == ("web", "1.0.0", "addon")
        assert pack["images"] == ["registry.example.org/web:1.0"]
    status = told(capsys, "registry", "status", "--store", store)
    assert (len(status["repositories"]), status["missing"]) == (3, [])


def test_a_bundle_is_served_in_place_and_imported_from_the_server_and_from_the_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "b.tar"
    trust = published(Sample.small(), bundle)
    before = bundle.stat().st_mtime_ns
    server = ("--certificate", str(folder / "server.pem"), "--key", str(folder / "server.key"))
    users = ("--users", str(folder / "users"), "--listen", "127.0.0.1:0")
    with serving("--bundle", str(bundle), *trust, *server, *users) as ready:
        (source,) = ready["sources"]
        assert "sample 1.0.0, sequence 1, verified" in source["source"]
        store = ("--store", str(tmp_path / "over-https"))
        remote = told(capsys, "registry", "import", "--from", ready["url"], *store, *access(folder))
    store = ("--store", str(tmp_path / "from-file"))
    direct = told(capsys, "registry", "import", "--from", str(bundle), *store, *trust)
    assert remote["bytes_copied"] == direct["bytes_copied"] + direct["bytes_shared"]  # by what this disk can
    for name in ("from", "store", "bytes_copied", "bytes_shared"):
        del remote[name], direct[name]
    assert remote == direct
    assert (direct["repositories"], direct["absent"]) == (4, 1)
    assert bundle.stat().st_mtime_ns == before


def test_a_bundle_with_a_flipped_byte_is_imported_up_to_the_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample, bundle = Sample.small(), tmp_path / "b.tar"
    trust = published(sample, bundle)
    data = bytearray(bundle.read_bytes())
    app = next(blob for blob in sample.sources.values() if len(blob) == 30_000)
    data[data.index(app) + 777] ^= 1
    bundle.write_bytes(data)
    store = ("--store", str(tmp_path / "store"))
    error = told(capsys, "registry", "import", "--from", str(bundle), *store, *trust, code=4)
    assert error["reference"] == "copy-incomplete"
    assert len(error["findings"]) == 1
    assert "registry.example.org/quickstart/web" not in {
        one["name"] for one in told(capsys, "registry", "status", *store)["repositories"] if one["tags"]
    }


def test_a_pack_served_under_a_false_name_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(tmp_path / "store") as store:
        add_pack(store, tmp_path / "pack")
        manifest = store.manifest(
            "spectro-packs/archive/web", store.resolve("spectro-packs/archive/web", "1.0.0").digest
        )
        assert manifest is not None
        store.put_manifest("spectro-packs/archive/web", *manifest, ["9.9.9"])
    for name in ("ca.pem", "server.pem", "server.key", "users", "password", "config.yaml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with serving("--config", str(tmp_path / "config.yaml")) as ready:
        seen = told(capsys, "pack", "list", "--registry", ready["url"], *access(folder), code=8)
    assert [finding["reference"] for finding in seen["error"]["findings"]] == ["pack-name"]


def test_a_wrong_password_ends_with_the_registrys_exit_code(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wrong").write_text("wrong\n")
    with serving("--config", str(folder / "config.yaml")) as ready:
        login = ("--ca", str(folder / "ca.pem"), "--user", "pull", "--password-file", str(tmp_path / "wrong"))
        error = told(capsys, "pack", "list", "--registry", ready["url"], *login, code=8)
    assert error["reference"] == "registry-denied"


def test_a_registry_that_is_not_there_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = told(capsys, "pack", "list", "--registry", "https://127.0.0.1:1", *access(folder), code=8)
    assert error["reference"] == "registry-unreachable"
    assert "127.0.0.1:1" in error["where"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("listen: 127.0.0.1:0\nstores: x\n", "stores"),
        ("listen: 127.0.0.1\n", "listen"),
        ("listen: 127.0.0.1:99999\n", "listen"),
        ("- a\n", "(top)"),
    ],
)
def test_a_configuration_with_a_fault_names_the_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, field: str
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    error = told(capsys, "registry", "serve", "--config", str(tmp_path / "config.yaml"), code=6)
    assert error["reference"] == "config-invalid"
    assert [finding["where"] for finding in error["findings"]] == [field]


@pytest.mark.parametrize(
    ("arguments", "reference"),
    [
        (["registry", "serve", "--config", "c.yaml", "--store", "s"], "config-and-options"),
        (["registry", "serve"], "nothing-to-serve"),
        (["registry", "serve", "--store", "s", "--listen", "here"], "listen-malformed"),
        (["registry", "serve", "--store", "s", "--listen", "0.0.0.0:0"], "tls-missing"),
        (["registry", "serve", "--bundle", "b.tar"], "trust-missing"),
        (["registry", "import", "--from", "b.tar", "--store", "s"], "trust-missing"),
        (["registry", "import", "--from", "b.tar", "--store", "s", "--user", "u"], "options-mixed"),
        (["registry", "import", "--from", "https://h", "--store", "s", "--home", "."], "options-mixed"),
        (["registry", "scrub", "--store", "s", "--ca", "ca.pem"], "options-mixed"),
        (["registry", "scrub", "--store", "s", "--from", "https://h", "--home", "."], "options-mixed"),
        (["registry", "import", "--from", "http://h", "--store", "s"], "registry-plain-http"),
        (["registry", "import", "--from", "ftp://h", "--store", "s"], "registry-address"),
        (["mirror", "probe", "https://h/Team"], "registry-address"),
        (["mirror", "probe", "h/team:1.0"], "registry-address"),
        (["mirror", "probe", "http://192.0.2.1/team"], "registry-plain-http"),
        (["mirror", "probe", "h/team", "--proxy", "http://me:secret@h:1"], "proxy-address"),
        (["mirror", "probe", "h/team", "--proxy", "https://h:1"], "proxy-address"),
        (["mirror", "probe", "h/team", "--token-realm", "https://h/path"], "registry-address"),
        (["pack", "list", "--registry", "https://h", "--user", "u"], "login-incomplete"),
    ],
)
def test_a_command_line_that_cannot_be_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    reference: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told(capsys, *arguments, code=2)["reference"] == reference


def test_a_store_that_is_not_there_is_not_made_by_asking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "registry", "status", "--store", str(tmp_path / "no"), code=6)["reference"] == "store-missing"
    assert not (tmp_path / "no").exists()


def test_a_store_that_lost_a_blob_is_called_incomplete(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(tmp_path / "store") as store:
        add_pack(store, tmp_path / "pack")
    (file,) = (path for path in (tmp_path / "store").rglob(Digest.of(EMPTY_BYTES).hex))
    file.unlink()
    seen = told(capsys, "registry", "status", "--store", str(tmp_path / "store"), code=6)
    assert (seen["kind"], seen["error"]["reference"]) == ("RegistryStatus", "store-incomplete")


def test_a_user_is_added_then_changed_and_the_password_stays_out_of_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    users, password = tmp_path / "users", tmp_path / "password"
    users.write_text("# who may do what\n")
    users.chmod(0o640)
    for attempt, (word, grant) in enumerate([("added", "pull:*"), ("changed", "pull,push:team/*")]):
        password.write_text(f"{PASSWORD}{attempt}\n")
        common = ("--users", str(users), "--password-file", str(password), "--grant", grant)
        assert told(capsys, "registry", "user", "add", "deploy", *common)[word] is True
    text = users.read_text()
    assert text.startswith("# who may do what\n")
    assert PASSWORD not in text
    assert users.stat().st_mode & 0o777 == 0o640
    found = Users.parse(text).find("deploy")
    assert found is not None
    assert found.has_password(f"{PASSWORD}1")
    assert [str(one) for one in found.grants] == ["pull,push:team/*"]
