"""What commands print: one result on standard output, everything else on standard error.

With `--json` the result is one JSON object with an `apiVersion`; without it, lines for a person. Progress is a live
display on a terminal and a plain line every few seconds elsewhere.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from registry.errors import DryportError

API_VERSION = "dryport/v1"
PLAIN_SECONDS = 5.0

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


class Verbs(click.Group):
    """A group that lists its verbs in the order of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the verbs as they were added."""
        return list(self.commands)


class Console:
    """Where one command's output goes."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    def result(self, kind: str, value: Mapping[str, Any], text: str) -> None:
        """Print a command's result: `value` as JSON, or `text`."""
        body = json.dumps({"apiVersion": API_VERSION, "kind": kind, **value}, indent=2) if self.as_json else text
        click.echo(shown(body))

    def verdict(self, kind: str, value: Mapping[str, Any], text: str, refusal: DryportError | None) -> None:
        """Print a result that may hold bad news, and end with its exit code: one JSON object, or text and the error."""
        news = {"error": refusal.as_json()} if refusal else {}
        self.result(kind, {**value, **news}, text)
        if refusal and self.as_json:
            self.note(f"{refusal.family} error [{refusal.reference}]: {refusal.message}")
            sys.exit(refusal.exit_code)
        if refusal:
            raise refusal

    def note(self, text: str) -> None:
        """Tell a person something that is no result."""
        click.echo(shown(text), err=True)

    def error(self, error: DryportError) -> None:
        """Print an error: what, where, expected, seen, and the next command."""
        if self.as_json:
            click.echo(json.dumps({"apiVersion": API_VERSION, "kind": "Error", **error.as_json()}, indent=2))
        for line in _lines(error):
            click.echo(shown(line), err=True)

    @contextmanager
    def meter(self, label: str, total: int, unit: str = "B") -> Iterator[_PlainMeter]:
        """Show a piece of long work while it runs (implements registry.progress.Progress)."""
        if sys.stderr.isatty() and not self.as_json:
            with _live(label, total, unit) as meter:
                yield meter
            return
        meter = _PlainMeter(label, total, unit, self.note)
        yield meter
        meter.close()


class _PlainMeter:
    def __init__(self, label: str, total: int, unit: str, note: Callable[[str], None]) -> None:
        self.label, self.total, self.unit, self.note = label, total, unit, note
        self.done = 0
        self.began = self.said = time.monotonic()
        self.lock = threading.Lock()

    def advance(self, amount: int, item: str = "") -> None:
        with self.lock:
            self.done += amount
            if time.monotonic() - self.said < PLAIN_SECONDS:
                return
            self.said = time.monotonic()
            self.note(f"{self.label}: {self._state()}{f': {item}' if item else ''}")

    def close(self) -> None:
        self.note(f"{self.label}: {amount(self.done, self.unit)} in {time.monotonic() - self.began:.1f} s")

    def _state(self) -> str:
        seconds = max(time.monotonic() - self.began, 1e-3)
        rate = self.done / seconds
        left = f", {(self.total - self.done) / rate:.0f} s left" if rate and self.done < self.total else ""
        if self.unit != "B":
            return f"{self.done} of {amount(self.total, self.unit)}{left}"
        return f"{amount(self.done)} of {amount(self.total)}, {amount(int(rate))}/s{left}"


@contextmanager
def _live(label: str, total: int, unit: str) -> Iterator[_PlainMeter]:
    from installer.cli.terminal import Bar  # noqa: PLC0415 - rich costs start-up time that most commands need not pay

    with Bar(label, total, unit) as bar:

        class Meter(_PlainMeter):
            def advance(self, amount: int, item: str = "") -> None:
                bar.advance(amount, item)

        yield Meter(label, total, unit, lambda _: None)


def amount(count: int, unit: str = "B") -> str:
    """Return a count for a person: `12.3 MiB`, or `7 steps`."""
    if unit != "B":
        return f"{count} {unit}"
    size = float(count)
    for name in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:  # noqa: PLR2004
            return f"{size:.0f} {name}" if name == "B" else f"{size:.1f} {name}"
        size /= 1024
    return f"{size:.1f} TiB"


def example(command: str) -> str:
    """Return the end of a verb's help: how it is typed, broken where a terminal of 80 columns ends."""
    lines, line = [], "  "
    for word in re.findall(r"(?:'[^']*'|[^' ])+", command):
        if len(line) + len(word) > 74:  # noqa: PLR2004 - two columns are the margin, two hold the backslash
            lines.append(f"{line}\\")
            line = "      "
        line += f"{word} "
    return "\n".join(["\b", "Example:", *lines, line.rstrip()])


def typed(*words: object) -> str:
    """Return a command as a person types it: names with spaces are quoted."""
    return shlex.join(str(word) for word in words)


def shown(text: str, kept: str = "\n\t") -> str:
    """Return text with all that a terminal would obey spelled out: names come from media, hosts and servers."""
    return "".join(char if char.isprintable() or char in kept else ascii(char)[1:-1] for char in text)


def _lines(error: DryportError, indent: str = "") -> Iterator[str]:
    yield f"{indent}{error.family} error [{error.reference}]: {error.message}"
    for name in ("where", "expected", "seen"):
        if getattr(error, name):
            yield f"{indent}  {name + ':':<10}{getattr(error, name)}"
    for finding in error.findings:
        yield from _lines(finding, indent + "  ")
    if error.hint:
        yield f"{indent}  {'do:':<10}{error.hint}"
