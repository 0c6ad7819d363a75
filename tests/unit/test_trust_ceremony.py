"""The root ceremony from the command line: several people, one after another, each with a key of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundles.trust.verify import TrustState
from installer.cli.main import main
from registry.oci.digest import Digest


def run(*arguments: str | Path) -> int:
    """Run the command line in this process and return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    for name in ("alice", "bob", "carol", "release"):
        assert run("key", "new", name, "--out", tmp_path) == 0
    return tmp_path


def init(people: Path, **options: str) -> int:
    asked = {"threshold": "2", "release-threshold": "1", "expires": "3650"} | options
    roots = [part for name in ("alice", "bob", "carol") for part in ("--root", people / f"{name}.pub")]
    rest = [part for name, value in asked.items() for part in (f"--{name}", value)]
    return run("key", "init", *roots, "--release", people / "release.pub", *rest, "--out", people / "1.root.json")


def shown(people: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    capsys.readouterr()
    assert run("key", "show", people / "1.root.json", "--json") == 0
    value: dict[str, object] = json.loads(capsys.readouterr().out)
    return value


def missing(people: Path, capsys: pytest.CaptureFixture[str]) -> int:
    signatures = shown(people, capsys)["signatures"]
    assert isinstance(signatures, list)
    return int(signatures[0]["missing"])


def test_two_of_three_people_make_a_root_that_a_site_trusts_by_its_fingerprint(
    people: Path, capsys: pytest.CaptureFixture[str]
):
    assert init(people) == 0
    before = shown(people, capsys)
    assert before["complete"] is False
    for name in ("alice", "carol"):
        assert run("key", "sign-root", people / "1.root.json", "--key", people / f"{name}.pem") == 0
    after = shown(people, capsys)
    assert after["complete"] is True
    assert after["fingerprint"] == before["fingerprint"]
    TrustState.begin((people / "1.root.json").read_bytes(), Digest.parse(str(after["fingerprint"])))


def test_a_key_that_signs_again_counts_once_and_changes_nothing(people: Path, capsys: pytest.CaptureFixture[str]):
    init(people)
    signing = ("key", "sign-root", people / "1.root.json", "--key", people / "alice.pem")
    assert run(*signing) == 0
    once = (people / "1.root.json").read_bytes()
    assert run(*signing) == 0
    assert "signed already" in capsys.readouterr().err
    assert (people / "1.root.json").read_bytes() == once
    assert missing(people, capsys) == 1


def test_a_key_that_the_root_does_not_name_cannot_sign_it(people: Path, capsys: pytest.CaptureFixture[str]):
    init(people)
    assert run("key", "sign-root", people / "1.root.json", "--key", people / "release.pem") == 5
    error = capsys.readouterr().err
    assert "key-not-in-root" in error
    assert "alice" in error
    assert missing(people, capsys) == 2


def test_show_tells_a_person_who_has_signed_and_what_to_do_next(people: Path, capsys: pytest.CaptureFixture[str]):
    init(people)
    run("key", "sign-root", people / "1.root.json", "--key", people / "bob.pem")
    capsys.readouterr()
    assert run("key", "show", people / "1.root.json") == 0
    said = capsys.readouterr().out
    assert "NOT COMPLETE" in said
    assert "2 of 3 must sign it, 1 missing" in said
    assert [line.split()[:2] for line in said.splitlines() if "signed  " in line or "not signed" in line] == [
        ["not", "signed"],
        ["signed", "bob"],
        ["not", "signed"],
    ]
    assert "next: dryport key sign-root" in said


def test_a_passphrase_comes_from_a_file_and_never_from_an_argument(people: Path, capsys: pytest.CaptureFixture[str]):
    word = people / "word"
    word.write_text("correct horse\n")
    keys = people / "encrypted"
    assert run("key", "new", "alice", "--out", keys, "--passphrase-file", word) == 0
    (people / "alice.pub").write_bytes((keys / "alice.pub").read_bytes())
    init(people)
    signing = ("key", "sign-root", people / "1.root.json", "--key", keys / "alice.pem")
    assert run(*signing) == 2
    assert "passphrase-needed" in capsys.readouterr().err
    assert run(*signing, "--passphrase-file", word) == 0
    assert missing(people, capsys) == 1
    word.write_text("\n")
    assert run(*signing, "--passphrase-file", word) == 2


def test_a_root_is_not_written_over_another(people: Path, capsys: pytest.CaptureFixture[str]):
    init(people)
    first = (people / "1.root.json").read_bytes()
    assert init(people) == 2
    assert "root-exists" in capsys.readouterr().err
    assert (people / "1.root.json").read_bytes() == first


@pytest.mark.parametrize(
    ("options", "reference"),
    [({"threshold": "4"}, "threshold-unreachable"), ({"release-threshold": "2"}, "threshold-unreachable")],
)
def test_a_threshold_that_nobody_can_reach_is_refused(
    people: Path, capsys: pytest.CaptureFixture[str], options: dict[str, str], reference: str
):
    assert init(people, **options) == 2
    assert reference in capsys.readouterr().err
    assert not (people / "1.root.json").exists()


def test_a_key_that_is_to_be_root_and_release_or_root_twice_is_refused(
    people: Path, capsys: pytest.CaptureFixture[str]
):
    alice, release, out = people / "alice.pub", people / "release.pub", people / "1.root.json"
    common = ("--threshold", "1", "--expires", "9", "--out", out)
    assert run("key", "init", "--root", alice, "--release", alice, *common) == 2
    assert run("key", "init", "--root", alice, "--root", alice, "--release", release, *common) == 2
    assert capsys.readouterr().err.count("key-given-twice") == 2


def test_a_file_that_is_no_root_is_refused_without_a_traceback(people: Path, capsys: pytest.CaptureFixture[str]):
    (people / "1.root.json").write_bytes(b'{"signed": {}}')
    assert run("key", "show", people / "1.root.json") == 5
    assert "metadata-malformed" in capsys.readouterr().err
    assert run("key", "show", people / "nothing.json") == 2


def test_a_place_that_cannot_be_written_is_told_and_is_no_bug(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").touch()
    assert run("key", "new", "alice", "--out", tmp_path / "file/keys") == 2
    assert "file-unwritable" in capsys.readouterr().err


def test_a_key_whose_public_half_was_lost_is_kept_and_its_owner_told_how_to_write_it_again(
    people: Path, capsys: pytest.CaptureFixture[str]
):
    secret = (people / "alice.pem").read_bytes()
    (people / "alice.pub").unlink()
    assert run("key", "new", "alice", "--out", people) == 2
    assert "openssl pkey" in capsys.readouterr().err
    assert (people / "alice.pem").read_bytes() == secret
