"""Help is of one kind: every verb says what it does in one line, fits 80 columns, and can print JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from installer.cli.main import cli


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Yield a command and all below it."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, click.Context(below, context, name))


TOP = click.Context(cli, info_name="dryport", terminal_width=80, max_content_width=80)
ALL = {context.command_path: (command, context) for command, context in commands(cli, TOP)}
VERBS = [path for path, (command, _) in ALL.items() if not isinstance(command, click.Group)]


def test_the_verbs_are_found() -> None:
    assert {"dryport bundle build", "dryport registry user add", "dryport apply"} < set(VERBS)


@pytest.mark.parametrize("path", ALL)
def test_help_fits_80_columns_and_no_sentence_of_it_is_cut(path: str) -> None:
    command, context = ALL[path]
    lines = command.get_help(context).splitlines()
    assert [line for line in lines if len(line) > 80] == []
    listed = lines[lines.index("Commands:") :] if "Commands:" in lines else []
    assert [line for line in listed if line.endswith("...")] == []


@pytest.mark.parametrize("path", VERBS)
def test_every_verb_prints_json_on_demand_and_explains_every_option(path: str) -> None:
    options = [one for one in ALL[path][0].params if isinstance(one, click.Option)]
    assert "--json" in {name for one in options for name in one.opts}
    assert [one.opts for one in options if not one.help] == []


@pytest.mark.parametrize("path", VERBS)
def test_a_placeholder_says_what_goes_there(path: str) -> None:
    command, context = ALL[path]
    vague = re.findall(r"--\S+ (?:TEXT|INTEGER|INTEGER RANGE)\b", command.get_help(context))
    assert vague == []
