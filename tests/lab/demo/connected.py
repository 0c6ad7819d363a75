"""The connected half: kit, images, keys, lock, build, sign."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.lab.demo.place import shown
from tests.lab.demo.script import BUNDLE, KIT, Folders, Steps

DEFINITION = Path("bundles/definitions/quickstart/bundle.yaml")
DRYPORT = str(Path(sys.executable).with_name("dryport"))


def connected(steps: Steps, at: Folders) -> None:
    """Everything before the gap: kit, keys, lock, build, sign."""
    for folder in (at.keys, at.stick, at.paper, at.access):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    steps.say(
        "Build the kit",
        "The program for machines without internet: one tar that wants Python 3.11 and nothing else.",
    )
    dryport("kit", "build", "--out", str(at.stick))
    steps.say("Make two container images", "From Debian packages; no container registry is needed for this.")
    layout = at.root / "images"
    make = ("python", "-m", "tests.lab.demo_images", str(layout))
    if (layout / "index.json").exists():
        print(f"  they stand in {layout} already")
    else:
        shown(make, (sys.executable, *make[1:]), "connected")
    steps.say(
        "Hold the key ceremony",
        "Two of three people must sign the root, and the root says which key may sign releases.",
    )
    ceremony(at)
    inputs = ("--input", f"kit={at.stick / KIT}", "--input", f"images={layout}")
    lock = at.root / "bundle.lock.json"
    steps.say("Lock the definition", "Every artefact gets a digest and a size; only these bytes count from here on.")
    bundle, locked = at.stick / BUNDLE, lock.read_bytes() if lock.exists() else b""
    dryport("bundle", "lock", str(DEFINITION), "--lock", str(lock), *inputs)
    if lock.read_bytes() != locked:
        bundle.unlink(missing_ok=True)  # the last demonstration's: a build never replaces what is signed
    steps.say("Build the bundle", "One file that holds everything, written once.")
    dryport("bundle", "build", str(DEFINITION), "--lock", str(lock), "--out", str(bundle), *inputs)
    steps.say("Sign the bundle and the kit", "A site takes in what these keys vouch for, and nothing else.")
    sign(at, bundle)
    dryport("kit", "sign", str(at.stick / KIT), "--key", str(at.keys / "anna.pem"))


def sign(at: Folders, bundle: Path) -> None:
    """Sign the bundle once; one with other content is the next release, as a site would demand."""
    seen, signed = told("bundle", "inspect", str(bundle)), at.root / "signed.json"
    index = seen["index"]
    last = json.loads(signed.read_text()) if signed.exists() else {"sequence": 0, "index": ""}
    if last["index"] == index and seen["signed"]:
        print(f"  the bundle is signed already, as release {last['sequence']}")
        return
    sequence = last["sequence"] + (last["index"] != index)
    best_before = (datetime.now(UTC) + timedelta(days=180)).date().isoformat()
    release = ("--key", str(at.keys / "release.pem"), "--sequence", str(sequence), "--best-before", best_before)
    dryport("bundle", "sign", str(bundle), "--root", str(at.keys / "1.root.json"), *release)
    signed.write_text(json.dumps({"sequence": sequence, "index": index}))


def ceremony(at: Folders) -> None:
    """Make the keys once; a repeated demonstration keeps them, as a product would."""
    root = at.keys / "1.root.json"
    if not root.exists():
        for name in ("anna", "ben", "chris", "release"):
            if not (at.keys / f"{name}.pem").exists():
                dryport("key", "new", name, "--out", str(at.keys), quiet=True)
        people = [part for name in ("anna", "ben", "chris") for part in ("--root", str(at.keys / f"{name}.pub"))]
        release = ("--release", str(at.keys / "release.pub"), "--release-threshold", "1", "--expires", "365")
        draft = at.keys / "draft.root.json"
        draft.unlink(missing_ok=True)
        dryport("key", "init", *people, "--threshold", "2", *release, "--out", str(draft), quiet=True)
        for name in ("anna", "ben"):
            dryport("key", "sign-root", str(draft), "--key", str(at.keys / f"{name}.pem"), quiet=True)
        draft.rename(root)
    dryport("key", "show", str(root))
    shutil.copy(at.keys / "anna.pub", at.paper / "kit-key.pub")
    (at.paper / "root-fingerprint").write_text(told("key", "show", str(root))["fingerprint"] + "\n")


def told(*arguments: str) -> dict[str, Any]:
    """Return what a dryport command says with --json."""
    done = subprocess.run([DRYPORT, *arguments, "--json"], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def dryport(*arguments: str, quiet: bool = False) -> None:
    """Show and run dryport on the connected side."""
    shown(("dryport", *arguments), (DRYPORT, *arguments), "connected", quiet=quiet)
