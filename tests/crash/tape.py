"""Writes down what a piece of work asks of the disk: it stands between the program and the system's calls."""

from __future__ import annotations

import fcntl
import itertools
import linecache
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Engine, event

ROOT = Path(__file__).parents[2]
Call = Callable[..., Any]
Name = str | Path
_SYNCS = ("sync", "sync folder")


@dataclass(frozen=True)
class Op:
    """One thing asked of the disk."""

    kind: str
    """`write`, `sync`, `folder` (a new one), `entry` (a name is given or taken), `sync folder`, `index`, `said`."""
    site: str = ""
    """The statement that asked, as `module.function: statement`."""
    inode: int = 0
    data: bytes | None = b""
    """All bytes of the file as they are then."""
    folder: str = ""
    name: str = ""
    removed: tuple[tuple[str, str], ...] = ()
    """Names that go with it: what is removed or renamed."""
    files: tuple[tuple[str, bytes | None], ...] = ()
    """Of a live index: its files that are others now, by path below the root; None for one that is gone."""

    @property
    def changes(self) -> str:
        """The folder in which a name is given or taken."""
        return self.folder or next(folder for folder, _ in self.removed)


@dataclass
class Tape:
    """What was there and durable before, and everything that was asked then."""

    root: Path
    entries: dict[tuple[str, str], int] = field(default_factory=dict)
    """What the folders hold, by folder and name; the numbers are this tape's, folders have one too."""
    contents: dict[int, bytes | None] = field(default_factory=dict)
    """None for a folder."""
    index: dict[str, bytes | None] = field(default_factory=dict)
    """The live indexes' files, by path below the root."""
    ops: list[Op] = field(default_factory=list)
    look: Callable[[], None] = lambda: None
    """Notes what SQLite did."""

    def say(self, word: str) -> None:
        """Note that the work acknowledged something."""
        self.look()
        self.ops.append(Op("said", name=word))

    def sites(self) -> list[str]:
        """Return the statements that sync something, each once."""
        return list(dict.fromkeys(op.site for op in self.ops if op.kind in _SYNCS))

    def without(self, *sites: str) -> Tape:
        """Return the tape of a program that lacks these statements."""
        return replace(self, ops=[op for op in self.ops if op.kind not in _SYNCS or op.site not in sites])


