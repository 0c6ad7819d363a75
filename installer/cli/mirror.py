"""`dryport mirror`: what stands in for the registries of the world on an isolated site."""

from __future__ import annotations

import click

from installer.cli.mirror_config import config
from installer.cli.mirror_copy import VERBS
from installer.cli.render import Verbs


@click.group(cls=Verbs)
def mirror() -> None:
    """Carry content from one place to another, prove that it is there, and tell runtimes of the mirrors."""


for verb in (*VERBS, config):
    mirror.add_command(verb)
