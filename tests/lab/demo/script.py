"""What all parts of the demonstration share: names, folders, numbered headlines, and commands as one types them."""

from __future__ import annotations

import shlex
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

NAME = "dryport-demo"
BUILD = Path("build/demo")
BUNDLE = "quickstart-1.0.0.tar"
KIT_FOLDER = f"dryport-kit-{version('dryport')}"
KIT = f"{KIT_FOLDER}-linux-amd64.tar"
SERVE_PORT = 5443
WIDTH = 96


@dataclass(frozen=True, slots=True)
class Folders:
    """What the demonstration makes, below `build/demo`."""

    root: Path

    @property
    def keys(self) -> Path:
        """Private keys; in life these never lie together."""
        return self.root / "keys"

    @property
    def stick(self) -> Path:
        """What crosses the gap."""
        return self.root / "stick"

    @property
    def paper(self) -> Path:
        """What crosses by another way: the root's fingerprint, and the key that signs the kit."""
        return self.root / "paper"

    @property
    def access(self) -> Path:
        """For the person at this machine: CA and credentials of the running site."""
        return self.root / "access"


class Steps:
    """Numbered headlines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.count = 0

    def say(self, act: str, why: str) -> None:
        """Begin the next step: what it does, and why in one line."""
        self.count += 1
        print(f"\n[{self.count:2}] {act}   ({time.monotonic() - self.began:.0f} s)\n     {why}", flush=True)


def typed(command: Sequence[str], where: str) -> str:
    """Return a command as a person types it, after the side it runs on; a long one goes on in further lines."""
    parts: list[str] = []
    for word in command:
        if parts and parts[-1].startswith("-") and " " not in parts[-1] and not word.startswith("-"):
            parts[-1] += f" {shlex.quote(word)}"  # an option's value stays beside it
        else:
            parts.append(shlex.quote(word))
    prompt = f"  {where} $ "
    held = [part.replace(" ", "\0") for part in parts]
    lines = textwrap.wrap(" ".join(held), WIDTH - len(prompt), break_long_words=False, break_on_hyphens=False)
    return prompt + f" \\\n{' ' * (len(prompt) + 2)}".join(lines).replace("\0", " ")
