"""What the wire says when the store's policy forbids something: which code, and which sentence for a person."""

from __future__ import annotations

from registry.server.wire import Refusal, warning
from registry.store.faults import DeletesForbiddenError, PolicyError, ReadOnlyError, UploadsOpenError

_CROWDED_SECONDS = 60


def refusal_of(error: PolicyError) -> Refusal:
    """Return the refusal; what cannot be done here at all is UNSUPPORTED, the rest is DENIED."""
    if isinstance(error, UploadsOpenError):
        return Refusal("TOOMANYREQUESTS", error.message, headers={"Retry-After": str(_CROWDED_SECONDS)})
    is_never = isinstance(error, ReadOnlyError | DeletesForbiddenError)
    code = "UNSUPPORTED" if is_never else "DENIED"
    return Refusal(code, error.message, detail={"reference": error.reference}, headers=warning(error.message))
