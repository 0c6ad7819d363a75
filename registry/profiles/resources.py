"""Whether the machines are enough: what packs ask for against what pools have.

`minLimit` is the least that each pool of workers offers. With components, their needs are read from the values instead:
request times replicas, on the nodes of their schedule. The needs of all packs together have to fit as well.

>>> quantity("512Mi", "memory"), quantity("1.5", "cpu")
(512.0, 1500.0)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from registry.packs.findings import Finding
from registry.packs.model import Component, Resource
from registry.packs.scalars import Value
from registry.packs.schema import places, spelled
from registry.profiles.composing import Composed, Part, place
from registry.profiles.model import Pool

UNITS = {"cpu": "m", "memory": "Mi", "diskSize": "GB"}
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_SCALE = {"m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_SCALE |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_SCHEDULES = {"minimum": "worker", "worker": "worker", "control-plane": "control-plane"}
_BASE = {"cpu": 1e-3, "memory": 2.0**20, "diskSize": 1e9}


@dataclass(frozen=True, slots=True)
class Need:
    """What one pack needs of one resource."""

    pack: str
    number: int
    kind: str
    amount: float
    schedule: str
    """all, worker or control-plane; minimum for what each pool of workers has to offer."""


def judge(composed: Composed) -> Iterator[Finding]:
    """Yield what does not fit."""
    found: list[Finding] = []
    needs = [need for part in composed.parts for need in _needs(part, found)]
    yield from found
    pools = composed.profile.cluster.pools
    if not needs:
        return
    if not pools:
        yield Finding("resources-unchecked", f"{len(needs)} need(s), and the profile describes no pools")
        return
    for need in needs:
        for pool in pools if need.schedule == "minimum" else ():
            has = pool.nodes * _of(pool, need.kind)
            if pool.role == "worker" and has < need.amount:
                text = (
                    f"{need.pack} needs {_told(need.kind, need.amount)}, pool {pool.name} has {_told(need.kind, has)}"
                )
                yield Finding("resources-short", text, place(need.number))
    yield from _together(needs, pools)


def quantity(value: Value, kind: str) -> float:
    """Return a Kubernetes quantity in the unit of a resource: millicores, Mi or GB. Raises ValueError."""
    text = spelled(value).strip()
    found = _QUANTITY.fullmatch(text)
    if isinstance(value, bool) or found is None:
        raise ValueError(f"not a quantity: {text[:60]!r}")
    return float(found[1]) * _SCALE[found[2] or ""] / _BASE[kind]


def _together(needs: Sequence[Need], pools: Sequence[Pool]) -> Iterator[Finding]:
    for kind in UNITS:
        for schedule, name in (("worker", "the workers"), ("control-plane", "the control plane"), ("all", "all nodes")):
            mine = [
                need
                for need in needs
                if need.kind == kind and (schedule == "all" or _SCHEDULES.get(need.schedule) == schedule)
            ]
            wanted = sum(need.amount for need in mine)
            has = sum(pool.nodes * _of(pool, kind) for pool in pools if schedule in {"all", pool.role})
            if len({need.pack for need in mine}) > 1 and wanted > has:
                who = ", ".join(f"{need.pack} {_told(kind, need.amount)}" for need in mine)
                text = f"together {_told(kind, wanted)} ({who}), {name} have {_told(kind, has)}"
                yield Finding("resources-short", text)
                break


def _needs(part: Part, found: list[Finding]) -> Iterator[Need]:
    name = part.entry.pack
    for resource in part.content.metadata.constraints.resources:
        if resource.kind not in UNITS:
            continue
        if not resource.components:
            if resource.min_limit is not None:
                yield Need(name, part.number, resource.kind, resource.min_limit, "minimum")
            continue
        for component in resource.components:
            try:
                amount = _amount(part, resource, component)
            except ValueError as error:
                found.append(Finding("resources-unreadable", f"{name}: {error}", place(part.number)))
                continue
            schedule = {"master": "control-plane"}.get(component.schedule, component.schedule)
            yield Need(name, part.number, resource.kind, amount, schedule)


def _amount(part: Part, resource: Resource, component: Component) -> float:
    request = _at(part, component.request_path)
    replicas = _at(part, component.replicas_path) if component.replicas_path else 1
    if isinstance(replicas, bool) or not isinstance(replicas, int | float | str):
        raise ValueError(f"{component.replicas_path} is no count")
    try:
        count = float(replicas)
    except ValueError as error:
        raise ValueError(f"{component.replicas_path} is no count") from error
    return quantity(request, resource.kind) * count


def _at(part: Part, path: str) -> Value:
    found = next((value for _, value in places(part.values, path.split("."))), None)
    if found is None or isinstance(found, (list, dict)):
        raise ValueError(f"{path} has no value")
    return found


def _of(pool: Pool, kind: str) -> int:
    return {"cpu": pool.cpu, "memory": pool.memory, "diskSize": pool.disk}[kind]


def _told(kind: str, amount: float) -> str:
    return f"{kind} {amount:g}{UNITS[kind]}"
