from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bundles.definition import FileEntry, KitEntry, Location
from bundles.sources import files
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError

KIT = Location(input="kit")


def inputs(folder: Path, name: str = "dryport-kit-0.1.0-linux-amd64.tar") -> Inputs:
    (folder / name).write_bytes(b"kit")
    return Inputs(folder, {"kit": folder / name}, folder)


def test_the_kits_tag_is_its_version_and_platform(tmp_path: Path) -> None:
    artifact = files.resolve_kit(KitEntry(file=KIT), inputs(tmp_path))
    assert artifact.ref == "dryport/kit:0.1.0-linux-amd64"


def test_a_kits_version_may_hold_a_hyphen(tmp_path: Path) -> None:
    artifact = files.resolve_kit(KitEntry(file=KIT), inputs(tmp_path, "dryport-kit-0.1.0-rc.1-linux-amd64.tar"))
    assert artifact.ref == "dryport/kit:0.1.0-rc.1-linux-amd64"


@pytest.mark.parametrize("name", ["kit.tar", "dryport-kit-0.1.0-linux-arm64.tar", "dryport-kit--linux-amd64.tar"])
def test_a_file_that_is_not_named_like_the_kit_for_this_platform_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        files.resolve_kit(KitEntry(file=KIT), inputs(tmp_path, name))
    assert caught.value.reference == "kit-misnamed"
    assert caught.value.seen == name


def test_a_pinned_file_must_have_its_checksum(tmp_path: Path) -> None:
    right, wrong = hashlib.sha256(b"kit").hexdigest(), hashlib.sha256(b"another").hexdigest()
    given = inputs(tmp_path)
    assert files.resolve_kit(KitEntry(file=KIT, sha256=right), given).blobs[1].digest.hex == right
    with pytest.raises(DefinitionError) as caught:
        files.resolve_file(FileEntry(name="notes", file=KIT, sha256=wrong), "1.0.0", given)
    assert caught.value.reference == "checksum-mismatch"
    assert wrong in caught.value.expected
    assert right in caught.value.seen


def test_an_input_that_was_not_given_is_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        files.resolve_kit(KitEntry(file=Location(input="other")), inputs(tmp_path))
    assert caught.value.reference == "input-missing"
    assert "--input other=PATH" in caught.value.hint
    assert caught.value.seen == "kit"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DefinitionError) as caught:
        files.resolve_file(FileEntry(name="x", file=Location(path="folder")), "1.0.0", inputs(tmp_path))
    assert caught.value.reference == "source-missing"
