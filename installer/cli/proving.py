"""`--prove` of `dryport mirror config`: which images, on which node, and what became of each."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from installer.cli.connecting import Reach
from installer.cli.render import Console
from installer.cli.trusting import Trust
from registry.errors import HostError, UsageError

if TYPE_CHECKING:
    from installer.flows.prove import Outcome
    from installer.hosts.node import Node
    from registry.mirror.mapping import Mapping
    from registry.oci.reference import Reference

EVERYTHING = "all"
_FILE = click.Path(path_type=Path, dir_okay=False)


def proof_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --prove, --on, --site, --host and --unwatched to a command."""
    for option in (
        click.option("--unwatched", is_flag=True, help="Do without strace on the node: connections are not seen."),
        click.option("--host", metavar="NAME", help="The node: a host of --site, by SSH."),
        click.option("--site", "site_file", metavar="SITE.YAML", type=_FILE, help="The site whose host is the node."),
        click.option(
            "--on", "prefix", metavar="COMMAND", help="The node: what this leads into, as podman exec -i NODE."
        ),
        click.option(
            "--prove",
            "images",
            metavar="LIST|BUNDLE|all",
            help="Pull these on the node: a text file of images, a bundle, or all that the first mirror holds.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Proof:
    """The options of a proof."""

    images: str | None
    prefix: str | None
    site_file: Path | None
    host: str | None
    unwatched: bool
    trust: Trust
    ca: Path | None
    user: str | None
    password_file: Path | None

    @property
    def is_wanted(self) -> bool:
        """Say whether there is to be one. Raises UsageError for options that are for a proof alone."""
        others = (self.prefix, self.site_file, self.host)
        if self.images is None and (any(others) or self.trust.is_given or self.unwatched):
            raise UsageError(
                "proof-missing",
                "--on, --site, --host, --unwatched and what a bundle is trusted by are for a proof",
                hint="--prove LIST, or leave them out",
            )
        return self.images is not None


def show_proof(console: Console, proof: Proof, runtime: str, mapping: Mapping, out: Path | None) -> None:
    """Pull all images on the node and print what became of each. Raises HostError if one is not proven."""
    from installer.flows.prove import prove  # noqa: PLC0415 - `--help` need not wait for it
    from installer.hosts.pull import PULLERS  # noqa: PLC0415

    puller = PULLERS.get(runtime)
    if puller is None:
        raise UsageError(
            "runtime-unproven",
            f"dryport cannot pull through {runtime} into a store that it throws away",
            expected=", ".join(PULLERS),
            hint="leave --prove out; docs/runtimes.md says what to look at on such a node",
        )
    node, root = _node(proof, out)
    with ExitStack() as stack:
        images = _images(proof, mapping, stack)
    outcomes = prove(node, puller, images, mapping, console, root=root, is_watched=not proof.unwatched)
    bad = [one for one in outcomes if not one.is_proven]
    value = {"runtime": runtime, "node": str(node), "watched": not proof.unwatched, "configuration": root}
    value |= {"images": [one.as_json() for one in outcomes], "proven": len(outcomes) - len(bad)}
    lines = [f"{'proven' if one.is_proven else 'NOT':<8}{one.image}  {one.served_by}" for one in outcomes]
    lines.append(f"{len(outcomes) - len(bad)} of {len(outcomes)} images came from the mirrors and from nowhere else")
    refusal = HostError(
        "images-unproven",
        f"{len(bad)} image(s) do not come from the mirrors alone",
        where=str(node),
        findings=[_finding(one) for one in bad],
        hint="mend what is named, then run the same command again",
    )
    console.verdict("MirrorProof", value, "\n".join(lines), refusal if bad else None)


def _finding(outcome: Outcome) -> HostError:
    if outcome.elsewhere:
        why = "others than the mirrors were asked"
    elif outcome.is_pulled:
        why = "it was pulled, but nobody was seen to be asked"
    else:
        why = "it could not be pulled"
    seen = "; ".join([*outcome.elsewhere, *([outcome.said] if outcome.said else [])])
    hint = "see the mirror and the node's configuration"
    return HostError("image-unproven", why, where=str(outcome.image), seen=seen, hint=hint)


def _node(proof: Proof, out: Path | None) -> tuple[Node, str]:
    """Return the node, and the folder on it below which its configuration lies."""
    from installer.cli.site import open_site  # noqa: PLC0415 - as above
    from installer.hosts.node import LocalNode, SshNode  # noqa: PLC0415
    from installer.hosts.ssh import Ssh  # noqa: PLC0415
    from installer.targets.baremetal import BareMetal  # noqa: PLC0415

    if (proof.site_file is None) != (proof.host is None) or (proof.site_file and proof.prefix):
        raise UsageError(
            "node-ambiguous",
            "a node is a host of a site, or what a command leads into, or this machine",
            hint="--site SITE.yaml --host NAME, or --on COMMAND",
        )
    if proof.site_file is None:
        return LocalNode(tuple(shlex.split(proof.prefix or ""))), str(out.absolute()) if out else "/"
    if out is not None:
        raise UsageError(
            "node-elsewhere",
            "the files in --out are on this machine, the host has its own",
            hint="copy them to the host, then prove without --out",
        )
    declared, home = open_site(proof.site_file, proof.trust.home)
    hosts = {host.name: host for host in BareMetal(declared).hosts()}
    if proof.host not in hosts:
        raise UsageError(
            "host-unknown", f"no host of this site: {proof.host}", hint=f"--host is one of: {', '.join(sorted(hosts))}"
        )
    return SshNode(Ssh(home.known_hosts), hosts[proof.host]), "/"


def _images(proof: Proof, mapping: Mapping, stack: ExitStack) -> Sequence[Reference]:
    from installer.cli.serving import open_bundle  # noqa: PLC0415 - as above
    from installer.flows import wanted  # noqa: PLC0415

    reach = Reach(ca=proof.ca, user=proof.user, password_file=proof.password_file)
    remotes = [(one, stack.enter_context(reach.registry(f"https://{one.host}"))) for one in mapping.mirrors]
    if proof.images == EVERYTHING:
        return wanted.distinct(wanted.held(mapping, *remotes[0]))
    path = Path(proof.images or "")
    if not _is_bundle(path):
        return wanted.distinct(wanted.listed(path, mapping, remotes))
    verified = open_bundle(path, proof.trust)
    try:
        return wanted.distinct(wanted.carried(verified.content()))
    finally:
        verified.close()


def _is_bundle(path: Path) -> bool:
    """Say whether a file is no text: a tar, or a volume of one."""
    try:
        with path.open("rb") as file:
            return b"\0" in file.read(512)
    except OSError:
        return False  # reading it as a list says what is wrong
