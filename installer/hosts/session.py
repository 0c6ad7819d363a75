"""A script on a node that answers line by line, for as long as we want it.

>>> with running(node, script) as session:
...     session.write("docker.io/library/web@sha256:...")
...     answer = list(session.lines("code", seconds=60))
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from installer.hosts.node import Node
from registry.errors import HostError

END_SECONDS = 20.0


@contextmanager
def running(node: Node, script: str) -> Iterator[Session]:
    """Run a script on a node as long as the context lasts; left early, it is told to end and clears up."""
    with tempfile.TemporaryFile() as errors:
        command = list(node.command(script))
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise node.failure(1, str(error)) from error
        try:
            yield Session(node, process, errors)
        except BaseException:
            _signal(process, signal.SIGTERM)
            raise
        finally:
            _end(process)


class Session:
    """A script that runs on a node, and its lines."""

    def __init__(self, node: Node, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._node = node
        self._process = process
        self._errors = errors

    def write(self, line: str) -> None:
        """Give the script a line."""
        if self._process.stdin:
            with suppress(BrokenPipeError):  # it ended; reading tells why
                self._process.stdin.write(f"{line}\n".encode())
                self._process.stdin.flush()

    def lines(self, last: str, seconds: float) -> Iterator[tuple[str, str]]:
        """Yield the first word and the rest of each line up to the one that begins with `last`. Raises HostError."""
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            _signal(self._process, signal.SIGTERM)

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            for line in self._process.stdout or ():
                word, _, rest = line.decode(errors="replace").rstrip("\n").partition(" ")
                yield word, rest
                if word == last:
                    return
        finally:
            timer.cancel()
        if is_late.is_set():
            raise HostError(
                "node-silent",
                f"the node said nothing more within {seconds:.0f} s",
                where=str(self._node),
                hint="see what the node does, and whether the mirror answers; then run the same command again",
            )
        code = self._process.wait(END_SECONDS)
        self._errors.seek(0)
        raise self._node.failure(code, self._errors.read(1 << 20).decode(errors="replace"))


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a script and the program that it waits for: a shell acts on a signal when its child has ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)  # the group that began with the process we started


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream:
            with suppress(BrokenPipeError):
                stream.close()  # the script's input ends, and so does the script
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            _signal(process, number)
    process.wait()
