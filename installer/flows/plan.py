"""The plan: frozen, ordered steps from what is to what should be. `apply` executes exactly these.

* A pure function of the verified release, the declared site, what the hosts told and the state; no clock, no network.
* A step is role x verb x host and one call of the runner. A verb that a role does not have makes no step.
* A plan is bound to the release's index, the state and the declaration by their digests, and signed with a key of the
  site's home: changed, or overtaken by events, it is refused.

>>> plan = make(verified, declared, home_id=identity.id, ...)
>>> [step.id for step in plan.steps][0]
'001-python-precheck-node1'
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bundles.trust.verify import Release
from bundles.verify import Verified
from installer.flows.contents import Contents
from installer.hosts.facts import Facts
from installer.site.config import Declared, Site
from installer.site.home import Home
from installer.site.secrets import Secret
from installer.site.state import State
from registry.errors import SiteError, TrustError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.store import durable

ROLES = ("python", "packages", "trust", "kit", "registry", "packs")
VERBS = ("precheck", "install", "configure", "check")
LOOKING_VERBS = frozenset({"precheck", "check"})
"""Verbs that change nothing: they are run again when an apply is resumed."""
REGISTRY_ROLES = frozenset({"registry", "packs"})
"""Roles of hosts that run the site's registry only."""
PLAN_BYTES = 64 << 20
PLAN_KEY = "plan-key"
"""Name of the secret that signs a site's plans."""
_AFTER = {
    "python": "Python 3 runs, from the release's packages",
    "packages": "the release's packages are installed, its repository is apt's source",
    "trust": "the site CA is trusted by apt and by registry clients",
    "kit": "the release's dryport runs as /usr/local/bin/dryport",
    "registry": "the site registry runs, with the release's content",
    "packs": "the site registry lists the release's packs",
}


class Frozen(BaseModel):
    """Base of the plan's parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(Frozen):
    """One call of the runner."""

    id: str
    role: str
    verb: str
    host: str
    idempotent: bool = True
    undo: str
    before: str
    after: str
    bytes: int = 0
    """What the host fetches, at most."""


class Plan(Frozen):
    """A whole plan."""

    apiVersion: Literal["dryport/v1"] = "dryport/v1"  # noqa: N815
    kind: Literal["Plan"] = "Plan"
    site: str
    site_id: str
    home: str
    product: str
    version: str
    sequence: int
    index: str
    config: str
    state: str
    made: datetime
    until: datetime
    packs: list[str]
    nothing_to_change: bool
    """The site runs this release already and its hosts agree; apply then checks that nothing drifted."""
    steps: list[Step]

    def encode(self) -> bytes:
        """Return the plan's one canonical encoding."""
        return strictjson.canonical(self.model_dump(mode="json"))

    @property
    def digest(self) -> str:
        """What the journal calls the plan."""
        return str(Digest.of(self.encode()))


class Signed(Frozen):
    """A plan file."""

    plan: Plan
    digest: str
    signature: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What is: the state as remembered, the hosts as they tell."""

    state: State
    facts: Mapping[str, Facts]


def make(
    verified: Verified,
    declared: Declared,
    home: Home,
    observed: Observed,
    verbs: Collection[tuple[str, str]],
    *,
    bundle_bytes: int,
    now: datetime,
) -> Plan:
    """Return the plan that brings the site to a verified release.

    `verbs` are the (role, verb) pairs that the release's playbooks have.
    """
    contents = Contents.of(verified.content(), verified.release.product, verified.release.version)
    return draft(verified.release, contents, declared, home, observed, verbs=verbs, bundle_bytes=bundle_bytes, now=now)


def draft(
    release: Release,
    contents: Contents,
    declared: Declared,
    home: Home,
    observed: Observed,
    *,
    verbs: Collection[tuple[str, str]],
    bundle_bytes: int,
    now: datetime,
) -> Plan:
    """Return the plan for a release whose contents are known: `make` without the bundle in hand."""
    site, state = declared.site, observed.state
    return Plan(
        site=site.name,
        site_id=home.identity.id,
        home=str(home.path),
        product=release.product,
        version=release.version,
        sequence=release.sequence,
        index=str(release.index),
        config=str(site.digest),
        state=str(state.digest),
        made=now,
        until=now + timedelta(hours=site.policy.plan_hours),
        packs=list(contents.packs),
        nothing_to_change=_is_there(release, contents, site, observed),
        steps=list(_steps(site, contents, state, verbs, bundle_bytes)),
    )


def verbs_in(names: Collection[str]) -> frozenset[tuple[str, str]]:
    """Return the (role, verb) pairs among the names of a release's playbooks."""
    return frozenset(
        (role, verb)
        for role in ROLES
        for verb in VERBS
        if any(name.endswith(f"roles/{role}/tasks/{verb}.yml") for name in names)
    )


