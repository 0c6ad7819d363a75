"""`dryport mirror probe`: what a registry can do is looked at before it is filled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from installer.cli.connecting import Reach, connection_options
from installer.cli.probing import scratch
from installer.cli.render import Console, json_option
from registry.errors import RemoteError, UsageError

if TYPE_CHECKING:
    from registry.client.capabilities import Value


@click.command()
@click.argument("registry")
@connection_options
@json_option
def probe(*, registry: str, reach: Reach, as_json: bool) -> None:
    r"""Try what a registry can do, in a scratch repository. All that the registry deletes is taken away again.

    REGISTRY is HOST[:PORT][/PATH]; where repositories lie below a project or a namespace, PATH names it.

    \b
    Example:  dryport mirror probe harbor.example.org/library
    """
    from registry.client.capabilities import NAMES  # noqa: PLC0415 - `--help` need not wait for TLS
    from registry.client.probe import probe as run  # noqa: PLC0415

    console = Console(as_json=as_json)
    url, path = split_address(registry)
    repository = scratch(path)
    transport = reach.transport(url, repository)
    try:
        found = run(transport, repository, datetime.now(UTC))
    finally:
        transport.close()
    lines = [f"{url}, tried in {repository} on {found.date}"]
    for name in NAMES:
        one = found.finding(name)
        lines.append(f"  {name:21} {_said(one.value):8} {one.evidence}")
    refusal = None
    if found.can("writable") is not True:
        refusal = RemoteError(
            "registry-not-writable",
            "nothing can be pushed here",
            where=f"{url}/{repository}",
            seen=found.finding("writable").evidence,
            hint="name a project or namespace that this user may push to: dryport mirror probe HOST/PATH",
        )
    console.verdict("MirrorProbe", found.as_json(), "\n".join(lines), refusal)


def _said(value: Value) -> str:
    return "unknown" if value is None else str(value) if not isinstance(value, bool) else "yes" if value else "no"


def split_address(text: str) -> tuple[str, str]:
    """Return a registry's URL and the path below it. HTTPS, unless http:// says otherwise. Raises UsageError."""
    from registry.client.address import registry_origin  # noqa: PLC0415 - as above
    from registry.oci.reference import repository_name  # noqa: PLC0415

    scheme, separator, rest = text.rpartition("://")
    host, _, path = rest.partition("/")
    url = registry_origin(f"{scheme if separator else 'https'}://{host}")
    path = path.strip("/")
    try:
        return url, repository_name(path) if path else ""
    except ValueError as error:
        raise UsageError(
            "registry-address",
            "what follows the registry's host is no repository name",
            seen=text[:200],
            hint="as in harbor.example.org/library, without a tag",
        ) from error
