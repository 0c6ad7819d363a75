"""What docs/registries.md says can be typed, and every finding it prints is explained."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from installer.cli.connecting import default_authfiles
from installer.cli.main import cli

TEXT = (Path(__file__).parents[2] / "docs/registries.md").read_text()
COMMANDS = re.findall(r"^    dryport (.*)$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_one(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "certs.d").mkdir()
    words = shlex.split(line)
    command: click.Command = cli
    context = click.Context(cli, info_name="dryport")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command, context = found, click.Context(found, context, found.name)
    command.make_context(command.name, words, parent=context)


def test_logins_are_looked_for_where_the_page_says(tmp_path: Path) -> None:
    places = {
        "run/containers/auth.json": {"XDG_RUNTIME_DIR": str(tmp_path / "run")},
        "conf/containers/auth.json": {"XDG_CONFIG_HOME": str(tmp_path / "conf")},
        "docker/config.json": {"DOCKER_CONFIG": str(tmp_path / "docker")},
    }
    environment = {name: value for settings in places.values() for name, value in settings.items()}
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("{}")
    assert default_authfiles(environment) == [tmp_path / place for place in places]
    assert default_authfiles({**environment, "REGISTRY_AUTH_FILE": "/one"}) == [Path("/one")]
    for place in (".config/containers/auth.json", ".docker/config.json"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text("{}")
    home = [tmp_path / ".config/containers/auth.json", tmp_path / ".docker/config.json"]
    assert default_authfiles({"HOME": str(tmp_path)}) == home
