"""The demonstration: from a clean clone to a running isolated site, every command shown as a user would type it.

    python -m tests.lab.demo up       connected half, the gap, isolated half; safe to repeat
    python -m tests.lab.demo down     removes all of it; safe to repeat

With root and podman the isolated half is an operator's machine and one host on a network without a route out. Without
them everything that needs neither still runs, and one sentence says what was left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys

from tests.lab import hosts, podman
from tests.lab.demo import behind
from tests.lab.demo.connected import connected
from tests.lab.demo.place import Isolated, StepFailedError, at_desk, in_namespace
from tests.lab.demo.script import BUILD, KIT_FOLDER, NAME, Folders, Steps

PROGRAMS = ("podman", "runc", "mmdebstrap", "skopeo", "ssh-keygen", "nsenter")


def full(steps: Steps, at: Folders) -> None:
    """The isolated half with hosts."""
    state = (at.root / "lab").resolve()
    steps.say("The isolated site: a network without a route out, an operator's machine, one host without Python")
    if not (state / "lab.json").exists() or len(hosts.containers(NAME)) < 1:
        hosts.down(NAME, state)
        hosts.up(NAME, 1, state)
    side = at_desk(NAME, state, at.media.resolve())
    lab = json.loads((state / "lab.json").read_text())
    address = lab["hosts"]["h1"]
    print(f"  network {lab['subnet']}, operator {lab['operator']}, h1 {address}")
    program = behind.enter(steps, side)
    declared = behind.declare(side, behind.site_yaml(address, "/root/.ssh/id_ed25519"))
    bundle = behind.trust(steps, side, program, declared)
    behind.serve_and_pull(steps, side, program, bundle, at)
    behind.install(steps, side, program, bundle, declared, json.loads((state / "fingerprints.json").read_text()))
    access(side, at, address)


def reduced(steps: Steps, at: Folders, reason: str) -> None:
    """The isolated half without hosts."""
    work = (at.root / "isolated").resolve()
    with in_namespace(work, at.media.resolve()) as side:
        program = behind.enter(steps, side)
        declared = behind.declare(side, behind.site_yaml("127.0.0.1", "id"))
        bundle = behind.trust(steps, side, program, declared)
        behind.serve_and_pull(steps, side, program, bundle, at)
    print(f"\nLeft out: the lab host, enrol, plan, apply and status, because {reason}.")


def access(side: Isolated, at: Folders, address: str) -> None:
    """Leave CA and credentials for the person at this machine, and say what to try next."""
    certificates, credentials = at.access / "certs", at.access / "credentials"
    certificates.mkdir(exist_ok=True)
    (certificates / "ca.crt").write_text(side.read("cat", f"{side.work}/home/pki/ca.pem"))
    credentials.touch(mode=0o600)
    credentials.write_text("pull:" + side.read("cat", f"{side.work}/home/secrets/pull-password").strip() + "\n")
    registry = f"{address}:5000"
    run = f"python -m tests.lab.desk run --name {NAME} --"
    print(f"""
The site runs. It is one host on a network of its own; this machine reaches it at its address.
  site registry   https://{registry}      CA {certificates / "ca.crt"}
  credentials     {credentials}      (user:password)
Try next, from this folder:
  curl --cacert {certificates / "ca.crt"} -u "$(cat {credentials})" https://{registry}/v2/_catalog
  .venv/bin/{run} /root/{KIT_FOLDER}/bin/dryport status /root/site.yaml --json
  skopeo inspect --cert-dir {certificates} --creds "$(cat {credentials})" \\
      docker://{registry}/registry.example.org/quickstart/web:1.0
Remove everything: make demo-down
""")


def missing() -> str:
    """Return why hosts cannot be raised here, or nothing."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if os.geteuid() != 0:
        return "containers need root here: run make demo as root to see them"
    if absent:
        packages = "podman runc mmdebstrap skopeo openssh-client util-linux"
        return f"{', '.join(absent)} is not installed: apt-get install {packages}"
    return ""


def up() -> int:
    """Run the demonstration; return the exit code."""
    steps, at = Steps(), Folders(BUILD)
    try:
        connected(steps, at)
        if reason := missing():
            reduced(steps, at, reason)
        else:
            full(steps, at)
    except (StepFailedError, podman.LabError) as error:
        print(f"\nThe demonstration stopped: {error}", file=sys.stderr)
        return 1
    return 0


def down() -> int:
    """Remove containers, network and files."""
    if not missing():
        hosts.down(NAME, None)
    shutil.rmtree(BUILD, ignore_errors=True)
    print("The demonstration is removed: its containers, its network and build/demo.")
    return 0


def main() -> int:
    """Parse the verb and run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.demo", description="The demonstration.")
    parser.add_argument("verb", choices=["up", "down"])
    return up() if parser.parse_args().verb == "up" else down()


if __name__ == "__main__":
    sys.exit(main())