def require_product(state: State, release: Release) -> None:
    """Raise TrustError if the site runs another product: a stick of somebody's is no update of it."""
    if state.release is None or state.release.product == release.product:
        return
    raise TrustError(
        "release-of-another-product",
        "the bundle holds another product than the one this site runs",
        expected=f"a release of {state.release.product}",
        seen=f"{release.product} {release.version}",
        hint="use a bundle of this site's product; another product wants a site of its own: dryport site init",
    )


def _steps(
    site: Site, contents: Contents, state: State, verbs: Collection[tuple[str, str]], bundle_bytes: int
) -> Iterator[Step]:
    before = f"{state.release.product} {state.release.version}" if state.release else "nothing of dryport"
    size = {
        ("kit", "install"): contents.kit.layer.size,
        ("packages", "install"): sum(one.size for one in contents.apt),
        ("registry", "configure"): bundle_bytes,
    }
    number = 0
    for role in ROLES:
        hosts = site.registry_hosts if role in REGISTRY_ROLES else [host.name for host in site.hosts]
        for verb in VERBS:
            if (role, verb) not in verbs:
                continue
            for host in hosts:
                number += 1
                looks = verb in LOOKING_VERBS
                yield Step(
                    id=f"{number:03}-{role}-{verb}-{host}",
                    role=role,
                    verb=verb,
                    host=host,
                    undo="nothing to undo" if looks else f"{role} remove",
                    before=before,
                    after="nothing changes" if looks else _AFTER[role],
                    bytes=size.get((role, verb), 0),
                )


def _is_there(release: Release, contents: Contents, site: Site, observed: Observed) -> bool:
    held = observed.state.release
    names = [host.name for host in site.hosts]
    if held is None or (held.product, held.index, held.hosts) != (release.product, str(release.index), names):
        return False
    if any((observed.facts[name].kit or "").removeprefix("sha256:") != contents.kit.layer.digest.hex for name in names):
        return False
    return all(observed.facts[name].registry == "active" for name in site.registry_hosts)


def save(plan: Plan, path: Path, key: Secret) -> None:
    """Write a plan, signed by its site."""
    signed = Signed(plan=plan, digest=plan.digest, signature=_signature(plan, key))
    durable.replace(path, strictjson.canonical(signed.model_dump(mode="json")), 0o600)


def load(path: Path) -> Signed:
    """Return a plan file as it is; `checked` proves it. Raises SiteError."""
    try:
        return Signed.model_validate(strictjson.loads(path.read_bytes(), limit=PLAN_BYTES))
    except (OSError, ValueError, ValidationError) as error:
        raise SiteError("plan-unreadable", str(error), where=str(path), hint=_AGAIN) from error


def checked(signed: Signed, home: Home, key: Secret) -> Plan:
    """Return the plan if this site made it and nobody changed it since. Raises SiteError."""
    plan = signed.plan
    is_signed = hmac.compare_digest(signed.signature.encode(), _signature(plan, key).encode())
    if not is_signed or plan.site_id != home.identity.id or signed.digest != plan.digest:
        raise SiteError(
            "plan-not-ours",
            "this site did not make this plan, or somebody changed it",
            expected=f"a plan signed by the home {home.path}",
            hint=_AGAIN,
        )
    return plan


def require_current(plan: Plan, site: Site, state: State, release: Release, now: datetime) -> None:
    """Raise SiteError `plan-stale` if the world is not any more what the plan was made for.

    A plan that led to the present state may be applied again: it then changes nothing.
    """
    expected, seen = "", ""
    if plan.index != str(release.index):
        expected, seen = f"the bundle with index {plan.index}", f"{release.index} ({release.product} {release.version})"
    elif plan.config != str(site.digest):
        expected, seen = "the site.yaml of the plan", "site.yaml changed since"
    elif plan.state != str(state.digest) and state.plan != plan.digest:
        expected, seen = "the state of the plan", "another apply ended since"
    elif now > plan.until:
        expected, seen = f"an apply before {plan.until:%Y-%m-%d %H:%M} UTC", f"{now:%Y-%m-%d %H:%M} UTC"
    if expected:
        raise SiteError(
            "plan-stale", "the plan was made for another situation", expected=expected, seen=seen, hint=_AGAIN
        )


_AGAIN = "plan again: dryport plan site.yaml --bundle BUNDLE --out plan.json"


def _signature(plan: Plan, key: Secret) -> str:
    return hmac.new(key.reveal().encode(), b"dryport plan\n" + plan.encode(), hashlib.sha256).hexdigest()
