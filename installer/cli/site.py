"""`dryport site`: declare a site, trust a root, enrol and check its hosts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from installer.cli.render import Console, Verbs, json_option, typed
from installer.cli.site_inventory import inventory
from registry.errors import HostError, SiteError, UsageError
from registry.oci.digest import Digest

if TYPE_CHECKING:
    from installer.hosts.enrol import HostKey
    from installer.preflight.survey import Survey
    from installer.site.config import Declared
    from installer.site.home import Home
    from installer.targets.base import Host

FILE = click.Path(path_type=Path, dir_okay=False)
site_argument = click.argument("site_file", metavar="SITE.YAML", type=FILE)
home_option = click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="The site's home folder.")


@click.group(cls=Verbs)
def site() -> None:
    """Declare a site, trust a root, enrol and check its hosts."""


@site.command()
@site_argument
@home_option
@json_option
def init(site_file: Path, home: Path | None, as_json: bool) -> None:
    """Make the site's home: its CA, its keys and its secrets. Run twice, nothing changes."""
    from installer.flows.begin import begin  # noqa: PLC0415 - `--help` need not wait for cryptography
    from installer.site.config import Declared  # noqa: PLC0415

    declared = Declared.read(site_file)
    begun = begin(declared, declared.home(home))
    path = begun.home.path
    value = {
        "site": declared.site.name,
        "home": str(path),
        "ca": str(begun.home.pki / "ca.pem"),
        "changed": begun.changed,
    }
    text = (
        f"{path}\n  {'made' if begun.changed else 'was complete; nothing changed'}\n"
        f"  site CA {begun.home.pki / 'ca.pem'}, passwords below {begun.home.secrets.folder}\n"
        f"next: {typed('dryport', 'site', 'trust', site_file)} --bundle BUNDLE.tar --fingerprint sha256:..."
    )
    Console(as_json=as_json).result("SiteHome", value, text)


@site.command()
@site_argument
@click.option("--root", type=FILE, help="The first root, 1.root.json.")
@click.option("--bundle", type=FILE, help="Take the first root from this bundle.")
@click.option(
    "--fingerprint",
    metavar="sha256:...",
    required=True,
    help="The root's fingerprint, from another channel than the medium.",
)
@home_option
@json_option
def trust(
    *, site_file: Path, root: Path | None, bundle: Path | None, fingerprint: str, home: Path | None, as_json: bool
) -> None:
    """Trust a root, once, by its fingerprint. That comes from paper or another channel, never from the medium."""
    from installer.site import memory  # noqa: PLC0415 - as above

    _, opened = open_site(site_file, home)
    with opened.locked():
        is_new = memory.begin(opened, _root_bytes(root, bundle), _digest(fingerprint))
    value = {"site": opened.identity.name, "fingerprint": fingerprint, "changed": is_new}
    text = f"{opened.identity.name} {'now trusts' if is_new else 'already trusted'} root {fingerprint}"
    text += f"\nnext: {typed('dryport', 'site', 'enrol', site_file)}"
    Console(as_json=as_json).result("SiteTrust", value, text)


@site.command()
@site_argument
@click.option(
    "--fingerprint",
    "given",
    multiple=True,
    metavar="HOST=SHA256:...",
    help="A key read at the host's console; once for each.",
)
@click.option(
    "--replace",
    "replaced",
    multiple=True,
    metavar="HOST",
    help="A rebuilt host whose pinned key is to go; once for each.",
)
@home_option
@json_option
def enrol(site_file: Path, given: tuple[str, ...], replaced: tuple[str, ...], home: Path | None, as_json: bool) -> None:
    """Pin the hosts' SSH keys that you confirm. Say their fingerprints with --fingerprint, or at the terminal."""
    from installer.hosts import enrol as keys  # noqa: PLC0415 - as above
    from installer.targets.baremetal import BareMetal  # noqa: PLC0415

    console = Console(as_json=as_json)
    declared, opened = open_site(site_file, home)
    hosts = BareMetal(declared).hosts()
    confirmed = keys.confirmations(given, hosts)
    if unknown := sorted(set(replaced) - {host.name for host in hosts}):
        raise UsageError(
            "host-unknown",
            f"no host of this site: {', '.join(unknown)}",
            hint="give names of hosts as site.yaml has them",
        )
    with opened.locked():
        rows = [_enrol(console, opened, host, confirmed.get(host.name, ()), host.name in replaced) for host in hosts]
    refusal = _unconfirmed(site_file, rows)
    text = "\n".join(f"{row['host']}: {', '.join(row['pinned']) or 'nothing pinned'}" for row in rows)
    text += "" if refusal else f"\nnext: {typed('dryport', 'site', 'check', site_file)}"
    console.verdict("SiteEnrolment", {"site": declared.site.name, "hosts": rows}, text, refusal)


@site.command()
@site_argument
@click.option("--bundle", type=FILE, help="Look whether this bundle would fit.")
@home_option
@json_option
def check(site_file: Path, bundle: Path | None, home: Path | None, as_json: bool) -> None:
    """Run every preflight on every host. Changes nothing; what a host does not tell is no success."""
    from installer.flows import look  # noqa: PLC0415 - as above

    declared, opened = open_site(site_file, home)
    size = _bundle_size(bundle) if bundle else None
    found = look.check(declared, opened, platforms=("linux/amd64",), bundle_bytes=size)
    value = _survey_value(declared.site.name, found)
    Console(as_json=as_json).verdict("SiteCheck", value, _survey_text(found, site_file), found.refusal())


