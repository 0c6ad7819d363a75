"""What docs/delta.md shows can be typed as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from installer.cli.main import cli

TEXT = (Path(__file__).parents[2] / "docs/delta.md").read_text().replace("\\\n", " ")
COMMANDS = re.findall(r"^    dryport (.*)$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_one(line: str, tmp_path: Path) -> None:
    words = shlex.split(line.replace("/var/lib/dryport/registry", str(tmp_path)))
    command: click.Command = cli
    context = click.Context(cli, info_name="dryport")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command, context = found, click.Context(found, context, found.name)
    command.make_context(command.name, words, parent=context)


def test_the_page_shows_the_whole_way() -> None:
    shown = [" ".join(shlex.split(line)[:2]) for line in COMMANDS]
    assert shown == ["site inventory", "bundle delta", "bundle sign", "registry import"]
