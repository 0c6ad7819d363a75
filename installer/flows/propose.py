"""`plan`: look at the hosts, refuse what could not go well, and make the plan. Nothing is changed anywhere."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path

from bundles.verify import Verified
from installer.flows.contents import Contents, read_layer
from installer.flows.look import judge, observe
from installer.flows.plan import PLAN_KEY, Observed, Plan, make, require_product, verbs_in
from installer.flows.plan import save as save_plan
from installer.hosts.content import Limits, listed
from installer.hosts.facts import Facts
from installer.site.config import Declared
from installer.site.home import Home
from installer.site.state import State


def propose(verified: Verified, declared: Declared, home: Home) -> Plan:
    """Return the plan for a verified bundle.

    Raises TrustError for another product than the site's, HostError if a preflight does not pass.
    """
    state, release = State.load(home.state), verified.release
    require_product(state, release)
    source = verified.content()
    contents = Contents.of(source, release.product, release.version)
    limits = Limits()
    layer = read_layer(source, contents.playbooks_repository, contents.playbooks.digest, limits.bytes)
    is_held = state.release is not None and state.release.index == str(release.index)
    needed = 0 if is_held else verified.archive.layout.size
    facts = observe(declared, home)
    found = judge(declared, home, facts, platforms=release.platforms, bundle_bytes=needed)
    if refusal := found.refusal():
        raise refusal
    observed = Observed(state, {name: one for name, one in facts.items() if isinstance(one, Facts)})
    verbs = verbs_in(listed(io.BytesIO(layer), limits))
    return make(verified, declared, home, observed, verbs, bundle_bytes=needed, now=datetime.now(UTC))


def save(plan: Plan, path: Path, home: Home) -> None:
    """Write the plan, signed with the home's key."""
    save_plan(plan, path, home.secrets.read(PLAN_KEY))
