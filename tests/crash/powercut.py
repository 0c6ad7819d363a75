"""What a power cut can leave: every state of the disk that could remain of a piece of work, and who looks at each.

The model is harsher than most file systems. Bytes that were not synced may be missing, wholly or from their middle on;
a change of a folder (a new name, a rename, a removal) that was not synced may have happened or not, whatever happened
to the others. A rename within a folder happens or does not; one between folders may leave both names, and loses the
file if the folder that it left is synced alone. What SQLite writes into a live index is trusted to be on disk when it
says so, but for the new index's name; what it writes into a file that we then name is ours to sync.

>>> with recorded(folder) as tape:
...     backup(store, folder / "backup", Silent())
...     tape.say("done")
>>> judged(tape, judge)
412
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.crash.tape import Op, Tape

MOST_PENDING = 5
"""With more unsynced changes than this, not every combination is tried but each alone, each left out, and each row."""
Entries = dict[tuple[str, str], int]
Judge = Callable[[Path, frozenset[str]], None]
"""Looks at a state and at what was acknowledged before it; raises anything if a promise is broken."""


@dataclass(frozen=True)
class State:
    """One thing that a cut can leave."""

    files: tuple[tuple[str, bytes | None], ...]
    """By path below the root, sorted; None for folders."""
    said: frozenset[str]

    def write(self, folder: Path) -> None:
        """Make it real in an empty folder."""
        for path, data in self.files:
            if data is None:
                (folder / path).mkdir(parents=True, exist_ok=True)
            else:
                (folder / path).write_bytes(data)

    @property
    def mark(self) -> bytes:
        """What is equal for equal states."""
        hasher = hashlib.sha256(repr(sorted(self.said)).encode())
        for path, data in self.files:
            hasher.update(f"{path}\0{-1 if data is None else len(data)}\0".encode() + (data or b""))
        return hasher.digest()


class Disk:
    """What is durable, what may be, and what was acknowledged, after some of the work."""

    def __init__(self, tape: Tape) -> None:
        self._root = str(tape.root)
        self._entries: Entries = dict(tape.entries)
        self._versions = {inode: [data] for inode, data in tape.contents.items()}
        """Of each file: the durable bytes, then what was written since."""
        self._pending: list[Op] = []
        self._follows: dict[Op, Op] = {}
        """Names that go only after another one came."""
        self._index = dict(tape.index)
        self._unnamed: dict[str, str] = {}
        """New indexes, with the folder that has to be synced before they are sure to be there."""
        self._said: set[str] = set()

    def take(self, op: Op) -> None:
        """Let one operation happen."""
        match op.kind:
            case "write":
                self._versions.setdefault(op.inode, [b""]).append(op.data)
            case "sync":
                self._versions[op.inode] = self._versions[op.inode][-1:]
            case "folder":
                self._versions[op.inode] = [None]
                self._pending.append(op)
            case "entry" if op.folder and any(folder != op.folder for folder, _ in op.removed):
                came, went = replace(op, removed=()), replace(op, inode=0, folder="", name="")
                self._pending += [came, went]
                self._follows[went] = came
            case "entry":
                self._pending.append(op)
            case "sync folder":
                self._sync_folder(op.folder)
            case "index":
                new = [path for path, _ in op.files if path not in self._index and not path.endswith("-wal")]
                self._unnamed |= {path: str(Path(self._root, path).parent) for path in new}
                self._index |= dict(op.files)
            case "said":
                self._said.add(op.name)

    def _sync_folder(self, folder: str) -> None:
        for one in [one for one in self._pending if one.changes == folder]:
            _apply(self._entries, one)
            self._pending.remove(one)
        self._unnamed = {path: place for path, place in self._unnamed.items() if place != folder}

    def states(self) -> Iterator[State]:
        """Give all that could remain if the power went now."""
        for happened in map(self._picked, _subsets(len(self._pending))):
            tree = dict(self._entries)
            for one in happened:
                _apply(tree, one)
            for files in _with_bytes(_paths(tree, self._root), self._versions):
                yield self._state(dict(files), self._index)
                if self._unnamed:
                    gone = {path for new in self._unnamed for path in (new, f"{new}-wal")}
                    rest = {path: data for path, data in self._index.items() if path not in gone}
                    yield self._state(dict(files), rest)

    def _state(self, files: dict[str, bytes | None], index: Mapping[str, bytes | None]) -> State:
        for path, data in index.items():
            folder = str(Path(path).parent)
            if data is not None and (folder == "." or folder in files):
                files[path] = data
        return State(tuple(sorted(files.items())), frozenset(self._said))

    def _picked(self, numbers: Sequence[int]) -> list[Op]:
        """Return the changes with these numbers, but those that go only after one that did not come."""
        picked = [self._pending[number] for number in numbers]
        waiting = {one for one in self._pending if one not in picked}
        return [one for one in picked if self._follows.get(one) not in waiting]


def states(tape: Tape) -> Iterator[State]:
    """Give every state that a cut after any of the operations can leave, the latest cuts first.

    What a missing sync breaks shows best when all is done and acknowledged.
    """
    for cut in range(len(tape.ops), -1, -1):
        disk = Disk(tape)
        for op in tape.ops[:cut]:
            disk.take(op)
        yield from disk.states()


def _apply(entries: Entries, op: Op) -> None:
    for place in op.removed:
        entries.pop(place, None)
    if op.inode:
        entries[op.folder, op.name] = op.inode


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    everything = tuple(range(count))
    if count <= MOST_PENDING:
        for size in range(count + 1):
            yield from itertools.combinations(everything, size)
        return
    for number in range(count + 1):
        yield everything[:number]
        yield everything[number:]
        yield everything[number : number + 1]
        yield everything[:number] + everything[number + 1 :]


def _paths(entries: Entries, root: str) -> list[tuple[str, int]]:
    """Return what can be reached from the root, with paths below it."""
    return [
        (os.path.relpath(f"{folder}/{name}", root), inode)
        for (folder, name), inode in entries.items()
        if _is_reached(entries, folder, root)
    ]


def _is_reached(entries: Entries, folder: str, root: str) -> bool:
    while folder != root:
        parent, name = os.path.split(folder)
        if (parent, name) not in entries:
            return False
        folder = parent
    return True


def _with_bytes(
    paths: Sequence[tuple[str, int]], versions: Mapping[int, Sequence[bytes | None]]
) -> Iterator[list[tuple[str, bytes | None]]]:
    """Give the files with all that their bytes may be: what was not synced is there, or of one file or of all not."""
    yield [(path, versions[inode][-1]) for path, inode in paths]
    volatile = [inode for inode in dict.fromkeys(inode for _, inode in paths) if len(versions[inode]) > 1]
    for bad in [(inode,) for inode in volatile] + [tuple(volatile)] * (len(volatile) > 1):
        for spoiled in (_without, _half):
            yield [(path, spoiled(versions[inode]) if inode in bad else versions[inode][-1]) for path, inode in paths]


def _without(versions: Sequence[bytes | None]) -> bytes | None:
    return versions[0]


def _half(versions: Sequence[bytes | None]) -> bytes | None:
    before, now = versions[0] or b"", versions[-1]
    if now is None:
        return None
    return now[: (len(before) + len(now)) // 2] if now.startswith(before) else now[: len(now) // 2]


class Judged:
    """States already looked at, so that equal ones are looked at once."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._verdicts: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._verdicts)

    def violations(self, tape: Tape) -> Iterator[str]:
        """Give what is wrong with each state that breaks a promise."""
        seen = set()
        for state in states(tape):
            mark = state.mark
            if mark in seen:
                continue
            seen.add(mark)
            if mark not in self._verdicts:
                self._verdicts[mark] = self._look(state)
            if self._verdicts[mark]:
                yield self._verdicts[mark]

    def breaks(self, tape: Tape) -> bool:
        """Say whether any state breaks a promise."""
        return next(self.violations(tape), None) is not None

    def _look(self, state: State) -> str:
        shared = Path("/dev/shm")
        place = Path(tempfile.mkdtemp(dir=shared if os.access(shared, os.W_OK) else None))
        try:
            state.write(place)
            self._judge(place, state.said)
        except Exception as error:  # noqa: BLE001 - each is a violation
            files = [path for path, data in state.files if data is not None]
            return f"{type(error).__name__}: {error} after {sorted(state.said)} with {files}"
        else:
            return ""
        finally:
            shutil.rmtree(place)


