"""Where `bundle lock` and `bundle build` find what a definition names: inputs on this machine, registries by mapping.

Neither definition nor lock holds any of it: the same lock is built here from a mirror, there from the origin.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from installer.cli.connecting import Reach, host_options
from installer.cli.helming import Rendering, offered, ready_helm
from registry.errors import UsageError

if TYPE_CHECKING:
    from bundles.sources.inputs import Inputs
    from registry.client.remote import RemoteRegistry

_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True)
class Sources:
    """What a command's options say about sources."""

    given: tuple[str, ...]
    mirrors: Path | None
    reach: Reach

    @contextmanager
    def inputs(self, definition: Path, rendering: Rendering | None = None) -> Iterator[Inputs]:
        """Give what resolving and fetching may read. Raises UsageError, DefinitionError, SiteError."""
        from bundles.sources.inputs import Inputs  # noqa: PLC0415 - `--help` need not wait for it
        from bundles.sources.registries import Registries  # noqa: PLC0415
        from registry.mirror import declared  # noqa: PLC0415
        from registry.mirror.mapping import Mapping  # noqa: PLC0415

        mapping = declared.read(self.mirrors) if self.mirrors else Mapping()
        registries = Registries(self._registry, mapping)
        try:
            with tempfile.TemporaryDirectory(prefix="dryport-") as scratch:
                found = Inputs(definition.parent, self._named(), Path(scratch), registries)
                if rendering is None:
                    yield found
                    return
                with ready_helm(rendering["program"], static=rendering["static"]) as helm:
                    yield replace(found, helm=helm, is_static=rendering["static"], offered=offered(rendering))
        finally:
            registries.close()

    def again(self) -> Sequence[object]:
        """Return these options as they are typed for the next command; logins are found again by themselves."""
        named = [part for one in self.given for part in ("--input", one)]
        files = (("--mirrors", self.mirrors), ("--certs", self.reach.certs), ("--authfile", self.reach.authfile))
        return [*named, *(part for name, path in files if path for part in (name, path))]

    def _registry(self, host: str) -> RemoteRegistry:
        from registry.client.address import is_loopback  # noqa: PLC0415 - as above

        is_here = is_loopback(urlsplit(f"//{host}").hostname)  # where there may be no TLS
        return self.reach.registry(f"{'http' if is_here and not self._is_certified(host) else 'https'}://{host}")

    def _is_certified(self, host: str) -> bool:
        return self.reach.certs is not None and (self.reach.certs / host).is_dir()

    def _named(self) -> dict[str, Path]:
        named: dict[str, Path] = {}
        for item in self.given:
            name, equals, path = item.partition("=")
            if not (name and equals and path) or name in named:
                raise UsageError(
                    "input-malformed",
                    "an input is given once, by name and path",
                    expected="NAME=PATH",
                    seen=item,
                    hint="give each once: --input NAME=PATH",
                )
            named[name] = Path(path)
        return named


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options about sources to a command, which gets them as `sources`."""

    @wraps(command)
    def collected(**values: Any) -> Any:  # noqa: ANN401 - a command's values and result are its own
        sources = Sources(values.pop("given"), values.pop("mirrors"), values.pop("reach"))
        return command(sources=sources, **values)

    wrapped: Callable[..., Any] = collected
    for option in (
        host_options,
        click.option("--mirrors", type=_FILE, help="Who is asked for others' images; a file as in docs/runtimes.md."),
        click.option(
            "--input", "given", multiple=True, metavar="NAME=PATH", help="Where an input lies; once for each."
        ),
    ):
        wrapped = option(wrapped)
    return wrapped
