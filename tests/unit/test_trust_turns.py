"""Several release signers in turn, from the command line, on a bundle that travels from one to the next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.sample_bundles import Sample
from tests.unit.test_trust_ceremony import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("alice", "bob", "first", "second"):
        assert run("key", "new", name, "--out", tmp_path) == 0
    roots = [part for name in ("alice", "bob") for part in ("--root", tmp_path / f"{name}.pub")]
    releases = [part for name in ("first", "second") for part in ("--release", tmp_path / f"{name}.pub")]
    asked = ("--release-threshold", "2", "--expires", "36500", "--out", tmp_path / "roots/1.root.json")
    assert run("key", "init", *roots, *releases, *asked) == 0
    for name in ("alice", "bob"):
        assert run("key", "sign-root", tmp_path / "roots/1.root.json", "--key", tmp_path / f"{name}.pem") == 0
    Sample.small().build(tmp_path / "x.tar")
    return tmp_path


def sign(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    given = (
        "--root",
        folder / "roots",
        "--key",
        folder / f"{name}.pem",
        "--sequence",
        3,
        "--best-before",
        "2099-12-31",
    )
    capsys.readouterr()
    assert run("bundle", "sign", folder / "x.tar", *given, "--json") == 0
    value: dict[str, object] = json.loads(capsys.readouterr().out)
    return value


def verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    root = folder / "roots/1.root.json"
    capsys.readouterr()
    assert run("key", "show", root, "--json") == 0
    paper = json.loads(capsys.readouterr().out)["fingerprint"]
    code = run("bundle", "verify", folder / "x.tar", "--root", root, "--fingerprint", paper)
    return code, capsys.readouterr().err


def test_a_bundle_is_refused_until_the_second_of_two_signers_has_signed_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert sign(folder, "first", capsys)["missing"] == 1
    code, said = verify(folder, capsys)
    assert code == 5
    assert "release-below-threshold" in said
    assert sign(folder, "first", capsys)["missing"] == 1  # the same key again counts once
    assert sign(folder, "second", capsys)["missing"] == 0
    assert verify(folder, capsys)[0] == 0
