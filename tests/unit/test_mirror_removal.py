"""What a source no longer has, and the file between the two phases of removing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import DefinitionError
from registry.mirror.copy import copy
from registry.mirror.removal import Removal, Tagged, surplus
from registry.mirror.target import StoreTarget
from registry.oci.digest import Digest
from registry.progress import Silent
from registry.store.store import Store
from tests.mirror_samples import fill


def test_only_tags_that_the_source_lost_are_surplus(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a") as source, Store.open(tmp_path / "b") as target:
        fill(source, count=8, size=300)
        copy(source, StoreTarget(target), Silent())
        named = source.resolve("team/app1", "1.1")
        assert named
        source.delete_tag("team/app1", "1.1")
        names = list(source.repositories())
        assert surplus(source, target, names, lambda name: name) == [Tagged("team/app1", "1.1", named.digest)]


def test_the_file_says_what_was_planned(tmp_path: Path) -> None:
    removal = Removal("https://r.example.org:443", (Tagged("team/app", "1.0", Digest.of(b"x")),))
    removal.write(tmp_path / "removal.yaml")
    assert Removal.read(tmp_path / "removal.yaml") == removal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "apiVersion: dryport/v1\nkind: Mirrors\ntarget: x\n",
        "apiVersion: dryport/v1\nkind: MirrorRemoval\n",
        "apiVersion: dryport/v1\nkind: MirrorRemoval\ntarget: x\ntags: [1]\n",
        "apiVersion: dryport/v1\nkind: MirrorRemoval\ntarget: x\ntags: [{repository: ../x, tag: a, digest: b}]\n",
        "apiVersion: dryport/v1\nkind: MirrorRemoval\ntarget: x\ntags: 5\n",
        "{",
    ],
)
def test_any_other_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "removal.yaml").write_text(text)
    with pytest.raises(DefinitionError) as caught:
        Removal.read(tmp_path / "removal.yaml")
    assert caught.value.reference == "removal-invalid"
