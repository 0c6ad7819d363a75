"""The `dryport` command: finds the verb, runs it, and turns every error into words and an exit code.

Each group of verbs is a module that is imported only when it is called, so that `dryport --help` is quick.
"""

from __future__ import annotations

import errno
import importlib
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from installer.cli.render import Console
from registry.errors import DryportError, SiteError, UsageError

GROUPS = {
    "key": ("installer.cli.key", "Make keys, and hold the root ceremony."),
    "kit": ("installer.cli.kit", "Build and sign the program for a machine without internet."),
    "bundle": ("installer.cli.bundle", "Lock, build, sign, verify and inspect bundles."),
    "registry": ("installer.cli.registry", "Serve, fill and look into a registry."),
    "mirror": ("installer.cli.mirror", "Carry content between places, prove it, and tell runtimes of mirrors."),
    "pack": ("installer.cli.pack", "Check, build, push, pull and list add-on packs."),
    "profile": ("installer.cli.profile", "Check and render profiles: ordered sets of packs."),
    "site": ("installer.cli.site", "Declare a site, trust a root, enrol and check its hosts."),
    "plan": ("installer.cli.lifecycle", "Show and save what apply would do."),
    "apply": ("installer.cli.lifecycle", "Execute a saved plan."),
    "status": ("installer.cli.lifecycle", "Tell what a site runs, and how it is."),
    "support": ("installer.cli.support", "Collect what helps to find a fault, without a secret."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the verbs in the order of their use."""
        return list(GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the verb's module and return its command."""
        if cmd_name not in GROUPS:
            return None
        module = importlib.import_module(GROUPS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the verbs from the table alone: help needs no import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in GROUPS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="dryport", prog_name="dryport")
def cli() -> None:
    """Carry a platform across an air gap: build and sign bundles, verify, serve and install them."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit by who has to act (0 done, 1 bug, 2 usage, 3 to 8 as in registry.errors)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    console = Console(as_json="--json" in arguments)
    try:
        _require_text(arguments)
        ended = cli.main(arguments, prog_name="dryport", standalone_mode=False)
    except DryportError as error:
        console.error(error)
        sys.exit(error.exit_code)
    except click.Abort:
        console.note("stopped; run the same command again to go on")
        sys.exit(130)
    except click.ClickException as error:
        if console.as_json:
            console.error(UsageError("command-line", error.format_message(), hint="dryport --help"))
        else:
            error.show()
        sys.exit(2)
    except OSError as error:
        refused = _refused(error)
        console.error(refused)
        sys.exit(refused.exit_code)
    except Exception:  # noqa: BLE001 - the one place where a bug becomes an exit code
        traceback.print_exc()
        console.note("this is a bug in dryport; the lines above say where")
        sys.exit(1)
    sys.exit(ended if isinstance(ended, int) else 0)  # click hands back the code of `ctx.exit`


def _require_text(arguments: Sequence[str]) -> None:
    """Raise UsageError for a name that is not UTF-8: no file of ours, and no JSON, could hold it."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                "name-not-text",
                "names are UTF-8 text here",
                seen=ascii(argument),
                hint="rename it, or reach it by a link whose name is UTF-8",
            ) from error


def _refused(error: OSError) -> SiteError:
    """Return the error for what the operating system refused and no verb expected."""
    acts = {
        errno.ENOSPC: "make room there, then run the same command again",
        errno.EDQUOT: "make room there, then run the same command again",
        errno.EACCES: "run it as the user whom it belongs to, or name another place",
        errno.EPERM: "run it as the user whom it belongs to, or name another place",
        errno.EROFS: "name a place that can be written to",
    }
    return SiteError(
        "machine-refused",
        f"this machine refuses: {error.strerror or error}",
        where=str(error.filename2 or error.filename or ""),
        hint=acts.get(error.errno or 0, "see what is there, and name another place"),
    )
