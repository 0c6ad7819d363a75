"""`dryport mirror`: what stands in for the registries of the world on an isolated site."""

from __future__ import annotations

import click

from installer.cli.mirror_config import config
from installer.cli.render import Verbs


@click.group(cls=Verbs)
def mirror() -> None:
    """Tell runtimes of the mirrors, and prove that they ask nobody else."""


mirror.add_command(config)