class _Recorder:
    """Knows which file is which, and writes the tape."""

    def __init__(self, root: Path, index: Sequence[Path]) -> None:
        self.tape = Tape(root)
        self._numbers = itertools.count(1)
        self._known: dict[int, int] = {}
        self._index = frozenset(index)
        self._seen: dict[Path, tuple[int, int, int] | None] = {}
        for path in set(root.rglob("*")) - self._index:
            inode = self.tape.entries[str(path.parent), path.name] = self.inode(path.stat())
            self.tape.contents[inode] = None if path.is_dir() else path.read_bytes()
        self.look_at_index()
        self.tape.look = self.look_at_index
        self.tape.index = {name: data for op in self.tape.ops for name, data in op.files}

    def add(self, kind: str, **parts: Any) -> None:  # noqa: ANN401 - as the fields of Op
        self.tape.ops.append(Op(kind, _site(), **parts))

    def look_at_index(self) -> None:
        """Note what SQLite made of the live index meanwhile."""
        found: dict[str, bytes | None] = {}
        for path in self._index:
            stat = path.stat() if path.exists() else None
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat else None
            if seen != self._seen.get(path):
                self._seen[path] = seen
                found[str(path.relative_to(self.tape.root))] = path.read_bytes() if seen else None
        if found:
            self.add("index", files=tuple(found.items()))

    def is_ours(self, path: Path) -> bool:
        return path.is_relative_to(self.tape.root) and path not in self._index

    def inode(self, stat: os.stat_result, *, is_new: bool = False) -> int:
        """Return this tape's number of a file; the system's may be that of a file which is gone."""
        if is_new:
            self._known.pop(stat.st_ino, None)
        return self._known.setdefault(stat.st_ino, next(self._numbers))

    # What is noted after each kind of call, with what was seen before it.

    def opened(self, was_there: bool, path: Name, flags: int = 0, *_: object) -> None:
        if flags & os.O_CREAT and not was_there:
            self._made(Path(path), "entry")

    def made_folder(self, _: bool, path: Name, *__: object) -> None:
        self._made(Path(path), "folder")

    def linked(self, _: bool, __: Name, path: Name) -> None:
        self._named(Path(path))

    def renamed(self, _: bool, former: Name, path: Name) -> None:
        self._named(Path(path), (str(Path(former).parent), Path(former).name))

    def removed(self, was_there: bool, path: Name) -> None:
        if was_there and self.is_ours(Path(path)):
            self.add("entry", removed=((str(Path(path).parent), Path(path).name),))

    def wrote(self, _: bool, handle: int, *__: object) -> None:
        if self.is_ours(_place(handle)):
            self.add("write", inode=self.inode(os.fstat(handle)), data=_bytes(handle))

    def synced(self, _: bool, handle: int) -> None:
        place, stat = _place(handle), os.fstat(handle)
        if not self.is_ours(place):
            return
        if place.is_dir():
            self.add("sync folder", folder=str(place))
            return
        if stat.st_ino not in self._known:  # made by SQLite, whose calls nobody sees
            self.add("write", inode=self.inode(stat), data=_bytes(handle))
        self.add("sync", inode=self.inode(stat))

    def _made(self, path: Path, kind: str) -> None:
        if not self.is_ours(path):
            return
        inode = self.inode(path.stat(), is_new=True)
        if kind == "entry":
            self.add("write", inode=inode)
        self.add(kind, inode=inode, folder=str(path.parent), name=path.name)

    def _named(self, path: Path, *former: tuple[str, str]) -> None:
        if self.is_ours(path):
            inode = self.inode(path.stat())
            self.add("entry", inode=inode, folder=str(path.parent), name=path.name, removed=former)

    def calls(self) -> Iterator[tuple[Any, str, Call]]:
        """Give the calls that matter: where they are, and how they are noted."""
        yield os, "open", self.opened
        yield os, "mkdir", self.made_folder
        yield os, "link", self.linked
        for name in ("rename", "replace"):
            yield os, name, self.renamed
        for name in ("unlink", "remove"):
            yield os, name, self.removed
        for name in ("write", "pwrite", "ftruncate", "posix_fallocate"):
            yield os, name, self.wrote
        yield fcntl, "ioctl", self.wrote
        for name in ("fsync", "fdatasync"):
            yield os, name, self.synced


def _place(handle: int) -> Path:
    return Path(f"/proc/self/fd/{handle}").readlink()


def _bytes(handle: int) -> bytes:
    return Path(f"/proc/self/fd/{handle}").read_bytes()


def _site() -> str:
    """Return the program's statement that led here; who asks for the sync of a folder is more telling than the door."""
    frame: FrameType | None = sys._getframe(1)
    while frame:
        path, code = Path(frame.f_code.co_filename), frame.f_code
        is_program = path.is_relative_to(ROOT / "registry") or path.is_relative_to(ROOT / "installer")
        if is_program and code.co_name != "sync_folder":
            line = linecache.getline(code.co_filename, frame.f_lineno)
            return f"{path.stem}.{code.co_name}: {line.partition('#')[0].strip()}"
        frame = frame.f_back
    return ""


@contextmanager
def recorded(root: Path, index: Sequence[Path] = ()) -> Iterator[Tape]:
    """Record what happens below `root`; `index` are files of live indexes, which SQLite keeps durable itself."""
    recorder = _Recorder(root, index)

    def committed(_: object) -> None:
        recorder.look_at_index()

    with pytest.MonkeyPatch.context() as patch:
        for module, name, note in recorder.calls():
            patch.setattr(module, name, _noted(recorder, getattr(module, name), note))
        event.listen(Engine, "commit", committed)
        try:
            yield recorder.tape
        finally:
            event.remove(Engine, "commit", committed)
    recorder.look_at_index()


def _noted(recorder: _Recorder, call: Call, note: Call) -> Call:
    """Return a call that is made, and noted then."""

    def run(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the call takes and returns
        recorder.look_at_index()
        was_there = not isinstance(arguments[0], int) and os.path.lexists(arguments[0])
        done = call(*arguments, **options)
        note(was_there, *arguments)
        return done

    return run
