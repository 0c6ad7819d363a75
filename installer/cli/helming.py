"""How a command finds the Helm program: named, on the path, or beside this Python; without one it looks statically."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import click

from registry.errors import UsageError

if TYPE_CHECKING:
    from registry.packs.helm import Helm
    from registry.packs.rendering import Offered


class Rendering(TypedDict):
    """How packs are rendered, as the options of `helm_options` say."""

    program: Path | None
    static: bool
    kube_versions: tuple[str, ...]
    apis: tuple[str, ...]


def offered(rendering: Rendering) -> Offered:
    """Return what the cluster offers that charts are rendered for."""
    from registry.packs.rendering import Offered  # noqa: PLC0415 - `--help` need not wait for it

    return Offered(rendering["kube_versions"], rendering["apis"])


def helm_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --helm, --static, --kube-version and --api-version to a command."""
    for option in (
        click.option(
            "--api-version",
            "apis",
            metavar="GROUP/VERSION",
            multiple=True,
            help="API that the cluster offers beside Kubernetes' own; once for each.",
        ),
        click.option(
            "--kube-version",
            "kube_versions",
            metavar="VERSION",
            multiple=True,
            help="Kubernetes to render for; once for each.  [default: 1.33.0]",
        ),
        click.option("--static", is_flag=True, help="Look without Helm: less is found, and the result says so."),
        click.option(
            "--helm",
            "program",
            type=click.Path(path_type=Path, dir_okay=False),
            help="The Helm program.  [default: helm on the path]",
        ),
    ):
        command = option(command)
    return command


@contextmanager
def ready_helm(program: Path | None, *, static: bool = False) -> Iterator[Helm | None]:
    """Give the Helm program, or None if there is none or none is wanted. Raises UsageError, SiteError."""
    if static and program:
        raise UsageError("helm-or-static", "with --static no Helm is used", hint="leave out --helm or --static")
    found = None if static else program or find()
    if found is None:
        yield None
        return
    from registry.packs.helm import Helm  # noqa: PLC0415 - `--help` need not wait for it

    with Helm.ready(found) as helm:
        yield helm


def find() -> Path | None:
    """Return the Helm program on the path, else the one that a wheel put beside this Python."""
    beside = sysconfig.get_path("scripts")
    named = shutil.which("helm", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{beside}")
    return Path(named).absolute() if named else None
