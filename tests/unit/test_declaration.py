"""YAML that people write, or that somebody made odd on purpose: refused in words, whichever file it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundles.definition import Definition
from installer.cli.serving import ServeConfig
from installer.site.config import Declared
from registry.errors import DryportError
from tests.site_samples import SITE

ODD = {
    "nested too deeply": b"[" * 5000,
    "a day that is none": b"a: 2024-13-45\n",
    "a number of 5000 digits": b"a: " + b"9" * 5000,
    "no text": b"a: \xff\xfe\n",
    "no end": b"#" * (2 << 20),
    "a key twice": b"a: 1\na: 2\n",
}
READERS = {"definition": Definition.read, "site": Declared.read, "config": ServeConfig.read}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("kind", READERS)
def test_odd_yaml_is_refused_as_what_it_is(tmp_path: Path, kind: str, data: bytes) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(data)
    with pytest.raises(DryportError) as caught:
        READERS[kind](path)
    assert caught.value.reference == f"{kind}-unreadable"
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_of_two_lists_of_hosts_none_vanishes_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(f"{SITE}hosts: [{{name: n3, address: 10.0.0.3, key: id}}]\n")
    with pytest.raises(DryportError, match="a key is there twice"):
        Declared.read(path)


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(DryportError, match="more than"):
        Declared.read(Path("/dev/zero"))
