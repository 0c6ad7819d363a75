"""All preflights, in the order in which a person would look.

>>> [check(question).id for check in CHECKS][:2]
['os.supported', 'systemd.running']
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from installer.preflight import clock, compute, identity, network, storage, system
from installer.preflight.question import Finding, Question

CHECKS: tuple[Callable[[Question], Finding], ...] = (
    *system.CHECKS,
    *compute.CHECKS,
    *identity.CHECKS,
    *storage.CHECKS,
    *clock.CHECKS,
    *network.CHECKS,
)
"""Of each host by itself."""
ACROSS: tuple[Callable[[Sequence[Question]], Iterator[Finding]], ...] = (*identity.ACROSS, *clock.ACROSS)
"""Of all hosts that answered, among themselves."""
