"""What all suites share: how a missing foreign program is answered."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's matter: it may be busy.
settings.register_profile("dryport", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dryport")
REQUIRED = os.environ.get("CI") == "true"


def need(*programs: str) -> None:
    """Skip with a sentence when a program is missing; with CI=true a missing one is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        absent(f"{', '.join(missing)} not on PATH; install it with apt to run this")


def need_root() -> None:
    """Skip (or fail, with CI=true) unless this is root on Linux."""
    if os.geteuid() != 0:
        absent("needs root for containers and network namespaces; run make test as root")


def absent(reason: str) -> None:
    """Skip, or fail where everything must be there."""
    if REQUIRED:
        pytest.fail(f"required with CI=true: {reason}")
    pytest.skip(reason)
