"""Fixtures of the lab suite: names that never meet, and one host for a module's tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.conftest import need, need_root
from tests.lab import hosts


@pytest.fixture(scope="module")
def lab_name() -> str:
    """A name for one lab that no other run has."""
    need_root()
    need("podman", "mmdebstrap", "ssh-keygen", "runc")
    return f"dryport-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def lab(lab_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[hosts.Lab]:
    """One host that answers SSH, and its network; gone after the module's last test."""
    with hosts.raised(lab_name, 1, tmp_path_factory.mktemp("lab") / "state") as running:
        yield running
