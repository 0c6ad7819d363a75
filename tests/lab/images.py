"""The lab's two images, made from Debian's packages once for each recipe; there is no registry to pull a base from.

* `host`: a small server with systemd and sshd, without Python and without any package source, as a site may have it.
  It bears no host keys (all copies would share them); root, and `ops` through sudo, log in by key.
* `operator`: the machine where an operator works: Python, an SSH client, openssl, and nothing of dryport.

A tag is the hash of its recipe, so a second call finds the image and does nothing.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab import podman

SUITE = "bookworm"
CLEAN = 'rm -f "$1"/etc/apt/sources.list "$1"/etc/hostname "$1"/etc/resolv.conf && : > "$1"/etc/resolv.conf'
"""Neither a package source nor a name or resolver of the building machine stays in an image."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is made of; its hash is the image's tag."""

    name: str
    packages: tuple[str, ...]
    hooks: tuple[str, ...]
    changes: tuple[str, ...]
    suite: str = SUITE

    @property
    def image(self) -> str:
        """The image's full name."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"localhost/dryport-lab-{self.name}:{digest[:16]}"


HOST = Recipe(
    name="host",
    packages=("systemd", "systemd-sysv", "dbus", "openssh-server", "iproute2", "sudo"),
    hooks=(
        CLEAN,
        'rm -f "$1"/etc/ssh/ssh_host_*',
        'chroot "$1" useradd --create-home --shell /bin/bash ops',
        'echo "ops ALL=(ALL) NOPASSWD: ALL" > "$1"/etc/sudoers.d/ops && chmod 440 "$1"/etc/sudoers.d/ops',
        # Nobody looks at these; without them a host is up sooner and has no timer that runs apt.
        'chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer getty.target console-getty.service',
    ),
    changes=('CMD ["/lib/systemd/systemd"]', "STOPSIGNAL SIGRTMIN+3"),
)
OPERATOR = Recipe(
    name="operator",
    packages=("python3", "openssh-client", "openssl", "ca-certificates", "iproute2"),
    hooks=(CLEAN,),
    changes=('CMD ["/usr/bin/sleep", "infinity"]',),
)


def ensure(recipe: Recipe) -> str:
    """Return the image's name; it is built when this machine has not got it yet (about 20 s). Raises LabError."""
    if recipe.image not in podman.run("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines():
        _build(recipe)
    return recipe.image


def _build(recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory(prefix="dryport-lab-") as scratch:
        root = Path(scratch, "root.tar")
        hooks = [f"--customize-hook={hook}" for hook in recipe.hooks]
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(recipe.packages)}", *hooks]
        done = subprocess.run(
            [*command, recipe.suite, str(root)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            raise podman.LabError(f"mmdebstrap for {recipe.image}: exit {done.returncode}: {done.stderr.strip()}")
        changes = [argument for change in recipe.changes for argument in ("--change", change)]
        podman.run("import", "--quiet", *changes, str(root), recipe.image, seconds=300)
