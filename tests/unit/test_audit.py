"""The audit log's chain: through several writers, crashes, full disks and new files."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import MediaError
from registry.server.audit import START, Audit, Head, entries, segments, verify
from registry.store import durable


def write(log: Audit, *events: str) -> None:
    for event in events:
        log.note(event, user="me", repository="team/app")
    log.flush()


def events(folder: Path) -> list[object]:
    return [line["event"] for line in entries(folder)]


def test_lines_follow_from_each_other(tmp_path: Path) -> None:
    write(Audit(tmp_path), "one", "two")
    write(Audit(tmp_path), "three")
    assert events(tmp_path) == ["one", "two", "three"]
    lines = list(entries(tmp_path))
    assert [line["sequence"] for line in lines] == [1, 2, 3]
    assert lines[0]["previous"] == START
    assert verify(tmp_path).sequence == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    assert verify(tmp_path) == Head()
    assert verify(tmp_path / "none") == Head()


WRITER = """
import sys
from pathlib import Path
from registry.server.audit import Audit
log = Audit(Path(sys.argv[1]), 4000)
for number in range(40):
    log.note("line", user=f"{sys.argv[2]}-{number}")
    log.flush()
"""


def test_several_processes_write_one_chain_over_several_files(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(one)]) for one in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert verify(tmp_path).sequence == 120
    assert len(segments(tmp_path)) > 3
    seen = [str(line["user"]) for line in entries(tmp_path)]
    for one in range(3):
        assert [user for user in seen if user.startswith(f"{one}-")] == [f"{one}-{number}" for number in range(40)]


def test_many_threads_share_a_sync_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    append = durable.append
    monkeypatch.setattr(durable, "append", lambda *given: (syncs.append(given), append(*given))[1])
    log = Audit(tmp_path)
    threads = [threading.Thread(target=write, args=(log, *["x"] * 5)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verify(tmp_path).sequence == 100
    assert len(syncs) <= 20


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_line_that_a_crash_cut_off_is_no_break_and_the_next_writer_goes_on(tmp_path: Path, cut: int) -> None:
    write(Audit(tmp_path), "one", "two", "three")
    (file,) = segments(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    assert verify(tmp_path).sequence == 2
    write(Audit(tmp_path), "four")
    assert events(tmp_path) == ["one", "two", "four"]
    assert verify(tmp_path).sequence == 3


def test_a_crash_within_the_first_line_of_a_new_file_is_mended_from_the_file_before(tmp_path: Path) -> None:
    write(Audit(tmp_path, 10), "one")
    write(Audit(tmp_path, 10), "two")
    last = segments(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:7])
    write(Audit(tmp_path, 10), "three")
    assert events(tmp_path) == ["one", "three"]


def test_a_full_disk_stops_nobody_and_the_lines_come_later_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Audit(tmp_path)
    write(log, "before")
    write_all = durable.write_all

    def full(handle: int, data: bytes) -> None:
        write_all(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(durable, "write_all", full)
        write(log, "during")
        assert (log.waiting, log.is_stuck) == (1, True)
    assert events(tmp_path) == ["before"]
    write(log, "after")
    assert events(tmp_path) == ["before", "during", "after"]
    assert (log.waiting, log.is_stuck, verify(tmp_path).sequence) == (0, False, 3)


def change(lines: list[bytes], how: str) -> list[bytes]:
    one, two, three, four = lines
    return {
        "changed": [one, two.replace(b'"me"', b'"xx"'), three, four],
        "taken out": [one, three, four],
        "first taken out": [two, three, four],
        "swapped": [one, three, two, four],
        "twice": [one, two, two, three, four],
        "put in": [one, two, json.dumps({"event": "x"}).encode() + b"\n", three, four],
        "no JSON": [one, two, b"\x00\xff\n", three, four],
        "one byte more": [one, two[:-1] + b" \n", three, four],
        "joined": [one, two[:-1] + three, four],
    }[how]


@pytest.mark.parametrize(
    "how",
    ["changed", "taken out", "first taken out", "swapped", "twice", "put in", "no JSON", "one byte more", "joined"],
)
def test_whoever_changes_the_log_is_found(tmp_path: Path, how: str) -> None:
    write(Audit(tmp_path), "one", "two", "three", "four")
    (file,) = segments(tmp_path)
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True), how)))
    with pytest.raises(MediaError) as caught:
        verify(tmp_path)
    assert caught.value.reference == "audit-broken"


def test_a_file_taken_out_of_the_middle_is_found(tmp_path: Path) -> None:
    for event in ("one", "two", "three"):
        write(Audit(tmp_path, 10), event)
    segments(tmp_path)[1].unlink()
    with pytest.raises(MediaError):
        verify(tmp_path)


def test_lines_taken_from_the_end_are_found_by_who_kept_the_head(tmp_path: Path) -> None:
    write(Audit(tmp_path), "one", "two")
    head = verify(tmp_path)
    assert verify(tmp_path, Head.parse(str(head))) == head
    (file,) = segments(tmp_path)
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    verify(tmp_path)
    with pytest.raises(MediaError) as caught:
        verify(tmp_path, head)
    assert caught.value.reference == "audit-head-missing"


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=2000), min_size=1, max_size=4)
)
def test_whatever_a_client_sends_stays_in_its_line(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("audit")
    for text in texts:
        log = Audit(folder)
        log.note("x", user=text, repository=text, reference=text, address=text, digest=text, tags=text, tried=text)
        log.flush()
    assert verify(folder).sequence == len(texts)
    for line, text in zip(entries(folder), texts, strict=True):
        assert text.startswith(str(line.get("user", "")))
