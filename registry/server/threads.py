"""Where blocking work runs, so that the event loop never waits for a disk, a lock or a hash.

Small pools, so that long reads cannot hold up the index, guessing passwords cannot hold up either, and bodies that
move between a socket and a file have their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
READERS, KEEPERS, HASHERS, MOVERS = 8, 8, 2, 64
CIPHERS = 2
"""One reads while the other encrypts. Each record of TLS gives up the interpreter: of many threads that encrypt, most
would spend their time getting it back."""
TAKERS = 4
"""Of uploads each block is read, parsed, written and hashed: again the interpreter goes from thread to thread."""


class Threads:
    """The pools of one application."""

    def __init__(self) -> None:
        self._readers = ThreadPoolExecutor(READERS, "read")
        self._keepers = ThreadPoolExecutor(KEEPERS, "store")
        self._hashers = ThreadPoolExecutor(HASHERS, "password")
        self._ciphers = ThreadPoolExecutor(CIPHERS, "encrypt")
        self._takers = ThreadPoolExecutor(TAKERS, "take")
        self._movers = ThreadPoolExecutor(MOVERS, "move")

    def read(self, call: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Begin to read content."""
        return asyncio.get_running_loop().run_in_executor(self._readers, call, *arguments)

    def keep(self, call: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Begin to ask or change the store."""
        return asyncio.get_running_loop().run_in_executor(self._keepers, call, *arguments)

    def hash(self, call: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Begin to check a password."""
        return asyncio.get_running_loop().run_in_executor(self._hashers, call, *arguments)

    def encrypt(self, call: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Begin to send a slice of a file over TLS; must not wait for the client."""
        return asyncio.get_running_loop().run_in_executor(self._ciphers, call, *arguments)

    def take(self, call: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Begin to store what a client has sent of a body; must not wait for the client."""
        return asyncio.get_running_loop().run_in_executor(self._takers, call, *arguments)

    def transfer(self, call: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        """Begin to move a body from a file to a socket."""
        return asyncio.get_running_loop().run_in_executor(self._movers, call, *arguments)
