"""Histories of sticks that reach one site, read by dryport and by python-tuf's ngclient at the same fixed times.

A publisher makes a few releases while roots change, keys go and come, and sequences rise and fall. Then sticks arrive:
in any order, again, edited, with the clock set forth and back. After each stick both readers must agree, but for the
deviations below. Each is judged by what ngclient remembers and has read at that moment,
and by what an onlooker saw dryport accept; never by dryport's own word alone.

Ours alone refuses (all stricter):
* `sequence kept`: a new root took the release keys, so that ngclient no longer believes its own memory; ours stays;
* `clock`: the clock is behind signed evidence, which ngclient does not look at;
* `not asked for`: what was edited lies in files that ngclient did not read;
* `roots left out`: the chain of roots on the stick has a gap behind which there are more;
* `spelling`: the same values in another spelling than the one signed, or one we do not read.
Theirs alone refuses:
* `expired root`: the end of ngclient's work, a warning of ours;
* `taken in before`: what a site took in stays installable past its best-before.
Either may:
* `remembered instead`: ngclient remembers another timestamp of this version, so it judges its memory and not the stick;
* `refused and remembered`: ngclient keeps the metadata of a stick whose index it refused, so that an honest stick below
  it is too old, and of two releases with one sequence it waits for that one;
* `half a chain`: ngclient keeps the good roots before a bad one on the same stick; we take a chain whole or not at all.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.exceptions import ExpiredMetadataError
from tuf.api.metadata import Metadata, Root

from registry.oci.digest import Digest
from tests.attacks.publisher import DAY, NOW, Publisher, Region, keys, resigned
from tests.stock_client import Oracle, Site, Stick

ROLES = ("timestamp", "snapshot", "targets")


@dataclass(frozen=True)
class Made:
    """A release as it was published, and by whom."""

    region: Region
    index: bytes
    sequence: int
    issued: datetime
    signers: list[Signer]

    @property
    def stick(self) -> Stick:
        """What a site would be given."""
        return self.region, self.index


Edit = Callable[[random.Random, Publisher, list[Made], Made], Stick]


def unchanged(_: random.Random, __: Publisher, ___: list[Made], one: Made) -> Stick:
    return one.stick


def dropped(chance: random.Random, _: Publisher, __: list[Made], one: Made) -> Stick:
    gone = chance.choice(sorted(one.region))
    return {name: data for name, data in one.region.items() if name != gone}, one.index


def flipped(chance: random.Random, _: Publisher, __: list[Made], one: Made) -> Stick:
    name = chance.choice([*sorted(one.region), "index.json"])
    data = bytearray(one.region.get(name, one.index))
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return (one.region, bytes(data)) if name == "index.json" else ({**one.region, name: bytes(data)}, one.index)


def mixed(chance: random.Random, _: Publisher, made: list[Made], one: Made) -> Stick:
    name = f"metadata/{chance.choice(ROLES)}.json"
    return {**one.region, name: chance.choice(made).region[name]}, one.index


def too_few_signed(chance: random.Random, _: Publisher, __: list[Made], one: Made) -> Stick:
    return resigned(one.region, chance.choice(ROLES), lambda _: None, one.signers[:-1]), one.index


def strangers_signed(chance: random.Random, _: Publisher, __: list[Made], one: Made) -> Stick:
    return resigned(one.region, chance.choice(ROLES), lambda _: None, keys(len(one.signers))), one.index


def ended(chance: random.Random, _: Publisher, __: list[Made], one: Made) -> Stick:
    past = (NOW - 30 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
    return resigned(one.region, chance.choice(ROLES), lambda part: part.update(expires=past), one.signers), one.index


def another_index(_: random.Random, __: Publisher, made: list[Made], one: Made) -> Stick:
    return one.region, made[-1].index


def old_release_with_all_roots(_: random.Random, __: Publisher, made: list[Made], one: Made) -> Stick:
    roots = {name: data for name, data in made[-1].region.items() if name.endswith(".root.json")}
    return {**one.region, **roots}, one.index


def usurped(chance: random.Random, publisher: Publisher, __: list[Made], one: Made) -> Stick:
    """A root of somebody else behind the real ones, signed by too few of the people whose word it needs."""
    usurper = Publisher()
    usurper.roots = [data for name, data in sorted(one.region.items(), key=_number) if name.endswith(".root.json")]
    usurper.people = keys(3)
    real = publisher.people[: chance.randrange(2)] if len(usurper.roots) == len(publisher.roots) else []
    usurper.rotate(signed_by=[*usurper.people[:2], *real])
    return {**one.region, f"metadata/{len(usurper.roots)}.root.json": usurper.roots[-1]}, one.index


def _number(item: tuple[str, bytes]) -> int:
    head = item[0].removeprefix("metadata/").split(".")[0]
    return int(head) if head.isdecimal() else 0


EDITS: list[Edit] = [
    *[unchanged] * 12,
    dropped,
    flipped,
    flipped,
    mixed,
    too_few_signed,
    strangers_signed,
    ended,
    another_index,
    old_release_with_all_roots,
    usurped,
]


def published(chance: random.Random) -> tuple[Publisher, list[Made]]:
    """Return a publisher and its releases, in the order of making."""
    publisher = Publisher(release_keys=3, release_threshold=chance.choice([1, 2, 2]))
    made: list[Made] = []
    sequence, issued = 0, NOW - 10 * DAY
    for _ in range(chance.randint(2, 5)):
        match chance.choice(["", "", "", "people", "release", "one release key", "short life", "twice"]):
            case "people":
                publisher.rotate(people=keys(3))
            case "release":
                publisher.rotate(release=keys(3))
            case "one release key":
                publisher.rotate(release=[*publisher.release[1:], *keys(1)])
            case "short life":
                publisher.rotate(expires=issued + chance.randint(5, 40) * DAY)
            case "twice":
                publisher.rotate(expires=NOW - 100 * DAY)  # between two others a root may be expired
                publisher.rotate(people=keys(3))
        sequence = max(1, sequence + chance.choice([1, 1, 1, 1, 0, -1, 5]))
        issued += timedelta(hours=chance.randint(1, 72))
        if _expiry(publisher.roots[-1]) <= issued:
            publisher.rotate()
        signers = list(publisher.release[: publisher.release_threshold])
        end = min(issued + chance.choice([8, 30, 180]) * DAY, _expiry(publisher.roots[-1]))
        region, index = publisher.bundle(
            sequence, content=f"{sequence} of {chance.randint(1, 2)}", issued=issued, best_before=end
        )
        made.append(Made(region, index, sequence, issued, signers))
    return publisher, made


def compare(seed: int, folder: Path) -> tuple[int, Counter[str], list[str]]:
    """Play one history; return how many sticks were read, the deviations by name, and what nothing explains."""
    chance = random.Random(seed)  # noqa: S311 - the same history on every run, but for the keys
    publisher, made = published(chance)
    history = History(Oracle(publisher.roots[0], folder), Site(publisher))
    now, seen, violations = NOW, Counter[str](), []
    sticks = chance.randint(3, 7)
    for number in range(sticks):
        now += timedelta(hours=chance.choice([0, 1, 1, 24, 24, 24, 48, 24 * 9, 24 * 20, -24 * 12]))
        one = made[min(len(made) - 1, max(0, round(number * len(made) / sticks) + chance.choice([0, 0, 0, 1, -1])))]
        edit = chance.choice(EDITS)
        outcome, names = history.read(one, edit(chance, publisher, made, one), now)
        seen.update(names)
        if "violation" in names:
            violations.append(f"seed {seed}, stick {number}, {edit.__name__}: {outcome}")
    return sticks, seen, violations


@dataclass
class History:
    """Both readers, and what an onlooker knows of them without asking dryport."""

    oracle: Oracle
    site: Site
    accepted: tuple[int, Digest] | None = None
    floor: datetime = NOW - 3650 * DAY
    keys: frozenset[str] = frozenset()
    """The release keys that counted when dryport accepted a stick last."""
    roots: int = 1
    """The most that dryport was seen to trust."""
    forgotten: set[Digest] = field(default_factory=set)
    """Indexes that ngclient took after a new root made it forget."""

    def read(self, one: Made, stick: Stick, now: datetime) -> tuple[str, list[str]]:
        """Give a stick to both; return who refused it and why, and under which names it is counted."""
        memory = {role: self.oracle.memory(role) for role in ROLES}
        remembered = _version(memory["timestamp"])
        ours, theirs = self.site.accepts(stick, now), self.oracle.accepts(stick, now)
        self.roots = max(self.roots, len(self.site.state.roots))
        outcome = f"ours {self.site.error.reference if self.site.error else 'accepts'}; theirs {self.oracle.error}"
        names = ["both accept" if ours and theirs else "both refuse" if not ours and not theirs else "deviate"]
        if ours != theirs:
            names.append(self._shared(one, stick, memory))
            if not names[-1]:
                names[-1] = self._theirs(one, stick, remembered) if ours else self._ours(one, stick, now, remembered)
            names[-1] = names[-1] or "violation"
        if ours:
            self.accepted, self.floor = (one.sequence, Digest.of(stick[1])), max(self.floor, one.issued)
            self.keys = _release_keys(self.site)
        return outcome, names

    def _shared(self, one: Made, stick: Stick, memory: dict[str, bytes]) -> str:
        if _version(self.oracle.memory("root")) > self.roots:
            return "half a chain"
        other = any(memory[role] != stick[0].get(f"metadata/{role}.json") for role in ROLES)
        return "remembered instead" if _version(memory["timestamp"]) == one.sequence and other else ""

    def _theirs(self, one: Made, stick: Stick, remembered: int) -> str:
        """Name the reason for which ngclient alone refused a stick, if it is listed."""
        expired = isinstance(self.oracle.error, ExpiredMetadataError)
        if expired and "root" in str(self.oracle.error):
            return "expired root"
        if expired and self.accepted == (one.sequence, Digest.of(stick[1])):
            return "taken in before"
        last = self.accepted[0] if self.accepted else 0
        return "refused and remembered" if last <= one.sequence < remembered else ""

    def _ours(self, one: Made, stick: Stick, now: datetime, remembered: int) -> str:
        """Name the reason for which dryport alone refused a stick, if it is listed."""
        assert self.site.error is not None
        reference, index = self.site.error.reference, Digest.of(stick[1])
        edited = {name for name in {*stick[0], *one.region} if stick[0].get(name) != one.region.get(name)}
        if edited and not edited & self.oracle.asked:
            return "not asked for"
        if reference in {"release-rolled-back", "release-sequence-reused"}:
            if self.keys != _release_keys(self.site):
                self.forgotten.add(index)
            if index in self.forgotten:
                return "sequence kept"
            twice = self.accepted is not None and self.accepted[0] == one.sequence and self.accepted[1] != index
            return "refused and remembered" if twice and remembered == one.sequence else ""
        if reference == "clock-behind-evidence":
            return "clock" if now < max(self.floor, one.issued) else ""
        return {"root-chain-gap": "roots left out", "metadata-malformed": "spelling"}.get(reference, "")


def _version(metadata: bytes) -> int:
    return int(json.loads(metadata)["signed"]["version"]) if metadata else 0


def _expiry(root: bytes) -> datetime:
    return Metadata[Root].from_bytes(root).signed.expires


def _release_keys(site: Site) -> frozenset[str]:
    return frozenset(Metadata[Root].from_bytes(site.state.roots[-1]).signed.roles["timestamp"].keyids)
