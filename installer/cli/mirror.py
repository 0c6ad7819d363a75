"""`dryport mirror`: content carried from one place to another, and what stands in for the registries of the world."""

from __future__ import annotations

import click

from installer.cli.mirror_config import config
from installer.cli.mirror_copy import VERBS
from installer.cli.mirror_probe import probe
from installer.cli.render import Verbs


@click.group(cls=Verbs)
def mirror() -> None:
    """Carry content from one place to another, prove that it is there, and tell runtimes of the mirrors."""


for verb in (*VERBS, probe, config):
    mirror.add_command(verb)
