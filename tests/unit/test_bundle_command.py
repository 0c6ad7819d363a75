"""`dryport bundle` from a definition to a verified bundle, and what each kind of bad input gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bundles.trust import memory
from bundles.trust.keys import generate, read_public
from bundles.trust.roles import new_root, sign_root
from bundles.trust.signers import open_signer
from bundles.trust.verify import TrustState, fingerprint
from installer.cli.main import main
from registry.store import durable
from tests.attacks.publisher import DAY, NOW

DEFINITION = """\
apiVersion: dryport/v1
kind: Bundle
product: sample
version: 1.2.3
platforms: [linux/amd64]
files:
- {name: beside, file: {path: beside.bin}}
- {name: given, file: {input: given}}
"""


class Desk:
    """A folder with a definition, keys and a root, and the command line in front of it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        durable.create(folder / "bundle.yaml", DEFINITION.encode())
        durable.create(folder / "beside.bin", b"beside" * 1000)
        durable.create(folder / "given.bin", b"given" * 1000)
        for name in ("alice", "bob", "release"):
            generate(name, folder, None)
        root = new_root(
            [read_public(folder / "alice.pub"), read_public(folder / "bob.pub")],
            2,
            [read_public(folder / "release.pub")],
            1,
            NOW + 9000 * DAY,
        )
        for name in ("alice", "bob"):
            root = sign_root(root, open_signer(str(folder / f"{name}.pem")))
        durable.create(folder / "1.root.json", root)
        self.root, self.fingerprint = root, str(fingerprint(root))
        self.definition, self.out = str(folder / "bundle.yaml"), str(folder / "b.tar")

    def run(self, verb: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Return a verb's exit code and its one JSON object."""
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(["bundle", verb, *arguments, "--json"])
        out = self._capsys.readouterr().out
        return int(caught.value.code or 0), json.loads(out) if out else {}

    def lock(self) -> tuple[int, dict[str, Any]]:
        return self.run("lock", self.definition, *self.given)

    def build(self) -> tuple[int, dict[str, Any]]:
        return self.run("build", self.definition, "--out", self.out, *self.given)

    def sign(self, sequence: int = 1, *, best_before: str = "2040-01-31") -> tuple[int, dict[str, Any]]:
        key = str(self.folder / "release.pem")
        term = ("--sequence", str(sequence), "--best-before", best_before)
        return self.run("sign", self.out, "--root", str(self.folder), "--key", key, *term)

    def published(self) -> Desk:
        assert [step()[0] for step in (self.lock, self.build, self.sign)] == [0, 0, 0]
        return self

    @property
    def given(self) -> tuple[str, str]:
        return "--input", f"given={self.folder / 'given.bin'}"

    @property
    def trust(self) -> tuple[str, ...]:
        return "--root", str(self.folder / "1.root.json"), "--fingerprint", self.fingerprint


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_from_definition_to_verified_bundle(desk: Desk):
    code, locked = desk.lock()
    assert (code, locked["kind"], locked["artifacts"]) == (0, "BundleLocked", 2)
    code, built = desk.build()
    assert (code, built["kind"], built["unchanged"]) == (0, "BundleBuilt", False)
    assert built["size"] == Path(desk.out).stat().st_size
    code, signed = desk.sign(7)
    assert (code, signed["kind"], signed["sequence"]) == (0, "BundleSigned", 7)
    code, seen = desk.run("verify", desk.out, *desk.trust)
    assert (code, seen["kind"]) == (0, "BundleVerified")
    assert (seen["product"], seen["version"], seen["sequence"], seen["index"]) == ("sample", "1.2.3", 7, built["index"])
    assert seen["bestBefore"] == "2040-01-31T23:59:59+00:00"


def test_building_twice_and_signing_twice_changes_no_content(desk: Desk):
    desk.published()
    code, built = desk.build()
    assert (code, built["unchanged"], built["fetched"]) == (0, True, 0)
    assert desk.sign(2)[0] == 0
    assert desk.run("verify", desk.out, *desk.trust)[1]["sequence"] == 2


def test_a_site_judges_by_what_it_remembers(desk: Desk):
    desk.published()
    home = desk.folder / "home"
    durable.make_folder(home)
    code, error = desk.run("verify", desk.out, "--home", str(home))
    assert (code, error["reference"]) == (5, "trust-not-begun")
    memory.save(home / "trust.json", TrustState.begin(desk.root, fingerprint(desk.root)))
    before = (home / "trust.json").read_bytes()
    assert desk.run("verify", desk.out, "--home", str(home))[0] == 0
    assert (home / "trust.json").read_bytes() == before, "verify changes nothing"


def test_at_least_refuses_an_older_release(desk: Desk):
    code, error = desk.published().run("verify", desk.out, *desk.trust, "--at-least", "2")
    assert (code, error["family"]) == (5, "trust")


def test_verify_without_any_trust_is_no_verification(desk: Desk):
    desk.published()
    assert desk.run("verify", desk.out)[1]["reference"] == "trust-missing"
    for odd in (desk.trust[:2], desk.trust[2:], (*desk.trust, "--home", str(desk.folder))):
        code, error = desk.run("verify", desk.out, *odd)
        assert (code, error["reference"]) == (2, "trust-ambiguous")
    code, error = desk.run("verify", desk.out, *desk.trust[:3], "sha256:12")
    assert (code, error["reference"]) == (2, "fingerprint-malformed")
    code, error = desk.run("verify", desk.out, *desk.trust[:3], "sha256:" + "0" * 64)
    assert (code, error["reference"]) == (5, "root-fingerprint-mismatch")


def test_inspect_reads_an_unsigned_bundle_and_says_that_nothing_is_verified(desk: Desk):
    desk.lock()
    desk.build()
    code, seen = desk.run("inspect", desk.out)
    assert (code, seen["verified"], seen["signed"]) == (0, False, False)
    assert [one["ref"] for one in seen["artifacts"]] == [
        "dryport/file/beside:1.2.3",
        "dryport/file/given:1.2.3",
        "dryport/lock/sample:1.2.3",
    ]
    desk.sign()
    assert desk.run("inspect", desk.out)[1]["verified"] is False
    assert desk.run("inspect", desk.out, *desk.trust)[1]["verified"] is True


def test_a_person_is_warned_by_inspect(desk: Desk, capsys: pytest.CaptureFixture[str]):
    desk.published()
    with pytest.raises(SystemExit):
        main(["bundle", "inspect", desk.out])
    out, err = capsys.readouterr()
    assert "UNVERIFIED" in err
    assert "signed, not checked" in out


def test_a_lock_of_an_older_definition_is_refused(desk: Desk):
    desk.lock()
    durable.append(desk.folder / "bundle.yaml", b"# changed\n")
    code, error = desk.build()
    assert (code, error["reference"]) == (3, "lock-outdated")
    assert "dryport bundle lock" in error["hint"]


def test_building_before_locking_says_so(desk: Desk):
    code, error = desk.build()
    assert (code, error["reference"]) == (3, "lock-missing")


def test_a_source_that_changed_after_the_lock_stops_the_build(desk: Desk):
    desk.lock()
    durable.replace(desk.folder / "beside.bin", b"something else")
    code, error = desk.build()
    assert (code, error["reference"]) == (3, "source-changed")
    assert "dryport/file/beside:1.2.3" in error["where"]
    assert not Path(desk.out).exists()


@pytest.mark.parametrize("given", ["given", "=x", "given="])
def test_an_input_without_name_or_path_is_refused(desk: Desk, given: str):
    code, error = desk.run("lock", desk.definition, "--input", given)
    assert (code, error["reference"]) == (2, "input-malformed")


@pytest.mark.parametrize("day", ["tomorrow", "2040-13-01", "2001-01-01"])
def test_a_best_before_that_is_no_day_to_come_is_refused(desk: Desk, day: str):
    desk.lock()
    desk.build()
    code, error = desk.sign(best_before=day)
    assert (code, error["reference"]) == (2, "statement-invalid")


def test_damage_exits_as_media_and_forgery_as_trust(desk: Desk):
    desk.published()
    size = Path(desk.out).stat().st_size
    durable.overwrite(Path(desk.out), size - 5_000, b"!")
    code, error = desk.run("verify", desk.out, *desk.trust)
    assert (code, error["reference"]) == (4, "bundle-damaged")
    assert error["findings"][0]["where"].startswith(f"{desk.out} bytes ")
    durable.overwrite(Path(desk.out), 2_000, b"!")
    assert desk.run("verify", desk.out, *desk.trust)[0] == 5
