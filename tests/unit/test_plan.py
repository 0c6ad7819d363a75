from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bundles.trust.verify import Release
from installer.flows import plan as plans
from installer.site.config import Declared
from installer.site.state import Installed, State
from registry.errors import SiteError
from tests.site_samples import ALL_VERBS, CONTENTS, GOOD, KIT_LAYER, NOW, SITE, Sample, declare, release, sample


@pytest.fixture
def site(tmp_path: Path) -> Sample:
    return sample(tmp_path)


def held(one: Release) -> State:
    installed = Installed(
        product=one.product,
        version=one.version,
        sequence=one.sequence,
        index=str(one.index),
        issued="",
        best_before="",
        hosts=["n1", "n2"],
        applied="",
    )
    return State(release=installed)


def stale(sample_site: Sample, plan: plans.Plan, **change: object) -> str:
    world: dict[str, object] = {
        "site": sample_site.declared.site,
        "state": State(),
        "release": release(),
        "now": NOW + timedelta(hours=1),
    }
    with pytest.raises(SiteError) as caught:
        plans.require_current(plan, **(world | change))  # type: ignore[arg-type]
    assert caught.value.reference == "plan-stale"
    return caught.value.expected


def test_the_same_inputs_give_the_same_plan(site: Sample) -> None:
    assert site.plan().encode() == site.plan().encode()


def test_steps_go_role_by_role_and_are_numbered_in_their_order(site: Sample) -> None:
    steps = site.plan().steps
    assert [step.id for step in steps[:3]] == [
        "001-python-precheck-n1",
        "002-python-precheck-n2",
        "003-python-install-n1",
    ]
    roles = [step.role for step in steps]
    assert list(dict.fromkeys(roles)) == list(plans.ROLES)
    assert [step.id[:3] for step in steps] == [f"{number:03}" for number in range(1, len(steps) + 1)]


def test_only_registry_hosts_get_the_registry(site: Sample) -> None:
    steps = site.plan().steps
    assert {step.host for step in steps if step.role in ("registry", "packs")} == {"n1"}
    assert {step.host for step in steps if step.role == "kit"} == {"n1", "n2"}


def test_a_verb_that_a_role_has_not_makes_no_step() -> None:
    names = ["playbooks/step.yml", "playbooks/roles/kit/tasks/install.yml", "playbooks/roles/kit/tasks/remove.yml"]
    assert plans.verbs_in(names) == {("kit", "install")}
    assert plans.verbs_in([f"playbooks/roles/{role}/tasks/{verb}.yml" for role, verb in ALL_VERBS]) == ALL_VERBS


def test_a_plan_tells_what_each_host_fetches(site: Sample) -> None:
    fetched = {(step.role, step.verb): step.bytes for step in site.plan().steps if step.bytes}
    assert fetched == {("packages", "install"): 1000, ("kit", "install"): 3, ("registry", "configure"): 5000}


def test_there_is_nothing_to_change_only_if_state_and_hosts_agree(site: Sample) -> None:
    agrees = replace(GOOD, kit=KIT_LAYER.digest.hex, registry="active")
    same = {"n1": agrees, "n2": replace(agrees, registry="inactive")}
    assert site.plan(held(release()), same).nothing_to_change
    assert not site.plan(State(), same).nothing_to_change
    assert not site.plan(held(release(index=b"other")), same).nothing_to_change
    assert not site.plan(held(release()), same | {"n1": replace(agrees, registry="failed")}).nothing_to_change
    assert not site.plan(held(release()), same | {"n2": replace(agrees, kit=None)}).nothing_to_change


def test_a_saved_plan_is_read_back_by_its_site(site: Sample, tmp_path: Path) -> None:
    key, path = site.home.secrets.read(plans.PLAN_KEY), tmp_path / "plan.json"
    plans.save(site.plan(), path, key)
    assert plans.checked(plans.load(path), site.home, key) == site.plan()


def test_a_changed_plan_is_refused_whatever_was_changed(site: Sample, tmp_path: Path) -> None:
    key, path = site.home.secrets.read(plans.PLAN_KEY), tmp_path / "plan.json"
    plans.save(site.plan(), path, key)
    whole = json.loads(path.read_bytes())
    changes = [
        whole | {"plan": whole["plan"] | {"sequence": 2}},
        whole | {"plan": whole["plan"] | {"steps": whole["plan"]["steps"][1:]}},
        whole | {"signature": "0" * 64},
        whole | {"signature": "é" * 64},
        whole | {"digest": "sha256:" + "0" * 64},
    ]
    for changed in changes:
        path.write_text(json.dumps(changed))
        with pytest.raises(SiteError) as caught:
            plans.checked(plans.load(path), site.home, key)
        assert caught.value.reference == "plan-not-ours"


def test_a_plan_of_another_site_is_refused(site: Sample, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other, path = sample(tmp_path / "other"), tmp_path / "plan.json"
    plans.save(other.plan(), path, other.home.secrets.read(plans.PLAN_KEY))
    with pytest.raises(SiteError) as caught:
        plans.checked(plans.load(path), site.home, site.home.secrets.read(plans.PLAN_KEY))
    assert caught.value.reference == "plan-not-ours"


def test_a_plan_that_is_no_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"plan": {}}')
    with pytest.raises(SiteError) as caught:
        plans.load(tmp_path / "plan.json")
    assert caught.value.reference == "plan-unreadable"


def test_a_plan_holds_while_nothing_changed(site: Sample) -> None:
    plans.require_current(site.plan(), site.declared.site, State(), release(), NOW + timedelta(hours=23))


def test_a_plan_is_stale_when_bundle_site_state_or_day_changed(site: Sample, tmp_path: Path) -> None:
    plan = site.plan()
    changed: Declared = declare(tmp_path, SITE.replace("user: ops", "user: root"))
    assert "bundle" in stale(site, plan, release=release(index=b"other"))
    assert "site.yaml" in stale(site, plan, site=changed.site)
    assert "state" in stale(site, plan, state=held(release()))
    assert "before" in stale(site, plan, now=NOW + timedelta(hours=25))


def test_the_plan_that_led_to_the_state_may_be_applied_again(site: Sample) -> None:
    plan = site.plan()
    state = held(release()).model_copy(update={"plan": plan.digest})
    plans.require_current(plan, site.declared.site, state, release(), NOW)


def test_no_secret_of_the_site_is_in_a_plan(site: Sample) -> None:
    text = site.plan().encode().decode()
    for path in [*(site.home.path / "secrets").iterdir(), *site.home.pki.glob("*.key")]:
        assert path.read_text().strip() not in text
    assert CONTENTS.packs[0] in text
