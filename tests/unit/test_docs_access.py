"""What docs/registry-access.md and docs/registry-import.md say can be typed and configured as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from installer.cli.main import cli
from installer.cli.serving import ServeConfig
from registry.mirror.report import CopyReport
from registry.server.users import ACTIONS, Grant

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "registry-access.md").read_text()
COMMANDS = re.findall(r"^    dryport (.*)$", TEXT + (DOCS / "registry-import.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_one(line: str) -> None:
    words = shlex.split(line)
    command: click.Command = cli
    context = click.Context(cli, info_name="dryport")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command, context = found, click.Context(found, context, found.name)
    command.make_context(command.name, words, parent=context)
    for grant in context.params.get("grants", ()):
        Grant.parse(grant)


def test_the_page_on_imports_names_what_a_report_says() -> None:
    named = set(re.findall(r"`(bytes_\w+)`", (DOCS / "registry-import.md").read_text()))
    assert named == {"bytes_shared", "bytes_copied"} <= CopyReport().as_json().keys()


def test_the_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    settings = ServeConfig.model_validate(yaml.safe_load(block)).settings(tmp_path)
    assert settings.limits.identity.per_second == 200
    assert settings.limits.proxies == {"192.0.2.10"}
    assert settings.access == tmp_path / "store/access"
    assert settings.client_ca == tmp_path / "tls/clients.pem"


def test_every_action_is_explained() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)) == ACTIONS
