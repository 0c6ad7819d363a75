"""What all parts of the demonstration share: names, folders, and numbered headlines."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

NAME = "dryport-demo"
BUILD = Path("build/demo")
BUNDLE = "quickstart-1.0.0.tar"
KIT_FOLDER = f"dryport-kit-{version('dryport')}"
KIT = f"{KIT_FOLDER}-linux-amd64.tar"
SERVE_PORT = 5443


@dataclass(frozen=True, slots=True)
class Folders:
    """What the demonstration makes, below `build/demo`."""

    root: Path

    @property
    def keys(self) -> Path:
        """Private keys; in life these never lie together."""
        return self.root / "keys"

    @property
    def media(self) -> Path:
        """What crosses the gap, and beside it the paper that crosses by another way."""
        return self.root / "media"

    @property
    def access(self) -> Path:
        """For the person at this machine: CA and credentials of the running site."""
        return self.root / "access"


class Steps:
    """Numbered headlines with the time since the start."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.count = 0

    def say(self, text: str) -> None:
        self.count += 1
        print(f"\n[{self.count:2}] {text}   ({time.monotonic() - self.began:.0f} s)", flush=True)