site.add_command(inventory)


def open_site(site_file: Path, home: Path | None) -> tuple[Declared, Home]:
    """Return the declared site and its open home. Raises SiteError."""
    from installer.site.config import Declared  # noqa: PLC0415 - as above
    from installer.site.home import Home  # noqa: PLC0415

    declared = Declared.read(site_file)
    opened = Home.open(declared.home(home))
    if opened.identity.name != declared.site.name:
        raise SiteError(
            "home-of-another-site",
            "this home belongs to another site",
            where=str(opened.path),
            expected=declared.site.name,
            seen=opened.identity.name,
            hint="give the home of this site: --home DIR, or home: in site.yaml",
        )
    return declared, opened


def _bundle_size(bundle: Path) -> int:
    from bundles.archive.reader import read_head  # noqa: PLC0415 - as above

    with read_head(bundle) as head:
        return head.medium.size


def _root_bytes(root: Path | None, bundle: Path | None) -> bytes:
    from bundles.archive.reader import read_head  # noqa: PLC0415 - as above

    if (root is None) == (bundle is None):
        raise UsageError(
            "root-missing",
            "give either --root or --bundle",
            hint="give --root 1.root.json, or --bundle with a signed bundle",
        )
    if bundle is not None:
        with read_head(bundle) as head:
            first = head.region.get("metadata/1.root.json")
        if first is None:
            raise UsageError(
                "root-missing",
                "the bundle carries no root",
                where=str(bundle),
                hint="give --root 1.root.json, or --bundle with a signed bundle",
            )
        return first
    try:
        return root.read_bytes() if root else b""
    except OSError as error:
        raise UsageError(
            "root-unreadable",
            str(error),
            where=str(root),
            hint="give the root file that this user can read: --root 1.root.json",
        ) from error


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except ValueError as error:
        raise UsageError(
            "fingerprint-malformed",
            str(error),
            expected="sha256: and 64 hexadecimal digits",
            seen=text[:100],
            hint="copy it from the paper: --fingerprint sha256:...",
        ) from error


def _enrol(
    console: Console, home: Home, host: Host, confirmed: Sequence[str], replace: bool
) -> Mapping[str, Sequence[str] | str]:
    """Scan one host and pin what is confirmed; return what was shown and what is pinned."""
    from installer.hosts import enrol as keys  # noqa: PLC0415 - as above
    from installer.site.journal import Journal  # noqa: PLC0415

    shown, before = keys.scan(host), keys.pinned(host, home.known_hosts)
    if before and not set(before) & set(shown) and not replace:
        raise keys.changed(host, before, shown)
    if not before or replace or confirmed:
        wanted = keys.choose(host, shown, confirmed) or _asked(console, host, shown)
        if wanted and keys.pin(host, wanted, home.known_hosts, replace=replace):
            prints = " ".join(key.fingerprint for key in wanted)
            Journal.open(home.journal).append("host-pinned", host=host.name, place=host.place, keys=prints)
    pinned = [key.fingerprint for key in keys.pinned(host, home.known_hosts)]
    return {"host": host.name, "place": host.place, "shown": [key.fingerprint for key in shown], "pinned": pinned}


def _unconfirmed(site_file: Path, rows: Sequence[Mapping[str, Sequence[str] | str]]) -> HostError | None:
    """Return the error for hosts of which no key is pinned."""
    missing = [row for row in rows if not row["pinned"]]
    if not missing:
        return None
    shown = " ".join(f"--fingerprint {row['host']}={row['shown'][0]}" for row in missing)
    return HostError(
        "host-key-unconfirmed",
        f"no key was pinned for: {', '.join(str(row['host']) for row in missing)}",
        expected="fingerprints read at the hosts' consoles: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        hint=f"if they equal what was shown: {typed('dryport', 'site', 'enrol', site_file)} {shown}",
    )


def _asked(console: Console, host: Host, shown: Sequence[HostKey]) -> Sequence[HostKey]:
    for key in shown:
        console.note(f"{host} shows {key.kind} {key.fingerprint}")
    if console.as_json or not sys.stdin.isatty():
        return ()
    question = "Is the first of these what the host's own console shows?"
    return shown[:1] if click.confirm(question, default=False, err=True) else ()


def _survey_value(name: str, found: Survey) -> Mapping[str, object]:
    rows = [
        {"id": one.id, "host": one.host, "result": one.result.value, "seen": one.seen, "mend": one.mend}
        for one in found.findings
    ]
    return {"site": name, "good": found.is_good, "findings": rows}


def _survey_text(found: Survey, site_file: Path) -> str:
    lines = [f"{one.result:<8}{one.host:<12}{one.id:<18}{one.seen}" for one in found.findings]
    plan_it = f"next: {typed('dryport', 'plan', site_file)} --bundle BUNDLE.tar --out plan.json"
    return "\n".join(lines + ([plan_it] if found.is_good else ["", "not ready: mend what is named"]))
