"""What the registry answers when it does not do what was asked: the codes of the OCI distribution specification.

A refusal never holds a path, a host name or a stack of the server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

STATUS: Final[Mapping[str, int]] = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 416,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "UNAUTHORIZED": 401,
    "DENIED": 403,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
}
"""The fourteen codes, each with the status it usually comes with."""


_MOST_WARNING = 512


def warning(text: str) -> dict[str, str]:
    """Return the header (RFC 7234, 5.5) by which clients show their users a sentence; the specification caps it."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\' else " " for char in text)
    return {"Warning": f'299 - "{plain[:_MOST_WARNING]}"'}


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """An answer with one of the fourteen codes."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or STATUS[code]
        self.detail = detail
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the JSON body of the specification."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return json.dumps({"errors": [error]}).encode()
