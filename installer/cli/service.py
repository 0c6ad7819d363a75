"""`dryport registry unit | ready`: the registry as a service of systemd, and whether it serves.

The unit is made from the configuration, so that the service may do what that needs and nothing else: write its store,
and take a port below 1024 only if it is told to. It is the one that the site's playbooks install too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from installer.cli.render import Console, json_option
from registry.errors import RemoteError, SiteError, UsageError

FILE = click.Path(path_type=Path, dir_okay=False)
CONFIG = Path("/etc/dryport/registry/config.yaml")
PROGRAM = Path("/usr/local/bin/dryport")
USER = "dryport-registry"
STATE = Path("/var/lib")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@+-]+")
_PRIVILEGED = 1024
_SECONDS = 10.0
config_option = click.option(
    "--config", "path", type=FILE, default=CONFIG, show_default=True, help="Configuration file of the registry."
)

UNIT = """\
[Unit]
Description=dryport registry
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
# It is started when it serves; a worker says so.
Type=notify
NotifyAccess=all
TimeoutStartSec=5min
User={user}
Group={user}
ExecStart={program} registry serve --config {config}
# A certificate, users or a policy that cannot be used fail the reload, and what was in force stays so.
ExecReload={program} registry serve --config {config} --check
ExecReload=/bin/sh -c "kill -HUP $MAINPID"
Restart=on-failure
RestartSec=2
# The parent alone is told to end, and ends its workers: they have ten seconds for what is under way. Whoever is left is
# killed. A worker that the kernel kills for its memory is replaced by the parent.
KillMode=mixed
TimeoutStopSec=30
OOMPolicy=continue
UMask=0027
LimitNOFILE=16384

# It needs its store, its port and nothing else.
{writable}
ProtectSystem=strict
ProtectHome=true
PrivateTmp=true
PrivateDevices=true
ProtectClock=true
ProtectControlGroups=true
ProtectHostname=true
ProtectKernelLogs=true
ProtectKernelModules=true
ProtectKernelTunables=true
ProtectProc=invisible
ProcSubset=pid
NoNewPrivileges=true
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
RemoveIPC=true
LockPersonality=true
MemoryDenyWriteExecute=true
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


@click.command()
@config_option
@click.option("--user", metavar="NAME", default=USER, show_default=True, help="User that the service runs as.")
@click.option("--program", type=FILE, default=PROGRAM, show_default=True, help="Where dryport is.")
@json_option
def unit(*, path: Path, user: str, program: Path, as_json: bool) -> None:
    r"""Print the systemd unit for a configuration.

    \b
    dryport registry unit > /etc/systemd/system/dryport-registry.service
    """
    from installer.cli.serving import ServeConfig, said_by  # noqa: PLC0415 - `--help` need not wait for a server

    if not _USER.fullmatch(user):
        raise UsageError("user-malformed", "this is no user of a service", seen=user[:100], hint=f"--user {USER}")
    path = path.absolute()
    with said_by(path):
        settings = ServeConfig.read(path).settings(path.parent)
    written = [one for one in (settings.store, settings.access) if one]
    text = UNIT.format(
        user=user,
        program=_spelled(program),
        config=_spelled(path),
        writable="\n".join(_writable(written)) or "# (It writes nothing: there is no store.)",
        capabilities="CAP_NET_BIND_SERVICE" if 0 < settings.port < _PRIVILEGED else "",
    )
    Console(as_json=as_json).result("RegistryUnit", {"config": str(path), "unit": text}, text.rstrip("\n"))


def _writable(folders: list[Path]) -> Iterator[str]:
    """Spell where the service writes; what is below /var/lib systemd makes and gives to the service's user."""
    for folder in folders:
        if any(other != folder and folder.is_relative_to(other) for other in folders):
            continue
        if folder.is_relative_to(STATE) and folder != STATE:
            yield f"StateDirectory={_spelled(folder.relative_to(STATE))}\nStateDirectoryMode=0700"
        else:
            yield f"ReadWritePaths={_spelled(folder)}"


def _spelled(path: Path) -> str:
    """Return a path as units spell it. Raises SiteError for one that a unit cannot hold."""
    text = str(path)
    if not text.isprintable() or ".." in path.parts:
        raise SiteError("path-unspeakable", "a unit cannot name this path", where=ascii(text), hint="rename it")
    text = text.replace("%", "%%")
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'


@click.command()
@config_option
@json_option
def ready(*, path: Path, as_json: bool) -> None:
    """Say whether a configuration's registry serves on this machine.

    The exit code is 0 if it does, 8 if it does not.
    """
    from installer.cli.serving import ServeConfig, said_by  # noqa: PLC0415 - as above
    from registry.server.serve import url_of  # noqa: PLC0415

    with said_by(path):
        settings = ServeConfig.read(path).settings(path.parent)
    url = url_of(settings, settings.port) + "/readyz"
    is_ready, seen = _asked(url, settings.certificate)
    if not is_ready:
        raise RemoteError(
            "registry-not-ready",
            "the registry does not serve",
            where=url,
            expected="200 ok",
            seen=seen,
            hint=f"see what its log says, and: dryport registry serve --config {path} --check",
        )
    Console(as_json=as_json).result("RegistryReady", {"url": url, "isReady": True}, f"{url}: ready")


def _asked(url: str, certificate: Path | None) -> tuple[bool, str]:
    """Return whether the server at a URL is ready, and what it said; over TLS it shows this very certificate."""
    import urllib3  # noqa: PLC0415 - as above

    from registry.server.handshake import client_of, first_name  # noqa: PLC0415 - as above

    tls: dict[str, Any] = {}
    try:
        if certificate:
            tls = {"ssl_context": client_of(certificate), "server_hostname": first_name(certificate)}
        with urllib3.PoolManager(retries=False, timeout=_SECONDS, **tls) as pool:
            answer = pool.request("GET", url)
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        return False, str(error)
    return answer.status == HTTPStatus.OK, f"{answer.status} {answer.data[:200].decode(errors='replace').strip()}"
