from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from registry.errors import DefinitionError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import TITLE, Manifest
from registry.packs.artifact import PACK_CONFIG, PACK_LAYER, pack_archive, pack_manifest
from registry.packs.model import PackMetadata
from registry.packs.reading import Limits, read_archive, read_folder
from tests.corpus import needs_corpus, real_packs

METADATA = {"name": "web", "version": "1.0.0+a", "layer": "addon"}


def make(folder: Path, metadata: object = METADATA, values: str | None = "pack: {content: {images: []}}") -> Path:
    folder.mkdir()
    (folder / "pack.json").write_text(json.dumps(metadata))
    if values is not None:
        (folder / "values.yaml").write_text(values)
    return folder


def tar_gz(*members: tuple[tarfile.TarInfo | str, bytes], form: int = tarfile.PAX_FORMAT) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def notes(folder: Path) -> set[str]:
    return {note.reference for note in read_folder(folder).notes}


def test_name_and_version_come_from_pack_json_and_not_from_the_folder(tmp_path: Path) -> None:
    metadata = read_folder(make(tmp_path / "something-else")).metadata
    assert metadata.title == "web-1.0.0+a"
    assert metadata.repository == "spectro-packs/archive/web"
    assert metadata.tag == "1.0.0_a"


def test_both_spellings_nulls_and_unknown_keys_of_the_field_are_read() -> None:
    value = METADATA | {"KubeManifests": ["manifests/a.yaml"], "charts": None, "constraints": None, "annotations": None}
    metadata = PackMetadata.parse(b"\xef\xbb\xbf" + json.dumps(value | {"commit_msg": "x"}).encode(), "here")
    assert metadata.manifests == ("manifests/a.yaml",)
    assert metadata.charts == ()


def test_a_dependency_without_type_is_optional_and_noted(tmp_path: Path) -> None:
    constraints = {"dependencies": [{"packName": "kubernetes", "layer": "k8s", "minVersion": "1.27"}]}
    folder = make(tmp_path / "p", METADATA | {"constraints": constraints})
    assert read_folder(folder).metadata.constraints.dependencies[0].kind == "optional"
    assert "dependency-without-type" in notes(folder)


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"name": "web", "version": "1"}, "layer"),
        (METADATA | {"layer": "roof"}, "layer"),
        (METADATA | {"name": "../etc"}, "name"),
        (METADATA | {"name": "Web"}, "name"),
        (METADATA | {"version": "a/b"}, "version"),
    ],
)
def test_a_pack_json_that_cannot_be_served_names_the_field(tmp_path: Path, metadata: object, field: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_folder(make(tmp_path / "p", metadata))
    assert caught.value.reference == "pack-invalid"
    assert [finding.where for finding in caught.value.findings] == [field]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"name": 1, "name": 2}', "[]", "nonsense"])
def test_a_hostile_pack_json_is_an_error_and_not_a_crash(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path / "p")
    (folder / "pack.json").write_text(text)
    with pytest.raises(DefinitionError, match=r".") as caught:
        read_folder(folder)
    assert caught.value.reference == "pack-invalid"


def test_declared_images_are_read_and_judged(tmp_path: Path) -> None:
    digest = "sha256:" + "0" * 64
    folder = make(
        tmp_path / "p",
        values=f"""
pack:
  namespaceLabels: {{"a": "v{{{{ .spectro.system.kubernetes.version | substr 0 4 }}}}"}}
  content:
    images:
      - image: registry.example.org:5000/a/b:1
      - iamge: misspelt:1
      - image: ""
      - image: registry.example.org:5000/a/b
      - image: x:latest
      - image: x@{digest}
when: 2001-99-99
""",
    )
    assert [image.reference for image in read_folder(folder).images] == [
        "registry.example.org:5000/a/b:1",
        "misspelt:1",
        "registry.example.org:5000/a/b",
        "x:latest",
        f"x@{digest}",
    ]
    assert notes(folder) == {"image-key-misspelt", "image-entry-empty", "image-without-tag", "image-latest"}


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "a: [", "a: 1\n---\nb: 2", "{a: &x [*y]}"])
def test_hostile_values_are_an_error_and_not_a_crash(tmp_path: Path, text: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_folder(make(tmp_path / "p", values=text))
    assert caught.value.reference == "values-invalid"


def test_a_bomb_of_aliases_costs_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 30)]
    assert read_folder(make(tmp_path / "p", values="\n".join(lines))).images == ()


