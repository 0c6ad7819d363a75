"""The demonstration: from a clean clone to a running isolated site, every command shown as a user would type it.

    python -m tests.lab.demo up       connected half, the gap, isolated half; safe to repeat
    python -m tests.lab.demo down     removes all of it; safe to repeat

With root and podman the isolated half is an operator's machine and one host on a network without a route out. Without
them everything that needs neither still runs, and one sentence says what was left out.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import sys
from pathlib import Path

from tests.lab import hosts, podman
from tests.lab.demo import behind
from tests.lab.demo.connected import connected
from tests.lab.demo.place import Isolated, StepFailedError, at_desk, in_namespace
from tests.lab.demo.script import BUILD, KIT_FOLDER, NAME, Folders, Steps

PACKAGES = {
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "skopeo": "skopeo",
    "ssh-keygen": "openssh-client",
    "nsenter": "util-linux",
}
"""What hosts take, each program by its Debian package."""
WELCOME = """\
A platform crosses an air gap: it is built and signed here, and installed where no network reaches.
The first run takes a few minutes; a second one finds most of it done. Where commands run:
  connected $   this machine, which reaches the package servers
  isolated $    behind the gap, with no way out"""


def full(steps: Steps, at: Folders) -> None:
    """The isolated half with hosts."""
    state = (at.root / "lab").resolve()
    steps.say("Raise the isolated site", "A network without a way out, an operator's machine, one host without Python.")
    if not stands(at, state):
        hosts.down(NAME, state)
        hosts.up(NAME, 1, state)
    side = at_desk(NAME, state, at)
    lab = json.loads((state / "lab.json").read_text())
    address = lab["hosts"]["h1"]
    print(f"  network {lab['subnet']}, operator's machine {lab['operator']}, host h1 {address}")
    behind.enter(steps, side)
    behind.declare(side, behind.site_yaml(address, ".ssh/id_ed25519"))
    bundle = behind.trust(steps, side)
    behind.serve_and_pull(steps, side, bundle, at)
    behind.install(steps, side, bundle, json.loads((state / "fingerprints.json").read_text()))
    access(side, at, address)


def stands(at: Folders, state: Path) -> bool:
    """Return whether all of this folder's site runs; one of another folder, or stopped by a reboot, is made anew."""
    names = hosts.containers(NAME)
    if not names or not (state / "lab.json").exists():
        return False
    found = json.loads(podman.run("inspect", *names))
    sources = [Path(mount["Source"]) for one in found for mount in one["Mounts"]]
    ours = all(source.is_relative_to(at.root.resolve()) and source.exists() for source in sources)
    return ours and all(one["State"]["Running"] for one in found)


def reduced(steps: Steps, at: Folders, reason: str) -> None:
    """The isolated half without hosts."""
    with in_namespace(at) as side:
        behind.enter(steps, side)
        behind.declare(side, behind.site_yaml("127.0.0.1", "id"))
        bundle = behind.trust(steps, side)
        behind.serve_and_pull(steps, side, bundle, at)
    print(f"""
The bundle is built, signed, verified and was served: {at.stick}
Left out: raising a host and installing it (enrol, check, plan, apply, status), because {reason}.
Remove everything: make demo-down
""")


def access(side: Isolated, at: Folders, address: str) -> None:
    """Leave CA and credentials for the person at this machine, and say what to try next."""
    certificates, netrc, login = at.access / "certs", at.access / "netrc", at.access / "login.json"
    registry, password = f"{address}:5000", side.read("cat", "home/secrets/pull-password").strip()
    certificates.mkdir(exist_ok=True)
    (certificates / "ca.crt").write_text(side.read("cat", "home/pki/ca.pem"))
    both = base64.b64encode(f"pull:{password}".encode()).decode()
    _secret(netrc, f"machine {address} login pull password {password}\n")
    _secret(login, json.dumps({"auths": {registry: {"auth": both}}}) + "\n")
    print(f"""
The site runs. Its host is on a network of its own, which this machine reaches by address.
  site registry   https://{registry}   (CA: {certificates / "ca.crt"})
  user pull       password in {netrc}, and for container tools in {login}

Try next, from this folder:

  curl --cacert {certificates / "ca.crt"} --netrc-file {netrc} \\
    --write-out '\\n' https://{registry}/v2/_catalog
  skopeo inspect --cert-dir {certificates} --authfile {login} \\
    docker://{registry}/registry.example.org/quickstart/web:1.0
  .venv/bin/python -m tests.lab.desk run --name {NAME} -- \\
    {side.work}/{KIT_FOLDER}/bin/dryport status {side.work}/{behind.SITE} --json

Remove everything: make demo-down
""")


def _secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def missing() -> str:
    """Return why hosts cannot be raised here, or nothing."""
    if os.geteuid() != 0:
        return "that needs root; as root, make demo shows it too"
    absent = [program for program in PACKAGES if shutil.which(program) is None]
    if absent:
        packages = " ".join(PACKAGES[program] for program in absent)
        return f"{' and '.join(absent)} cannot be found here; after apt-get install {packages}, make demo shows it too"
    return ""


def up() -> int:
    """Run the demonstration; return the exit code."""
    steps, at = Steps(), Folders(BUILD)
    print(WELCOME)
    try:
        connected(steps, at)
        if reason := missing():
            reduced(steps, at, reason)
        else:
            full(steps, at)
    except (StepFailedError, podman.LabError) as error:
        print(f"\nThe demonstration stopped: {error}", file=sys.stderr)
        print("Run make demo again to go on, or make demo-down and make demo to begin anew.", file=sys.stderr)
        return 1
    return 0


def down() -> int:
    """Remove containers, network and files."""
    has_hosts = not missing()
    if has_hosts:
        hosts.down(NAME, None)
    if BUILD.exists():
        shutil.rmtree(BUILD)
    print(f"The demonstration is removed: {'its containers, its network and ' if has_hosts else ''}{BUILD}.")
    return 0


def main() -> int:
    """Parse the verb and run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.demo", description="The demonstration.")
    parser.add_argument("verb", choices=["up", "down"])
    return up() if parser.parse_args().verb == "up" else down()


if __name__ == "__main__":
    sys.exit(main())
