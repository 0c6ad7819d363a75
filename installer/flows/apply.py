"""`apply`: bring a site to the release of a plan, step by step, from a bundle that this process verified itself.

In this order: the home is locked; plan, site, state and bundle are compared; the hosts are asked; the release is
accepted into trust memory; its apt repositories are signed; the bundle is served on the loopback and reaches each host
through SSH; the steps run; the state is written. Killed at any point, the same plan applied again goes on.

>>> apply(signed, verified, declared, home, program, progress)
Report(steps=24, skipped_steps=0, ok=131, changed=38)
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bundles.content import BundleContent
from bundles.trust import memory
from bundles.verify import Verified
from installer.flows.contents import Contents, read_layer
from installer.flows.look import check
from installer.flows.plan import PLAN_KEY, Plan, Signed, Step, checked, require_current
from installer.flows.source import serving
from installer.flows.steps import Report, execute
from installer.flows.variables import Briefing, Passwords
from installer.hosts.ansible import Ansible, Outcome
from installer.hosts.content import Limits, unpack
from installer.hosts.forward import forward
from installer.hosts.scratch import run_folder
from installer.hosts.ssh import Ssh
from installer.site import aptsign
from installer.site.config import Declared
from installer.site.home import Home
from installer.site.journal import Journal
from installer.site.pki import LOOPBACK, Authority
from installer.site.secrets import masked
from installer.site.state import Installed, State
from installer.targets.baremetal import BareMetal
from installer.targets.base import Host
from registry.errors import DryportError, SiteError
from registry.progress import Progress
from registry.store import durable
from registry.store.store import Store


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be applied where."""

    signed: Signed
    verified: Verified
    declared: Declared
    home: Home
    program: Path
    """The ansible-playbook program."""


def apply(order: Order, progress: Progress) -> Report:
    """Execute a plan. Raises SiteError, TrustError, MediaError or HostError; the same plan then goes on."""
    with order.home.locked():
        state = State.load(order.home.state)
        plan = checked(order.signed, order.home, order.home.secrets.read(PLAN_KEY))
        require_current(plan, order.declared.site, state, order.verified.release, datetime.now(UTC))
        journal = Journal.open(order.home.journal)
        _look_first(order, plan, state, journal)
        journal.append("apply-begin", plan=plan.digest, sequence=plan.sequence, index=plan.index)
        memory.save(order.home.trust, order.verified.state)
        try:
            report = _run(order, plan, journal, progress)
        except DryportError as error:
            journal.append("apply-stop", plan=plan.digest, reference=error.reference)
            raise
        _finish(order, plan)
        journal.append("apply-end", plan=plan.digest, steps=report.steps, changed=report.changed)
        return report


def _look_first(order: Order, plan: Plan, state: State, journal: Journal) -> None:
    """Ask the hosts before anything is changed. Raises HostError."""
    is_held = state.release is not None and state.release.index == plan.index
    is_known = is_held or bool(journal.done_steps(plan.digest))
    bundle_bytes = 0 if is_known else order.verified.archive.layout.size  # what was fetched already needs no more room
    platforms = order.verified.release.platforms
    refusal = check(order.declared, order.home, platforms=platforms, bundle_bytes=bundle_bytes).refusal()
    if refusal:
        raise refusal


def _run(order: Order, plan: Plan, journal: Journal, progress: Progress) -> Report:
    home, site, source = order.home, order.declared.site, order.verified.content()
    now = datetime.now(UTC)
    contents = Contents.of(source, plan.product, plan.version)
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(home.store))
        briefing = Briefing(
            home=home,
            site=site,
            plan=plan,
            contents=contents,
            authority=Authority.ensure(home.pki, site, now=now),
            passwords=Passwords.ensure(home.secrets),
            apt_key=aptsign.ensure_key(home.apt_key, home.apt_certificate, aptsign.owner(site.name)),
            apt_references={
                one.repository: aptsign.sign_repository(source, store, one.repository, contents.version, home.apt_key)
                for one in contents.apt
            },
            now=now,
        )
        scratch = stack.enter_context(run_folder())
        _unpack(source, contents, scratch / "project")
        durable.make_folder(scratch / "ssh", 0o700)
        ssh = Ssh(home.known_hosts, control=scratch / "ssh")
        hosts = {host.name: host for host in BareMetal(order.declared).hosts()}
        leaf = briefing.authority.leaf("operator", [LOOPBACK], now=now)
        here = stack.enter_context(serving(leaf, briefing.passwords.users_file, store, source))
        for host in hosts.values():
            stack.enter_context(forward(ssh, host, there=site.policy.forward_port, here=here))
        ansible = Ansible(order.program, scratch / "project" / "playbooks", ssh, scratch)
        run = _runner(ansible, briefing, hosts, plan)
        return execute(plan, journal, run, progress, lambda step: str(log_path(home, plan, step)))


def _unpack(source: BundleContent, contents: Contents, folder: Path) -> None:
    limits = Limits()
    layer = read_layer(source, contents.playbooks_repository, contents.playbooks.digest, limits.bytes)
    unpack(io.BytesIO(layer), folder, limits)
    if not (folder / "playbooks" / "step.yml").is_file():
        raise SiteError("playbooks-unknown", "the bundle's playbooks have no step.yml", hint="use a matching dryport")


def log_path(home: Home, plan: Plan, step: Step) -> Path:
    """Return where the full output of a step is kept."""
    return home.logs / plan.digest.removeprefix("sha256:")[:12] / f"{step.id}.log"


def _runner(
    ansible: Ansible, briefing: Briefing, hosts: Mapping[str, Host], plan: Plan
) -> Callable[[Step, Callable[[str], None]], Outcome]:
    variables = {name: briefing.variables(host) for name, host in hosts.items()}

    def run(step: Step, told: Callable[[str], None]) -> Outcome:
        values = variables[step.host]
        verb = {"dryport_role": step.role, "dryport_verb": step.verb}
        hidden = briefing.secrets(values)
        outcome = ansible.run(hosts[step.host], "step.yml", values | verb, told, lambda text: masked(text, hidden))
        path = log_path(briefing.home, plan, step)
        durable.make_folder(path.parent, 0o700)
        durable.replace(path, outcome.log.encode(), 0o600)
        return outcome

    return run


def _finish(order: Order, plan: Plan) -> None:
    release = order.verified.release
    contents = Contents.of(order.verified.content(), plan.product, plan.version)
    installed = Installed(
        product=release.product,
        version=release.version,
        sequence=release.sequence,
        index=str(release.index),
        issued=release.issued.isoformat(),
        best_before=release.best_before.isoformat(),
        kit=contents.kit.version,
        packs=list(contents.packs),
        hosts=[host.name for host in order.declared.site.hosts],
        applied=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    State(release=installed, plan=plan.digest).save(order.home.state)
