"""Keys that never leave a token: `pkcs11:token=NAME;id=02?module-path=/usr/lib/softhsm/libsofthsm2.so` (RFC 7512).

The id is hexadecimal, as pkcs11-tool prints it (RFC 7512's `%02` is read too). The PIN is asked for at signing time;
a URI that holds one is refused, because arguments can be seen by everybody on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from securesystemslib.signer import HSMSigner, Signer

from registry.errors import SiteError, UsageError

_FORM = "pkcs11:token=NAME;id=02?module-path=/path/of/the/library.so"
_ID = re.compile(r"(%?[0-9A-Fa-f]{2}){1,8}")


def open_token(location: str, secret: Callable[[], bytes] | None) -> Signer:
    """Return a signer for what follows `pkcs11:`. Raises UsageError, SiteError `token-unusable`."""
    parts = [part.partition("=") for part in re.split(r"[;?&]", location) if part]
    given = {name: value for name, _, value in parts}
    if set(given) != {"token", "id", "module-path"} or len(parts) != len(given) or not _ID.fullmatch(given["id"]):
        raise UsageError(
            "key-uri-malformed",
            "not the URI of a key on a token" if "pin-value" not in given else "a PIN never stands in a URI",
            expected=_FORM,
            seen=", ".join(sorted(given))[:100] or "nothing",
            hint="give the PIN by --passphrase-file or at the terminal; pkcs11-tool --list-objects shows ids",
        )
    if secret is None:
        hint = "give --passphrase-file, or run it at a terminal"
        raise UsageError("passphrase-needed", "the token wants its PIN", where=unquote(given["token"]), hint=hint)
    pin = cache(lambda: secret().decode())
    return _signer(Path(unquote(given["module-path"])), unquote(given["token"]), given["id"].replace("%", ""), pin)


def _signer(module: Path, token: str, keyid: str, pin: Callable[[], str]) -> Signer:
    try:
        import pkcs11  # noqa: PLC0415 - an optional library, for those who have a token
    except ImportError as error:
        hint = "python3 -m pip install python-pkcs11"
        raise SiteError("token-unusable", "keys on tokens need python-pkcs11", hint=hint) from error

    class Token(HSMSigner):
        """A key on one token of one module; securesystemslib alone would take the module from the environment."""

        @staticmethod
        def _find_token(token_label: str | None = None) -> Any:  # noqa: ANN401 - python-pkcs11 has no types
            return pkcs11.lib(str(module)).get_token(
                token_label=token_label, token_flags=pkcs11.TokenFlag.TOKEN_INITIALIZED
            )

        def sign(self, payload: bytes) -> Any:  # noqa: ANN401 - as above
            with _told(token, pkcs11.PKCS11Error):
                return super().sign(payload)

    number = int(keyid, 16)
    with _told(token, pkcs11.PKCS11Error):
        _, public = Token.import_(number, token, lambda _: pin())
        return Token(number, public, lambda _: pin(), token)


class _told:  # noqa: N801 - reads as a sentence
    """Turn what a token's library raises into an error of ours, without the PIN."""

    def __init__(self, token: str, kind: type[Exception]) -> None:
        self.token, self.kind = token, kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, (self.kind, ValueError, RuntimeError, OSError)):
            raise SiteError(
                "token-unusable",
                f"the token does not sign: {type(error).__name__} {error}"[:200].rstrip(),
                where=self.token,
                hint="check the token's name, the key's id, the module and the PIN: pkcs11-tool --list-objects",
            ) from None
