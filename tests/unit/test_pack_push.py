"""Packs in a registry of ours: pushed once for each version, listed, tagged, pulled back as they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installer.cli.main import main
from registry.errors import DefinitionError, RemoteError
from registry.oci.manifest import OCI_MANIFEST, TITLE, Manifest
from registry.packs.artifact import PACK_CONFIG, PACK_LAYER, pack_archive
from registry.packs.place import Place
from registry.packs.pushing import Built
from registry.packs.reading import read_folder
from tests.corpus import needs_corpus, real_packs
from tests.pack_registry import Site, running
from tests.pack_samples import archive, make_pack


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("registry")) as one:
        yield one


@pytest.fixture(scope="module")
def token_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("tokens"), tokens=True) as one:
        yield one


def built(folder: Path) -> Built:
    return Built.of(read_folder(folder).metadata, pack_archive(folder))


def version(folder: Path, text: str, name: str = "web", **files: str) -> Path:
    return make_pack(folder / text, metadata={"name": name, "version": text}, files=dict(files))


def put(site: Site, folder: Path, name: str, place: Place | None = None, user: str = "push") -> Any:  # noqa: ANN401
    with site.pushing(name, place, user) as push:
        return push.put(built(folder))


def tags(site: Site, name: str) -> dict[str, str]:
    """Return every tag of a pack with the tag of the version that it names."""
    repository = f"spectro-packs/archive/{name}"
    with site.shelf() as shelf:
        digests = {tag: str(shelf.remote.resolve(repository, tag).digest) for tag in shelf.remote.tags(repository)}  # type: ignore[union-attr]
    own = {digest: tag for tag, digest in digests.items() if not tag.endswith(".x") and "__" not in tag}
    return {tag: own[digest] for tag, digest in digests.items()}


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    seen = run(*arguments, "--json")
    out, err = capsys.readouterr()
    assert seen == code, err
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


def test_a_pack_is_pushed_in_palettes_form_and_pulled_back_as_it_was(site: Site, tmp_path: Path) -> None:
    folder = version(tmp_path, "1.0.0+a", "form")
    done = put(site, folder, "form")
    assert (done.repository, done.tag, done.is_new) == ("spectro-packs/archive/form", "1.0.0_a", True)
    with site.shelf() as shelf:
        data = shelf.remote.manifest(done.repository, done.digest)
        assert data is not None
        manifest = Manifest.parse(*data)
        found = shelf.get("form", "1.0.0_a")
    config, layer = manifest.blobs
    assert (manifest.media_type, config.media_type, layer.media_type) == (OCI_MANIFEST, PACK_CONFIG, PACK_LAYER)
    assert layer.annotations == {TITLE: "form-1.0.0+a.tar.gz"}
    assert found.archive == b"".join(pack_archive(folder))
    assert done.digest == built(folder).digest  # what a lock would say


def test_the_same_again_changes_nothing_and_another_content_is_refused(site: Site, tmp_path: Path) -> None:
    folder = version(tmp_path, "1.0.0", "again")
    first = put(site, folder, "again")
    second = put(site, folder, "again")
    assert (second.is_new, second.digest, second.moved) == (False, first.digest, ())
    (folder / "README.md").write_text("# Other\n")
    with pytest.raises(DefinitionError) as caught:
        put(site, folder, "again")
    assert caught.value.reference == "pack-version-taken"
    with site.shelf() as shelf:
        assert shelf.get("again", "1.0.0").digest == first.digest


def test_the_same_files_packed_by_another_tool_are_the_same_pack(site: Site, tmp_path: Path) -> None:
    folder = version(tmp_path, "1.0.0", "foreign")
    files = {
        f"foreign-1.0.0/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
    foreign = Built.of(read_folder(folder).metadata, [archive(files)])
    with site.pushing("foreign") as push:
        first = push.put(foreign)
    assert foreign.layer.digest != built(folder).layer.digest
    done = put(site, folder, "foreign")
    assert (done.is_new, done.digest) == (False, first.digest)


def test_a_flavour_is_another_content_of_the_same_version_in_a_place_of_its_own(site: Site, tmp_path: Path) -> None:
    plain = put(site, version(tmp_path, "1.0.0", "flavoured"), "flavoured")
    fips = version(tmp_path / "fips", "1.0.0", "flavoured", **{"README.md": "# FIPS\n"})
    done = put(site, fips, "flavoured", Place.of("", "fips"))
    assert done.repository == "fips/spectro-packs/archive/flavoured"
    assert done.digest != plain.digest


def test_parent_tags_follow_the_newest_release_below_them(site: Site, tmp_path: Path) -> None:
    for text in ("14.4.3", "14.4.10", "14.5.0-rc1", "14.4.4", "13.0.0"):
        put(site, version(tmp_path, text, "parents"), "parents")
    assert tags(site, "parents") == {
        **{text: text for text in ("14.4.3", "14.4.10", "14.5.0-rc1", "14.4.4", "13.0.0")},
        "14.4.x": "14.4.10",
        "14.x": "14.4.10",
        "13.0.x": "13.0.0",
        "13.x": "13.0.0",
    }


def test_parent_tags_are_set_anew_after_a_version_went_away(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("1.0.0", "1.0.1"):
        put(site, version(tmp_path, text, "gone"), "gone")
    site.store.delete_tag("spectro-packs/archive/gone", "1.0.1")
    assert told(capsys, "pack", "tag", "gone", *site.options())["tags"] == ["1.0.x", "1.x"]
    assert tags(site, "gone")["1.0.x"] == "1.0.0"
    assert told(capsys, "pack", "tag", "gone", *site.options())["tags"] == []


def test_a_group_is_a_tag_in_front_of_the_version(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_pack(tmp_path / "p", metadata={"name": "grouped", "group": "LTS"})
    assert "lts__1.0.0" in put(site, folder, "grouped").moved
    made = told(capsys, "pack", "tag", "grouped:1.0.0", "--group", "Gold", *site.options())
    assert made["tags"] == ["gold__1.0.0"]
    assert tags(site, "grouped")["gold__1.0.0"] == "1.0.0"
    missing = told(capsys, "pack", "tag", "grouped:9.9.9", "--group", "x", *site.options(), code=8)
    assert missing["reference"] == "pack-missing"


def test_who_may_only_add_pushes_and_leaves_parent_tags(site: Site, tmp_path: Path) -> None:
    put(site, version(tmp_path, "1.0.0", "adding"), "adding")
    done = put(site, version(tmp_path, "1.0.1", "adding"), "adding", user="create")
    assert (done.is_new, done.moved, done.held) == (True, (), ("1.0.x", "1.x"))
    assert tags(site, "adding")["1.x"] == "1.0.0"


def test_who_may_not_push_is_told_so_at_once(site: Site, tmp_path: Path) -> None:
    with pytest.raises(RemoteError) as caught:
        put(site, version(tmp_path, "1.0.0", "denied"), "denied", user="pull")
    assert caught.value.reference == "registry-denied"


def test_a_registry_that_wants_tokens_is_pushed_to_as_well(token_site: Site, tmp_path: Path) -> None:
    done = put(token_site, version(tmp_path, "1.0.0", "tokens"), "tokens")
    assert done.is_new
    with token_site.shelf(user="pull") as shelf:
        assert shelf.get("tokens", "1.0.0").digest == done.digest


def test_the_commands_lead_from_a_folder_to_a_registry_and_back(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_pack(tmp_path / "web-2.0.0", metadata={"name": "way", "version": "2.0.0"})
    made = told(capsys, "pack", "build", str(folder), "--out", str(tmp_path / "dist"))
    assert made["archive"] == "sha256:" + hashlib.sha256(Path(made["file"]).read_bytes()).hexdigest()
    pushed = told(capsys, "pack", "push", made["file"], *site.options())
    assert (pushed["digest"], pushed["new"]) == (made["digest"], True)
    assert not told(capsys, "pack", "push", str(folder), *site.options())["new"]
    listed = told(capsys, "pack", "list", *site.options("pull"))["packs"]
    (row,) = [one for one in listed if one["name"] == "way"]
    assert (row["version"], row["digest"], row["tags"]) == ("2.0.0", made["digest"], ["2.0.x", "2.x"])
    out = str(tmp_path / "out")
    pulled = told(capsys, "pack", "pull", "way:2.0.0", "--out", out, *site.options("pull"))
    assert built(Path(pulled["path"])).digest == built(folder).digest
    assert (
        told(capsys, "pack", "pull", "way:2.0.0", "--out", out, *site.options("pull"), code=2)["reference"]
        == "out-exists"
    )
    whole = told(capsys, "pack", "pull", "way:2.x", "--archive", "--out", out, *site.options("pull"))
    assert Path(whole["path"]).read_bytes() == Path(made["file"]).read_bytes()
    assert sorted(path.name for path in Path(out).iterdir()) == ["way-2.0.0", "way-2.0.0.tar.gz"]


def test_a_pack_with_errors_is_neither_built_nor_pushed_unless_they_are_accepted(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_pack(tmp_path / "bad-1.0.0", metadata={"name": "bad", "charts": ["charts/none.tgz"]})
    for verb in (["build", str(folder), "--out", str(tmp_path / "dist")], ["push", str(folder), *site.options()]):
        refused = told(capsys, "pack", *verb, code=3)
        assert refused["reference"] == "pack-refused"
        assert [one["reference"] for one in refused["findings"]] == ["listed-file-missing"]
    assert not (tmp_path / "dist").exists()
    allowed = ("--allow", "listed-file-missing=comes with the operator")
    assert told(capsys, "pack", "push", str(folder), *site.options(), *allowed)["new"]
    assert (
        told(capsys, "pack", "push", str(folder), *site.options(), "--allow", "x", code=2)["reference"]
        == "allow-unknown"
    )


def test_an_archive_of_another_form_is_not_pushed(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_pack(tmp_path / "web-1.0.0")
    files = {f"x/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (tmp_path / "x.tar.gz").write_bytes(archive(files))
    refused = told(capsys, "pack", "push", str(tmp_path / "x.tar.gz"), *site.options(), code=3)
    assert refused["reference"] == "pack-archive-form"


def test_lint_speaks_to_people_and_to_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_pack(tmp_path / "web-1.0.0", files={"logo.png": None, "charts/web-1.0.0.tgz": b"no"})
    assert run("pack", "lint", str(folder), "--static") == 3
    out, err = capsys.readouterr()
    assert "error [chart-unreadable] charts/web-1.0.0.tgz" in out
    assert "do: add logo.png" in out
    assert "pack-refused" in err
    seen = told(capsys, "pack", "lint", str(folder), "--static", code=3)
    assert seen["packs"][0]["counts"]["errors"] == 1
    assert seen["packs"][0]["method"] == "static"


def test_images_are_listed_with_how_they_were_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_pack(tmp_path / "web-1.0.0")
    static = told(capsys, "pack", "images", str(folder), "--static")
    assert (static["method"], [one["possible"] for one in static["images"]]) == ("static", [True])
    assert run("pack", "images", str(folder), "--static") == 0
    assert "method: static" in capsys.readouterr().out


@needs_corpus
def test_every_real_pack_goes_to_a_registry_and_comes_back(site: Site) -> None:
    for folder in real_packs():
        one = built(folder)
        done = put(site, folder, one.metadata.name, Place.of("real"))
        assert (done.is_new, done.digest) == (True, one.digest)
    with site.shelf(Place.of("real")) as shelf:
        found = list(shelf.packs())
        assert shelf.faults == []
    assert len(found) == 42
