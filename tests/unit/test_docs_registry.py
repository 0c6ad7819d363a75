"""What docs/registry.md says can be typed and configured as it stands, and is all that can be configured."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from installer.cli.main import cli
from installer.cli.serving import ServeConfig
from registry.store.policy import Policy

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/registry.md").read_text()
SCRIPTS = "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).replace("\\\n", " ")
COMMANDS = re.findall(r"^(?:    |runuser .* -- |podman exec registry )?dryport (.*?)(?: > .*)?$", TEXT, re.MULTILINE)
CONFIG, POLICY = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
ROWS = {
    name: default
    for names, default in re.findall(r"^\| (`[a-z_`, ]+) \| ([^|]*?) ?\|", TEXT, re.MULTILINE)
    for name in re.findall(r"\w+", names)
}


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


def test_the_commands_are_found() -> None:
    assert len(COMMANDS) >= 9
    assert {line.split()[1] for line in COMMANDS} >= {"serve", "unit", "ready", "status", "retention"}


def test_the_configuration_and_the_policy_of_the_page_are_ones(tmp_path: Path) -> None:
    settings = ServeConfig.model_validate(yaml.safe_load(CONFIG)).settings(tmp_path)
    assert (settings.collect_seconds, settings.certificate) == (86400, tmp_path / "tls.pem")
    assert Policy.model_validate(yaml.safe_load(POLICY)).for_repository("releases/a").quota_bytes == 50_000_000_000


def test_every_field_has_its_row_and_its_default() -> None:
    assert set(ROWS) == set(ServeConfig.model_fields)
    for name, field in ServeConfig.model_fields.items():
        said = re.fullmatch(r"`(.*)`", ROWS[name])
        if said:
            default: Any = field.default
            assert yaml.safe_load(said[1]) == default, name


def test_the_image_is_built_and_run_as_the_containerfile_wants() -> None:
    recipe = (ROOT / "registry/Containerfile").read_text()
    given = dict(re.findall(r"--build-arg (\w+)=(\S+)", SCRIPTS))
    assert set(given) == set(re.findall(r"^ARG (\w+)$", recipe, re.MULTILINE))
    (volume,) = re.findall(r"^VOLUME (\S+)$", recipe, re.MULTILINE)
    (port,) = re.findall(r"^EXPOSE (\d+)$", recipe, re.MULTILINE)
    assert f":{volume} " in SCRIPTS
    assert f":{port} " in SCRIPTS
    assert yaml.safe_load(CONFIG)["store"] == volume
    assert yaml.safe_load(CONFIG)["listen"].endswith(f":{port}")
    settings = re.search(r'"(/etc/\S+)/config.yaml"', recipe)
    assert settings
    assert f":{settings[1]}:ro" in SCRIPTS
