"""What counts as proof: a pull that asked a mirror, and nobody else."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from installer.flows.prove import Outcome, prove
from installer.hosts.node import LocalNode
from installer.hosts.pull import PULLERS
from registry.errors import HostError
from registry.mirror import declared
from registry.oci.reference import Reference
from registry.progress import Silent

MAPPING = declared.of(("one.example:5000", "two.example"), ("docker.io",))
IMAGE = Reference.parse(f"docker.io/library/x:1@sha256:{'a' * 64}")
BEGIN = (
    "mirror one.example 192.0.2.1",
    "mirror one.example 2001:db8::1",
    "mirror two.example 192.0.2.2",
    "resolver 192.0.2.53",
    "ready",
)


@dataclass
class Told:
    """Stands in for a `Puller`: its node says what a test wants, in the form in which a real one says it."""

    said: Sequence[str]
    begin: Sequence[str] = BEGIN
    certs: str = ""

    def script(self, *_: object, **__: object) -> str:
        begin, said = (shlex.quote("\n".join(part)) for part in (self.begin, self.said))
        return f"echo {begin}; while read -r line; do echo {said}; done"


def outcome(*said: str, is_watched: bool = True) -> Outcome:
    (found,) = prove(LocalNode(), Told(said), [IMAGE], MAPPING, Silent(), is_watched=is_watched)
    return found


@pytest.mark.parametrize(
    ("said", "served_by"),
    [
        (["asked 192.0.2.1 5000", "looked-up one.example", "code 0"], "one.example:5000"),
        (["asked ::ffff:192.0.2.1 5000", "code 0"], "one.example:5000"),
        (["asked 2001:db8:0::1 5000", "code 0"], "one.example:5000"),
        (
            ["asked 192.0.2.1 5000", "asked 192.0.2.2 443", "looked-up TWO.example.", "code 0"],
            "one.example:5000, two.example",
        ),
        (["asked 192.0.2.53 53", "asked 192.0.2.1 9", "asked 192.0.2.1 5000", "code 0"], "one.example:5000"),
    ],
)
def test_what_a_mirror_served_is_proven(said: list[str], served_by: str) -> None:
    found = outcome(*said)
    assert (found.is_proven, found.served_by, found.elsewhere) == (True, served_by, ())


@pytest.mark.parametrize(
    ("said", "elsewhere"),
    [
        (["asked 192.0.2.1 5000", "looked-up registry-1.docker.io", "code 0"], ("registry-1.docker.io",)),
        (["asked 192.0.2.1 5000", "asked 198.51.100.7 443", "code 0"], ("198.51.100.7 port 443",)),
        (["asked 192.0.2.1 5000", "asked 192.0.2.1 443", "code 0"], ("192.0.2.1 port 443",)),
        (["asked 192.0.2.1 5000", "asked 198.51.100.7 53", "code 0"], ("198.51.100.7 port 53",)),
        (["asked 192.0.2.1 5000", "asked 198.51.100.7 9", "code 0"], ("198.51.100.7 port 9",)),
        (["code 0"], ()),
        (["asked 192.0.2.1 5000", "said manifest unknown", "code 1"], ()),
    ],
)
def test_anything_else_is_not(said: list[str], elsewhere: tuple[str, ...]) -> None:
    found = outcome(*said)
    assert not found.is_proven
    assert found.elsewhere == elsewhere


def test_unwatched_a_pull_is_believed_but_names_are_still_seen() -> None:
    assert outcome("code 0", is_watched=False).is_proven
    assert not outcome("looked-up quay.io", "code 0", is_watched=False).is_proven
    assert not outcome("code 1", is_watched=False).is_proven


def test_the_runtime_itself_must_read_the_folder() -> None:
    certs = "/etc/containerd/certs.d"
    told = [*BEGIN[:-1], f"setting /etc/other:{certs}", "ready"]
    answer = ["asked 192.0.2.1 5000", "code 0"]
    assert prove(LocalNode(), Told(answer, told, certs), [IMAGE], MAPPING, Silent())[0].is_proven
    assert prove(LocalNode(), Told(answer, BEGIN, certs), [IMAGE], MAPPING, Silent(), root="/tmp/node")[0].is_proven
    for setting in ("", "setting /etc/containerd/certs.d.old"):
        with pytest.raises(HostError) as caught:
            prove(LocalNode(), Told(answer, [*BEGIN[:-1], setting, "ready"], certs), [IMAGE], MAPPING, Silent())
        assert caught.value.reference == "runtime-not-told"


@pytest.mark.parametrize("name", PULLERS)
def test_a_script_takes_no_word_from_its_settings(name: str) -> None:
    script = PULLERS[name].script("/tmp/$(touch x); 'a b'", ["one.example"], is_watched=True)
    (line,) = (one for one in script.splitlines() if one.startswith("ROOT="))
    assert shlex.split(line) == ["ROOT=/tmp/$(touch x); 'a b'"]
