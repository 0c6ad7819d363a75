"""What a definition with a fault gets from `dryport bundle lock`: exit code 3, the fault's name, and no lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from installer.cli.main import main
from tests.lab.demo_images import File, Layout

IMAGE = "registry.example.org/test/app:1.0"
HEAD = "apiVersion: dryport/v1\nkind: Bundle\nproduct: test\nversion: 1.0.0\nplatforms: [linux/amd64]\n"
GOOD = f"images: [{{image: '{IMAGE}', layout: {{input: images}}}}]\n"


def run(tmp_path: Path, entries: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    layout = Layout(tmp_path / "layout")
    layout.add_image(IMAGE, [{"bin/app": File(b"app")}], {"Cmd": ["/bin/app"]})
    layout.close()
    (tmp_path / "notes.txt").write_text("notes\n")
    definition = tmp_path / "bundle.yaml"
    definition.write_text(HEAD + entries)
    with pytest.raises(SystemExit) as done:
        main(["bundle", "lock", str(definition), "--input", f"images={tmp_path / 'layout'}", "--json"])
    return int(done.value.code or 0), json.loads(capsys.readouterr().out)


def test_a_good_definition_is_locked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = run(tmp_path, GOOD, capsys)
    assert code == 0
    assert (tmp_path / "bundle.lock.json").exists()


@pytest.mark.parametrize(
    ("entries", "reference", "told"),
    [
        ("imagse: []\n", "definition-invalid", "imagse"),
        ("images: [{image: nginx, layout: {path: x}}]\n", "definition-invalid", "neither tag nor digest"),
        ("images: [{image: 'a.b/c:1', layout: {path: /etc}}]\n", "definition-invalid", "relative"),
        ("images: [{image: 'a.b/c:1', layout: {}}]\n", "definition-invalid", "either path or input"),
        ("apt: [{name: x, suites: [s], packages: ['tool-']}]\n", "definition-invalid", "packages"),
        ("apt: [{name: x, suites: ['s\\nTrusted: yes'], packages: [tool]}]\n", "definition-invalid", "suites"),
        (f"{GOOD}files: []\n{GOOD}", "definition-unreadable", "a key is there twice"),
        ("packs: [\n", "definition-unreadable", "bundle.yaml"),
        (GOOD.replace("app:1.0", "absent:1.0"), "image-missing", "registry.example.org/test/absent:1.0"),
        (GOOD.replace("input: images", "input: image"), "input-missing", "--input image=PATH"),
        (GOOD.replace("input: images", "path: no-layout"), "source-missing", "no-layout"),
        (
            f"files: [{{name: notes, file: {{path: notes.txt}}, sha256: '{'0' * 64}'}}]\n",
            "checksum-mismatch",
            "0" * 64,
        ),
        ("packs: [{folder: {path: no-pack}}]\n", "source-missing", "no-pack"),
        ("playbooks: {folder: {path: no-plays}}\n", "source-missing", "no-plays"),
        (GOOD.replace("]\n", f", {{image: '{IMAGE}', layout: {{input: images}}}}]\n"), "name-taken", IMAGE),
    ],
)
def test_a_fault_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], entries: str, reference: str, told: str
) -> None:
    code, said = run(tmp_path, entries, capsys)
    assert (code, said["reference"]) == (3, reference)
    assert told in json.dumps(said)
    assert said["hint"] or said["findings"]
    assert not (tmp_path / "bundle.lock.json").exists()


def test_all_faults_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = GOOD.replace("app:1.0", "absent:1.0") + "files: [{name: x, file: {path: absent.txt}}]\n"
    code, said = run(tmp_path, entries, capsys)
    findings = said["findings"]
    assert isinstance(findings, list)
    assert code == 3
    assert [one["reference"] for one in findings] == ["image-missing", "source-missing"]
