"""`dryport registry` gc, retention, scrub, backup, restore and rebuild, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from installer.cli.main import main
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.store.store import Store
from tests.oci_samples import image

SAMPLE = image(b"kept")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "store"
    with Store.open(place) as store:
        for digest, data in SAMPLE.blobs.items():
            store.put_blob("a", digest, [data])
        store.put_manifest("a", SAMPLE.manifest, OCI_MANIFEST, ["1"])
        store.put_blob("a", Digest.of(b"garbage"), [b"garbage"])
    return place


def told(capsys: pytest.CaptureFixture[str], verb: str, *words: object, code: int = 0) -> Any:  # noqa: ANN401 - JSON
    try:
        seen = main(["registry", verb, *map(str, words), "--json"])
    except SystemExit as error:
        seen = error.code
    assert (seen or 0) == code
    return json.loads(capsys.readouterr().out)


def test_garbage_is_marked_then_freed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    now = ("--store", folder, "--lease", 0, "--grace", 0)
    assert told(capsys, "gc", "--store", folder)["marked_blobs"] == 0
    assert told(capsys, "gc", *now, "--dry-run")["marked_blobs"] == 1
    assert told(capsys, "gc", *now)["freed"] == len(b"garbage")
    assert told(capsys, "gc", *now)["freed"] == 0


def test_retention_tells_first_and_acts_when_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    with Store.open(folder) as store:
        sample = image(b"newer")
        for digest, data in sample.blobs.items():
            store.put_blob("a", digest, [data])
        store.put_manifest("a", sample.manifest, OCI_MANIFEST, ["2"])
    (folder / "policy.yaml").write_text("rules: [{repositories: ['*'], keep: [{tags: '*', previous: 0}]}]")
    for dry in (["--dry-run"], [], ["--dry-run"]):
        seen = told(capsys, "retention", "--store", folder, *dry)
        if dry == []:
            assert [one["tag"] for one in seen["tags"]] == ["1"]
    assert seen["tags"] == []


def test_a_store_goes_through_damage_backup_and_restoration(
    capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    assert told(capsys, "backup", "--store", folder, "--to", tmp_path / "backup")["copied"] == 4
    path = folder / "blobs/sha256" / Digest.of(SAMPLE.layer).hex
    path.write_bytes(b"x" * path.stat().st_size)
    lost = told(capsys, "scrub", "--store", folder, "--look-only", code=6)
    assert lost["reference"] == "content-lost"
    assert lost["findings"][0]["where"] == f"a@{Digest.of(SAMPLE.layer)}"
    assert told(capsys, "scrub", "--store", folder, code=6)
    assert told(capsys, "backup", "--store", folder, "--to", tmp_path / "second", code=4)["findings"]
    assert (
        told(capsys, "restore", "--from", tmp_path / "backup", "--store", folder, code=6)["reference"] == "store-exists"
    )
    again = tmp_path / "again"
    assert told(capsys, "restore", "--from", tmp_path / "backup", "--store", again)["copied"] == 4
    assert told(capsys, "scrub", "--store", again)["damages"] == []


def test_a_lost_index_is_made_anew(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "index.sqlite").unlink()
    assert told(capsys, "gc", "--store", folder, code=6)["reference"] == "store-index-lost"
    assert told(capsys, "rebuild", "--store", folder)["tags"] == 1
    assert told(capsys, "scrub", "--store", folder)["damages"] == []


def test_a_store_that_is_not_there_is_not_begun(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for verb, more in (("gc", ()), ("retention", ()), ("scrub", ()), ("backup", ("--to", tmp_path / "b"))):
        told(capsys, verb, "--store", tmp_path / "none", *more, code=6)
        assert not (tmp_path / "none").exists()
