"""The linter finds in every real pack what a person found who read it, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from registry.packs.helm import Helm
from registry.packs.lint.report import lint
from registry.packs.reading import read_files
from tests.corpus import needs_corpus, real_packs
from tests.pack_findings import DATA, differences, expected, read, spelled, told


@needs_corpus
@pytest.mark.parametrize("pack", real_packs(), ids=lambda path: path.name)
def test_the_linter_finds_what_a_reader_found(pack: Path, helm: Helm) -> None:
    report = lint(read_files(pack), helm)
    seen = Counter(told(finding) for finding in report.findings)
    apart = list(differences(seen, expected(read(DATA / f"{pack.name}.yaml"))))
    assert not apart, "\n".join(["", pack.name, *apart])


@needs_corpus
def test_every_real_pack_was_read() -> None:
    assert {path.name for path in DATA.iterdir()} == {f"{pack.name}.yaml" for pack in real_packs()}


@pytest.mark.parametrize("path", sorted(DATA.iterdir()), ids=lambda path: path.name)
def test_a_reader_took_the_reading_that_the_notes_say(path: Path) -> None:
    written = read(path)
    found = expected(written)
    for note in written["unsure"]:
        name, about = note["name"], note["about"]
        is_in = any(one == name for one, _ in found) if about == "*" else (name, spelled(name, about)) in found
        assert note["why"].startswith("in findings" if is_in else "not in findings"), note
