"""The connected half: kit, images, keys, lock, build, sign."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.lab.demo.place import shown
from tests.lab.demo.script import BUNDLE, KIT, Folders, Steps

DEFINITION = Path("bundles/definitions/quickstart/bundle.yaml")
DRYPORT = str(Path(sys.executable).with_name("dryport"))


def connected(steps: Steps, at: Folders) -> None:
    """Everything before the gap: kit, keys, lock, build, sign."""
    for folder in (at.keys, at.media, at.access):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    steps.say("The program for machines without internet: one tar that wants Python 3.11 and nothing else")
    dryport("kit", "build", "--out", str(at.media))
    steps.say("Two container images, made from Debian packages; there is no container registry in reach")
    layout = at.root / "images"
    make = ("python", "-m", "tests.lab.demo_images", str(layout))
    if not (layout / "index.json").exists():
        shown(make, (sys.executable, *make[1:]), "connected")
    steps.say("Key ceremony: three root keys of which two must sign, one release key (test keys, made here)")
    ceremony(at)
    inputs = ("--input", f"kit={at.media / KIT}", "--input", f"images={layout}")
    lock = at.root / "bundle.lock.json"
    steps.say("Lock: every artefact by digest and size")
    dryport("bundle", "lock", str(DEFINITION), "--lock", str(lock), *inputs)
    steps.say("Build: one file, written once")
    bundle = at.media / BUNDLE
    dryport("bundle", "build", str(DEFINITION), "--lock", str(lock), "--out", str(bundle), *inputs)
    steps.say("Sign: bundle and kit")
    best_before = (datetime.now(UTC) + timedelta(days=180)).date().isoformat()
    release = ("--key", str(at.keys / "release.pem"), "--sequence", "1", "--best-before", best_before)
    dryport("bundle", "sign", str(bundle), "--root", str(at.keys / "1.root.json"), *release)
    dryport("kit", "sign", str(at.media / KIT), "--key", str(at.keys / "anna.pem"))


def ceremony(at: Folders) -> None:
    """Make the keys once; a repeated demonstration keeps them, as a product would."""
    root = at.keys / "1.root.json"
    if not root.exists():
        for name in ("anna", "ben", "chris", "release"):
            if not (at.keys / f"{name}.pem").exists():
                dryport("key", "new", name, "--out", str(at.keys))
        people = [part for name in ("anna", "ben", "chris") for part in ("--root", str(at.keys / f"{name}.pub"))]
        release = ("--release", str(at.keys / "release.pub"), "--release-threshold", "1", "--expires", "365")
        draft = at.keys / "draft.root.json"
        draft.unlink(missing_ok=True)
        dryport("key", "init", *people, "--threshold", "2", *release, "--out", str(draft))
        for name in ("anna", "ben"):
            dryport("key", "sign-root", str(draft), "--key", str(at.keys / f"{name}.pem"))
        draft.rename(root)
    dryport("key", "show", str(root))
    paper = at.media / "paper"
    paper.mkdir(exist_ok=True)
    shutil.copy(at.keys / "anna.pub", paper / "root-key.pub")
    (paper / "root-fingerprint").write_text(fingerprint(root) + "\n")


def fingerprint(root: Path) -> str:
    """Return what goes onto the paper."""
    command = [DRYPORT, "key", "show", str(root), "--json"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return str(told["fingerprint"])


def dryport(*arguments: str) -> None:
    """Show and run dryport on the connected side."""
    shown(("dryport", *arguments), (DRYPORT, *arguments), "connected")