def unbroken(tape: Tape, judge: Judge) -> Judged:
    """Raise AssertionError if a state breaks a promise; return all that were looked at."""
    looked = Judged(judge)
    _none(itertools.islice(looked.violations(tape), 3), "states break a promise")
    return looked


def judged(tape: Tape, judge: Judge, *twins: Collection[str]) -> int:
    """Raise AssertionError if a state breaks a promise, or if a sync can be left out; return how many states there are.

    `twins` are sets of statements of which one is enough: each may be left out, and all of them together may not.
    """
    looked = unbroken(tape, judge)
    count = len(looked)
    _none(needless(tape, looked, *twins), "these syncs can be left out, and no state tells")
    return count


def needless(tape: Tape, looked: Judged, *twins: Collection[str]) -> set[str]:
    """Return the syncs, or sets of them, that can be left out without a state that breaks a promise."""
    groups = [[site for site in tape.sites() if site.startswith(tuple(group))] for group in twins]
    paired = set().union(*groups)
    groups += [[site] for site in tape.sites() if site not in paired]
    return {" and ".join(group) for group in groups if not looked.breaks(tape.without(*group))}


def _none(found: Iterable[str], what: str) -> None:
    lines = sorted(found)
    assert not lines, "\n  ".join([f"{what}:", *lines])
