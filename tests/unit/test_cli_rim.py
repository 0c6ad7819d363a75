"""What every command does at its rim: with odd names, with what the machine refuses, with words from media."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bundles.archive.layout import index_json
from installer.cli.main import main
from installer.cli.render import shown
from registry.oci.digest import Digest
from tests.sample_bundles import Sample
from tests.site_samples import SITE

ODD = os.fsdecode(b"n\xff")


def types(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_a_name_that_is_no_text_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ODD).mkdir()
    (tmp_path / ODD / "site.yaml").write_text(SITE)
    assert types("site", "init", str(tmp_path / ODD / "site.yaml"), "--json") == 2
    assert json.loads(capsys.readouterr().out)["reference"] == "name-not-text"
    assert [path.name for path in (tmp_path / ODD).iterdir()] == ["site.yaml"]


def test_a_site_below_a_folder_whose_name_is_no_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ODD).mkdir()
    (tmp_path / ODD / "site.yaml").write_text(SITE)
    monkeypatch.chdir(tmp_path / ODD)
    assert types("site", "init", "site.yaml", "--json") == 6
    assert json.loads(capsys.readouterr().out)["reference"] == "site-unreadable"
    assert [path.name for path in (tmp_path / ODD).iterdir()] == ["site.yaml"]


def test_what_the_machine_refuses_is_no_bug_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "site.yaml").write_text(SITE.replace("home: home", "home: file/home"))
    assert types("site", "init", str(tmp_path / "site.yaml"), "--json") == 6
    error = json.loads(capsys.readouterr().out)
    assert (error["reference"], error["hint"]) == ("machine-refused", "see what is there, and name another place")
    assert error["where"].startswith(str(tmp_path / "file"))


def test_a_wrong_command_line_is_one_json_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert types("bundle", "lock", "--json") == 2
    error = json.loads(capsys.readouterr().out)
    assert (error["family"], error["reference"]) == ("usage", "command-line")
    assert "DEFINITION" in error["message"]


def test_what_a_terminal_would_obey_is_spelled_out() -> None:
    assert shown("a\x1b[2Jb\u202ec\r\udcff") == r"a\x1b[2Jb\u202ec\r\udcff"
    assert shown("plain ünïcode\n\tlines") == "plain ünïcode\n\tlines"


def test_an_unverified_bundle_cannot_forge_what_inspect_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample, path = Sample.small(), tmp_path / "b.tar"
    forged = f"\x1b[2K\n{path}: sample 1.0.0, verified"
    artifacts = [one.model_copy(update={"title": forged}) for one in sample.lock.artifacts]
    lock = sample.lock.model_copy(update={"artifacts": artifacts})
    assert b"verified" in index_json(lock, Digest.of(b""))
    Sample(lock, sample.sources).build(path)
    assert types("bundle", "inspect", str(path)) == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert [line for line in printed.out.splitlines() if line.startswith(str(path))] == [printed.out.splitlines()[0]]
    assert "NOT SIGNED" in printed.out.splitlines()[0]
