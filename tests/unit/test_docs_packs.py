"""What the pages on packs and profiles show can be typed, and is read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from installer.cli.main import cli
from registry.packs.macro_functions import FUNCTIONS
from registry.packs.macros import SYSTEM
from registry.profiles.model import Profile

DOCS = Path(__file__).parents[2] / "docs"
PACKS, PROFILES = (DOCS / "packs.md").read_text(), (DOCS / "profiles.md").read_text()
COMMANDS = re.findall(r"^    dryport (.*)$", PACKS + PROFILES, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_pages_is_one(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("packs/web", "dist"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)
    command: click.Command = cli
    context = click.Context(cli, info_name="dryport")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command, context = found, click.Context(found, context, found.name)
    command.make_context(command.name, words, parent=context)


def test_the_profile_of_the_page_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PROFILES, re.DOTALL)
    (tmp_path / "profile.yaml").write_text(block)
    profile = Profile.load(tmp_path / "profile.yaml")
    assert [entry.pack for entry in profile.packs] == ["csi-driver-nfs", "web"]


def test_the_page_lists_every_function_and_system_macro() -> None:
    listed = PACKS[PACKS.index("\nFunctions: ") : PACKS.index("\nSystem macros")]
    assert set(re.findall(r"`(\w+)`", listed)) == set(FUNCTIONS)
    macros = set(re.findall(r"`([a-z.]+)`", PACKS[PACKS.index("\nSystem macros") :]))
    infra = {name for name in SYSTEM if ".infra." in name}  # told as the same three
    assert {f"spectro.system.{name}" for name in macros} >= SYSTEM - infra
