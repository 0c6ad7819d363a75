from __future__ import annotations

import json
from pathlib import Path

import pytest

from installer.site.journal import Journal
from registry.errors import SiteError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    journal = Journal.open(tmp_path / "journal.jsonl")
    for number in range(4):
        journal.append("step-begin", plan="p", step=f"s{number}", host="n1")
    return journal.path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def damaged(path: Path) -> SiteError:
    with pytest.raises(SiteError) as caught:
        Journal.open(path)
    assert caught.value.reference == "journal-damaged"
    return caught.value


def test_what_was_written_is_read_again(path: Path) -> None:
    entries = Journal.open(path).entries
    assert [(entry.number, entry.step) for entry in entries] == [(1, "s0"), (2, "s1"), (3, "s2"), (4, "s3")]
    assert entries[0].details == {"host": "n1"}


def test_a_reopened_journal_goes_on_in_the_same_chain(path: Path) -> None:
    Journal.open(path).append("apply-end", plan="p")
    assert [entry.event for entry in Journal.open(path).entries][-1] == "apply-end"


def test_a_changed_line_is_found(path: Path) -> None:
    data = lines(path)
    data[1] = data[1].replace(b"s1", b"sX")
    path.write_bytes(b"".join(data))
    assert damaged(path).where.endswith("line 3")


def test_a_changed_last_line_that_is_not_ours_is_found(path: Path) -> None:
    data = lines(path)
    data[3] = json.dumps(json.loads(data[3])).encode() + b"\n"
    path.write_bytes(b"".join(data))
    assert damaged(path).where.endswith("line 4")


@pytest.mark.parametrize("order", [(0, 2, 3), (1, 2, 3), (0, 2, 1, 3), (0, 0, 1, 2, 3)])
def test_a_removed_swapped_or_repeated_line_is_found(path: Path, order: tuple[int, ...]) -> None:
    data = lines(path)
    path.write_bytes(b"".join(data[number] for number in order))
    damaged(path)


def test_steps_that_ended_well_count_as_done_until_the_apply_is_finished(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal.jsonl")

    def say(event: str, step: str, **details: bool) -> None:
        journal.append(event, plan="p", step=step, **details)

    say("step-begin", "a")
    say("step-end", "a", ok=True)
    say("step-begin", "b")
    assert journal.done_steps("p") == {"a"}
    say("step-end", "b", ok=False)
    assert journal.done_steps("p") == {"a"}
    say("step-begin", "a")  # begun again and unknown since
    assert journal.done_steps("p") == set()
    say("step-end", "a", ok=True)
    assert (journal.done_steps("p"), journal.done_steps("other")) == ({"a"}, set())
    say("apply-end", "")
    assert journal.done_steps("p") == set()
