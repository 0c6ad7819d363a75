"""The isolated half: check the kit, begin trust, verify, serve, pull, and install a host."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

from tests.lab import podman
from tests.lab.demo.place import Isolated, StepFailedError, shown
from tests.lab.demo.script import BUNDLE, KIT, KIT_FOLDER, SERVE_PORT, Folders, Steps


def enter(steps: Steps, side: Isolated) -> str:
    """Check the kit with what the machine has, unpack it, and return its program's path."""
    steps.say("Behind the gap. The kit is checked with plain openssl against the key from the paper")
    kit, key = f"{side.media}/{KIT}", f"{side.media}/paper/root-key.pub"
    side.show("openssl", "dgst", "-sha256", "-verify", key, "-signature", f"{kit}.sig", kit)
    side.show("tar", "-xf", kit, "-C", side.work)
    program = f"{side.work}/{KIT_FOLDER}/bin/dryport"
    side.show(program, "--version")
    return program


def trust(steps: Steps, side: Isolated, program: str, declared: str) -> str:
    """Make the site's home, begin trust with the fingerprint from the paper, verify; return the bundle's path."""
    bundle = f"{side.media}/{BUNDLE}"
    paper = side.read("cat", f"{side.media}/paper/root-fingerprint").strip()
    steps.say("The site begins: its home, its CA, its first trust by the fingerprint from the paper")
    side.show(program, "site", "init", declared)
    side.show(program, "site", "trust", declared, "--bundle", bundle, "--fingerprint", paper)
    steps.say("Verify: signatures, then every byte")
    side.show(program, "bundle", "verify", bundle, "--home", f"{side.work}/home")
    return bundle


def serve_and_pull(steps: Steps, side: Isolated, program: str, bundle: str, at: Folders) -> None:
    """Serve straight from the bundle and pull an image, TLS checked."""
    home, password = f"{side.work}/home", f"{side.work}/demo-password"
    steps.say("Serve straight from the bundle, nothing unpacked; pull from it with TLS checked")
    side.read("/bin/sh", "-c", f"test -s '{password}' || (umask 077; openssl rand -hex 16 > '{password}')")
    users = f"{side.work}/demo-users"
    side.show(
        program, "registry", "user", "add", "demo", "--users", users, "--password-file", password, "--grant", "pull:*"
    )
    tls = ("--certificate", f"{home}/pki/operator.pem", "--key", f"{home}/pki/operator.key", "--users", users)
    command = (
        program,
        "registry",
        "serve",
        "--bundle",
        bundle,
        "--home",
        home,
        "--listen",
        f"127.0.0.1:{SERVE_PORT}",
        *tls,
    )
    with side.background(*command, log=at.root / "serve.log"):
        wait = f"import socket; socket.create_connection(('127.0.0.1', {SERVE_PORT}), 1)"
        podman.within(30, lambda: _succeeds(side, "python3", "-c", wait), f"the registry; see {at.root / 'serve.log'}")
        login = ("--user", "demo", "--password-file", password, "--ca", f"{home}/pki/ca.pem")
        side.show(program, "pack", "list", "--registry", f"https://127.0.0.1:{SERVE_PORT}", *login)
        pulled = f"{side.work}/pulled"
        side.read("rm", "-rf", pulled)
        side.show(program, "registry", "import", "--from", f"https://127.0.0.1:{SERVE_PORT}", "--store", pulled, *login)
        if shutil.which("skopeo"):
            skopeo(side, at, home, password)


def skopeo(side: Isolated, at: Folders, home: str, password: str) -> None:
    """Pull one image with a client that is not ours, on the isolated network."""
    (at.access / "serve").mkdir(exist_ok=True)
    (at.access / "serve/ca.crt").write_text(side.read("cat", f"{home}/pki/ca.pem"))
    secret = at.access / "serve-password"
    secret.touch(mode=0o600)
    secret.write_text(side.read("cat", password))
    target = at.root / "pulled"
    shutil.rmtree(target, ignore_errors=True)
    image = f"127.0.0.1:{SERVE_PORT}/registry.example.org/quickstart/web:1.0"
    authfile = ("--authfile", str(at.access / "serve-login.json"))
    login = ("skopeo", "login", *authfile, "--cert-dir", str(at.access / "serve"), "--username", "demo")
    with secret.open("rb") as stdin:
        command = [*side.network, *login, "--password-stdin", f"127.0.0.1:{SERVE_PORT}"]
        if subprocess.run(command, stdin=stdin, check=False).returncode:
            raise StepFailedError("skopeo login")
    copy = ("skopeo", "copy", "--quiet", *authfile, "--src-cert-dir", str(at.access / "serve"))
    words = (*copy, f"docker://{image}", f"oci:{target}:web")
    shown(words, (*side.network, *words), "isolated")


def install(  # noqa: PLR0917 - one story's things
    steps: Steps, side: Isolated, program: str, bundle: str, declared: str, fingerprints: dict[str, str]
) -> None:
    """Enrol, check, plan, apply, apply again, status."""
    steps.say("Enrol: the host's key, compared with what its console shows")
    confirmed = [part for host, one in fingerprints.items() for part in ("--fingerprint", f"{host}={one}")]
    side.show(program, "site", "enrol", declared, *confirmed)
    steps.say("Preflights")
    side.show(program, "site", "check", declared)
    plan = f"{side.work}/plan.json"
    steps.say("Plan: frozen steps, saved and signed by the site")
    side.show(program, "plan", declared, "--bundle", bundle, "--out", plan)
    steps.say("Apply: the playbooks of the verified bundle, over SSH with Ansible")
    side.show(program, "apply", plan, "--bundle", bundle)
    steps.say("Status")
    side.show(program, "status", declared)


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


def declare(side: Isolated, text: str) -> str:
    """Write site.yaml on the isolated side and return its path."""
    path = f"{side.work}/site.yaml"
    side.read("/bin/sh", "-c", 'printf %s "$1" > "$2"', "sh", text, path)
    return path


def _succeeds(side: Isolated, *command: str) -> bool:
    with contextlib.suppress(StepFailedError):
        side.read(*command)
        return True
    return False
