"""The isolated half: check the kit, begin trust, verify, serve, pull, and install a host.

Commands run in the place's work folder, with the kit's program on PATH once the kit is unpacked there.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess

from tests.lab import podman
from tests.lab.demo.place import Isolated, StepFailedError, shown
from tests.lab.demo.script import BUNDLE, KIT, SERVE_PORT, Folders, Steps

HERE = f"127.0.0.1:{SERVE_PORT}"
SITE = "site.yaml"


def enter(steps: Steps, side: Isolated) -> None:
    """Check the kit with what the machine has, and unpack it."""
    steps.say(
        "Carry the stick across the gap, and check the kit",
        "With plain openssl and the key from the paper: no dryport is trusted yet.",
    )
    kit, key = f"{side.stick}/{KIT}", f"{side.paper}/kit-key.pub"
    side.show("openssl", "dgst", "-sha256", "-verify", key, "-signature", f"{kit}.sig", kit)
    side.show("tar", "-xf", kit)
    side.show("dryport", "--version")


def trust(steps: Steps, side: Isolated) -> str:
    """Make the site's home, begin trust with the fingerprint from the paper, verify; return the bundle's path."""
    bundle = f"{side.stick}/{BUNDLE}"
    paper = side.read("cat", f"{side.paper}/root-fingerprint").strip()
    steps.say("Begin the site", "Its home, its CA, and its first trust: the fingerprint from the paper.")
    side.show("dryport", "site", "init", SITE)
    side.show("dryport", "site", "trust", SITE, "--bundle", bundle, "--fingerprint", paper)
    steps.say("Verify the bundle", "The signatures first, then every byte.")
    side.show("dryport", "bundle", "verify", bundle, "--home", "home")
    return bundle


def serve_and_pull(steps: Steps, side: Isolated, bundle: str, at: Folders) -> None:
    """Serve straight from the bundle and pull from it, TLS checked."""
    steps.say("Serve straight from the bundle", "Nothing is unpacked; clients list and pull from it, TLS checked.")
    password = "demo-password"
    side.read("/bin/sh", "-c", f"test -s {password} || (umask 077; openssl rand -hex 16 > {password})")
    user = ("registry", "user", "add", "demo", "--users", "demo-users", "--password-file", password)
    side.show("dryport", *user, "--grant", "pull:*")
    tls = ("--certificate", "home/pki/operator.pem", "--key", "home/pki/operator.key", "--users", "demo-users")
    serve = ("registry", "serve", "--bundle", bundle, "--home", "home", "--listen", HERE, *tls)
    with side.background("dryport", *serve, log=at.root / "serve.log"):
        wait = f"import socket; socket.create_connection(('127.0.0.1', {SERVE_PORT}), 1)"
        podman.within(30, lambda: _succeeds(side, "python3", "-c", wait), f"the registry; see {at.root / 'serve.log'}")
        login = ("--user", "demo", "--password-file", password, "--ca", "home/pki/ca.pem")
        side.show("dryport", "pack", "list", "--registry", f"https://{HERE}", *login)
        side.read("rm", "-rf", "pulled")
        side.show("dryport", "registry", "import", "--from", f"https://{HERE}", "--store", "pulled", *login)
        if shutil.which("skopeo"):
            skopeo(side, at, password)


def skopeo(side: Isolated, at: Folders, password: str) -> None:
    """Pull one image with a client that is not ours, on the isolated network."""
    (at.access / "serve").mkdir(exist_ok=True)
    (at.access / "serve/ca.crt").write_text(side.read("cat", "home/pki/ca.pem"))
    registries = at.access / "registries.d"
    registries.mkdir(exist_ok=True)
    # As root of a user namespace, skopeo would look for signatures where only the machine's root may look.
    nowhere = json.dumps({"default-docker": {"lookaside": (at.access.resolve() / "signatures").as_uri()}})
    (registries / "default.yaml").write_text(nowhere)
    secret = at.access / "serve-password"
    secret.touch(mode=0o600)
    secret.write_text(side.read("cat", password))
    target = at.root / "pulled"
    shutil.rmtree(target, ignore_errors=True)
    authfile = ("--authfile", str(at.access / "serve-login.json"))
    login = ("skopeo", "login", *authfile, "--cert-dir", str(at.access / "serve"), "--username", "demo")
    command = [*side.network, *login, "--password-stdin", HERE]
    with secret.open("rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailedError(f"skopeo login: {done.stderr.strip()}")
    image = f"docker://{HERE}/registry.example.org/quickstart/web:1.0"
    copy = ("skopeo", "--registries.d", str(registries), "copy", "--quiet")
    words = (*copy, *authfile, "--src-cert-dir", str(at.access / "serve"), image, f"oci:{target}:web")
    shown(words, (*side.network, *words), "isolated")


def install(steps: Steps, side: Isolated, bundle: str, fingerprints: dict[str, str]) -> None:
    """Enrol, check, plan, apply, status."""
    steps.say("Enrol the host", "Its SSH key is pinned, because it equals what the host's own console shows.")
    confirmed = [part for host, one in fingerprints.items() for part in ("--fingerprint", f"{host}={one}")]
    side.show("dryport", "site", "enrol", SITE, *confirmed)
    steps.say("Check the host", "Preflights look whether all that installing needs is there, and change nothing.")
    side.show("dryport", "site", "check", SITE)
    steps.say("Plan", "The steps are frozen, saved and signed by the site.")
    side.show("dryport", "plan", SITE, "--bundle", bundle, "--out", "plan.json")
    steps.say("Apply the plan", "Exactly these steps, by the playbooks in the verified bundle, over SSH with Ansible.")
    side.show("dryport", "apply", "plan.json", "--bundle", bundle)
    steps.say("Ask for the status", "What the site runs, whether its registry answers, how old the evidence is.")
    side.show("dryport", "status", SITE)


def site_yaml(address: str, key: str) -> str:
    """Return the demonstration's site.yaml."""
    return f"""\
apiVersion: dryport/v1
kind: Site
name: demo
domain: demo.example
target: baremetal
home: home
hosts:
  - name: h1
    address: {address}
    key: {key}
registry:
  port: 5000
"""


def declare(side: Isolated, text: str) -> None:
    """Write site.yaml on the isolated side."""
    side.read("/bin/sh", "-c", 'printf %s "$1" > "$2"', "sh", text, SITE)


def _succeeds(side: Isolated, *command: str) -> bool:
    with contextlib.suppress(StepFailedError):
        side.read(*command)
        return True
    return False
