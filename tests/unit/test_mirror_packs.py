"""Copies of packs with the images that they start, and of profiles: found at the source, complete or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from installer.cli.main import main
from registry.errors import UsageError
from registry.mirror.layout import Layout
from registry.mirror.packs import Packs
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_MANIFEST
from registry.packs.artifact import PACK_CONFIG, PACK_LAYER, pack_archive, pack_manifest
from registry.packs.helm import Helm
from registry.packs.reading import read_folder
from registry.store.store import Store
from tests.mirror_samples import image
from tests.oci_samples import descriptor
from tests.unit.test_closure import HOST, SIDE, TOOL, WEB, write_pack

PACK = "spectro-packs/archive/web"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with a pack in two versions, and images; one of them no pack wants."""
    with Store.open(tmp_path / "store") as store:
        for reference in (WEB, SIDE, TOOL, f"{HOST}/team/unwanted:1"):
            name, _, tag = reference.rpartition(":")
            image(store, name, reference, [reference.encode()], [tag])
        for version in ("1.0.0", "1.1.0"):
            put_pack(store, tmp_path / version, version, [WEB] if version == "1.0.0" else [WEB, TOOL])
    return tmp_path


def put_pack(store: Store, folder: Path, version: str, declared: list[str], base: str = "") -> None:
    write_pack(folder, declared=declared)
    path = folder / "pack.json"
    path.write_text(path.read_text().replace('1.0.0", "layer', f'{version}", "layer'))
    repository = f"{base}{PACK}"
    archive = b"".join(pack_archive(folder))
    for data in (archive, EMPTY_BYTES):
        store.put_blob(repository, Digest.of(data), [data])
    metadata = read_folder(folder).metadata
    manifest = pack_manifest(metadata, descriptor(archive, PACK_LAYER))
    assert PACK_CONFIG in manifest.decode()
    store.put_manifest(repository, manifest, OCI_MANIFEST, [version, "1.x"])


def lines(folder: Path, helm: Helm | None, *names: str) -> tuple[Sequence[str], list[str]]:
    with Store.open(folder / "store") as store:
        packs = Packs(store, helm=helm)
        return sorted(packs.lines(names)), [one.message for one in packs.faults]


def test_a_pack_brings_what_it_declares_and_what_it_starts(folder: Path, helm: Helm) -> None:
    assert lines(folder, helm, "web:1.0.0") == ([SIDE, WEB, f"{PACK}:1.0.0"], [])


def test_versions_are_chosen_by_range_and_parent_tags_are_none(folder: Path, helm: Helm) -> None:
    assert lines(folder, helm, "web:>=1.1")[0] == [SIDE, TOOL, WEB, f"{PACK}:1.1.0"]
    assert lines(folder, helm, "web")[0] == [SIDE, TOOL, WEB, f"{PACK}:1.0.0", f"{PACK}:1.1.0"]


def test_what_the_source_does_not_hold_is_named(folder: Path, helm: Helm) -> None:
    with Store.open(folder / "store") as store:
        store.delete_tag(f"{HOST}/team/side", "2.1")
    _, faults = lines(folder, helm, "web:1.0.0", "absent", "web:9.9.9")
    assert faults == [
        f"pack web-1.0.0 starts {SIDE}, which the source does not hold",
        "the source has no pack absent",
        "the source has no pack web:9.9.9",
    ]


@pytest.mark.parametrize("text", ["Web!", "web:", "web:<nonsense"])
def test_what_is_no_pack_is_refused(folder: Path, helm: Helm, text: str) -> None:
    with pytest.raises(UsageError):
        lines(folder, helm, text)


def copied(folder: Path, *options: str) -> tuple[int, set[str]]:
    with pytest.raises(SystemExit) as caught:
        main(["mirror", "copy", f"store:{folder / 'store'}", f"oci:{folder / 'out'}", *options])
    layout = Layout(folder / "out") if (folder / "out/index.json").exists() else None
    names = {f"{name}:{tag}" for name in layout.repositories() for tag in layout.tags(name)} if layout else set()
    return int(caught.value.code or 0), names


def test_a_copy_of_a_pack_holds_it_and_its_images_and_nothing_else(
    folder: Path, helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert helm
    monkeypatch.setenv("HOME", str(folder))
    assert copied(folder, "--pack", "web:1.0.0") == (0, {SIDE, WEB, f"{PACK}:1.0.0"})


def test_a_copy_of_a_profile_holds_its_packs(folder: Path, helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert helm
    monkeypatch.setenv("HOME", str(folder))
    profile = folder / "profile.yaml"
    profile.write_text(
        "apiVersion: dryport/v1\nkind: Profile\nname: all\nversion: 1.0.0\ntype: add-on\n"
        "packs: [{pack: web, version: 1.1.0}]\n"
    )
    assert copied(folder, "--profile", str(profile)) == (0, {SIDE, TOOL, WEB, f"{PACK}:1.1.0"})


def test_a_pack_whose_images_are_not_all_there_is_not_copied_at_all(
    folder: Path, helm: Helm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert helm
    monkeypatch.setenv("HOME", str(folder))
    with Store.open(folder / "store") as store:
        store.delete_tag(f"{HOST}/team/side", "2.1")
    code, names = copied(folder, "--pack", "web:1.0.0")
    assert (code, names) == (4, set())
    assert SIDE in capsys.readouterr().err
