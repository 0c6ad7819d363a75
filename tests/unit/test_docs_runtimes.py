"""What docs/runtimes.md shows can be typed and declared as it stands, and it leaves no runtime out."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from installer.cli.main import cli
from installer.hosts.pull import PULLERS
from registry.mirror import declared
from registry.mirror.configure import configuration
from registry.mirror.runtimes import RUNTIMES
from registry.mirror.runtimes.containerd import CERTS, NOWHERE
from registry.mirror.runtimes.containers import DOMAINS
from registry.mirror.runtimes.files import Access

PAGE = Path(__file__).parents[2] / "docs/runtimes.md"
TEXT = PAGE.read_text()
COMMANDS = re.findall(r"^    dryport (.*)$", TEXT, re.MULTILINE)


def context_of(line: str) -> click.Context:
    words = shlex.split(line)
    command: click.Command = cli
    context = click.Context(cli, info_name="dryport")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command, context = found, click.Context(found, context, found.name)
    return command.make_context(command.name, words, parent=context)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_page_is_one(line: str) -> None:
    given = context_of(line).params
    if given["mirrors"]:
        assert configuration(given["runtime"], declared.of(given["mirrors"], given["origins"]), Access()).files


def test_the_mapping_of_the_page_is_one(tmp_path: Path) -> None:
    (block,) = (one for one in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if "kind: Mirrors" in one)
    (tmp_path / "mirrors.yaml").write_text(block)
    mapping = declared.read(tmp_path / "mirrors.yaml")
    assert [str(one) for one in mapping.mirrors] == ["registry.site.example:5000", "registry2.site.example:5000"]
    assert all(configuration(runtime, mapping, Access()).files for runtime in RUNTIMES)
    entry = yaml.safe_load(re.findall(r"`(\{origin:.*?\})`", TEXT)[0])
    assert declared.MirrorsFile(
        apiVersion="dryport/v1", kind="Mirrors", mirrors=["a.example"], origins=[entry]
    ).mapping()


def test_containerd_is_told_of_the_folder_that_is_written() -> None:
    blocks = [tomllib.loads(one) for one in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)]
    assert [one["version"] for one in blocks] == [2, 3]
    for block in blocks:
        (plugin,) = block["plugins"].values()
        assert plugin["registry"]["config_path"] == f"/{CERTS}"


def test_the_page_speaks_of_every_runtime_and_of_what_can_be_proven() -> None:
    table = re.findall(r"^\| \[([a-z0-9, ]+)\]", TEXT, re.MULTILINE)
    assert {name for row in table for name in row.split(", ")} == set(RUNTIMES)
    (listed,) = re.findall(r"^- Can be proven: (.*?)\. For", TEXT, re.MULTILINE)
    assert set(re.sub(r"\(.*?\)", "", listed).replace(" ", "").split(",")) == set(PULLERS)
    assert f"/v2/{NOWHERE}/" in TEXT
    assert all(f"`{domain}`" in TEXT for domain in DOMAINS if domain in {"com", "io", "dev"})