def test_a_listed_file_that_is_missing_is_noted(tmp_path: Path) -> None:
    assert "listed-file-missing" in notes(make(tmp_path / "p", METADATA | {"charts": ["charts/web.tgz"]}))


def test_a_folder_without_pack_json_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_folder(tmp_path)
    assert caught.value.reference == "pack-json-missing"


def test_a_pack_reads_the_same_from_its_folder_and_from_its_archive(tmp_path: Path) -> None:
    folder = make(tmp_path / "p", METADATA | {"charts": ["charts/web.tgz"]})
    (folder / "charts").mkdir()
    (folder / "charts" / "web.tgz").write_bytes(b"chart")
    archive = b"".join(pack_archive(folder))
    assert read_archive(io.BytesIO(archive), "archive") == read_folder(folder)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert {name.partition("/")[0] for name in tar.getnames()} == {"web-1.0.0+a"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("top", ["any-folder/", "./any-folder/", ""])
def test_archives_of_other_writers_are_read(form: int, top: str) -> None:
    data = json.dumps(METADATA).encode()
    stream = tar_gz(
        (f"{top}logo.png", b"x" * 9_999), (f"{top}pack.json", data), (f"{top}charts/a/pack.json", b"no"), form=form
    )
    assert read_archive(stream, "a").metadata.name == "web"


def _link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def _huge_header() -> bytes:
    info = tarfile.TarInfo("p/pack.json")
    info.type, info.size = tarfile.XHDTYPE, 1 << 33
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"9" * 1024)


@pytest.mark.parametrize(
    ("stream", "reference"),
    [
        (tar_gz(("../pack.json", b"{}")), "pack-archive-invalid"),
        (tar_gz(("/p/pack.json", b"{}")), "pack-archive-invalid"),
        (tar_gz(("p/pack.json", b"{}"), ("p/pack.json", b"{}")), "pack-archive-invalid"),
        (tar_gz(("p/pack.json", b"{}"), ("q/values.yaml", b"")), "pack-archive-invalid"),
        (tar_gz((_link("p/pack.json", "/etc/passwd"), b"")), "pack-archive-invalid"),
        (tar_gz(*((f"p/{n}", b"") for n in range(101))), "pack-archive-invalid"),
        (tar_gz(("p/zeros", bytes(20 << 20)), ("p/pack.json", b"{}")), "pack-archive-invalid"),
        (tar_gz(("p/pack.json", bytes(2 << 20))), "pack-file-large"),
        (io.BytesIO(_huge_header()), "pack-archive-invalid"),
        (io.BytesIO(gzip.compress(b"no tar" * 1000)), "pack-archive-invalid"),
        (io.BytesIO(b"no gzip"), "pack-archive-invalid"),
        (io.BytesIO(tar_gz(("p/pack.json", b"{}"), ("p/x", b"y" * 9999)).getvalue()[:-40]), "pack-archive-invalid"),
    ],
)
def test_a_hostile_archive_is_refused(stream: io.BytesIO, reference: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_archive(stream, "hostile.tar.gz", Limits(files=100, unpacked_bytes=10 << 20))
    assert caught.value.reference == reference


def test_the_artifact_has_the_form_that_palette_scans_for(tmp_path: Path) -> None:
    folder = make(tmp_path / "p")
    data = b"".join(pack_archive(folder))
    manifest = pack_manifest(read_folder(folder).metadata, Descriptor("x/y", Digest.of(data), len(data)))
    config, layer = Manifest.parse(manifest, "application/vnd.oci.image.manifest.v1+json").blobs
    assert (config.media_type, config.size, config.digest) == (PACK_CONFIG, 2, Digest.of(b"{}"))
    assert (layer.media_type, layer.digest, layer.size) == (PACK_LAYER, Digest.of(data), len(data))
    assert layer.annotations == {TITLE: "web-1.0.0+a.tar.gz"}


@needs_corpus
def test_every_real_pack_reads_the_same_from_folder_and_archive() -> None:
    seen: dict[str, list[str]] = {}
    folders = real_packs()
    for folder in folders:
        pack = read_folder(folder)
        assert read_archive(io.BytesIO(b"".join(pack_archive(folder))), folder.name) == pack
        for note in pack.notes:
            seen.setdefault(note.reference, []).append(folder.name)
    assert len(folders) == 42
    assert seen["listed-file-missing"] == ["haproxy-unified-gateway-1.0.1"]
    assert len(seen["images-not-declared"]) == 12
