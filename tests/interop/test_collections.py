"""Ansible's own tools build a collection and run its module out of the archive that a bundle carries."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from bundles.lock import FolderArchive
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from bundles.sources.resolve import lock
from installer.hosts.content import unpack
from registry.progress import Silent

pytestmark = pytest.mark.interop
PROGRAMS = Path(sys.executable).parent
MODULE = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
AnsibleModule({}).exit_json(changed=False, said="hello from the collection")
"""
PLAY = """- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - acme.tools.hello: {}
      register: heard
    - ansible.builtin.assert: {that: heard.said == "hello from the collection"}
"""


def run(folder: Path, *arguments: str) -> None:
    surroundings = {"PATH": f"{PROGRAMS}:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(arguments, cwd=folder, env=surroundings, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_collection_that_ansible_galaxy_built_runs_from_the_bundles_playbooks(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "plugins/modules").mkdir(parents=True)
    (source / "plugins/modules/hello.py").write_text(MODULE)
    (source / "README.md").write_text("tools\n")
    (source / "galaxy.yml").write_text(
        "{namespace: acme, name: tools, version: 1.2.0, readme: README.md, authors: [a], license: [Apache-2.0]}\n"
    )
    run(source, str(PROGRAMS / "ansible-galaxy"), "collection", "build", "--output-path", str(tmp_path))
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays/step.yml").write_text(PLAY)
    (tmp_path / "bundle.yaml").write_text(
        "apiVersion: dryport/v1\nkind: Bundle\nproduct: test\nversion: 1.0.0\nplatforms: [linux/amd64]\n"
        "playbooks: {folder: {path: plays}, collections: [{path: acme-tools-1.2.0.tar.gz}]}\n"
    )
    inputs = Inputs(tmp_path, {}, tmp_path)
    locked = lock(tmp_path / "bundle.yaml", inputs, Silent())
    archive = next(blob for blob in locked.blobs() if isinstance(blob.origin, FolderArchive))
    with Fetcher(inputs)(archive) as blocks:
        unpack(io.BytesIO(b"".join(blocks)), tmp_path / "site")
    run(tmp_path / "site/playbooks", str(PROGRAMS / "ansible-playbook"), "-i", "localhost,", "step.yml")
