"""Answers every name with one address, listens there, and writes down what comes: `trap.py RESOLVER ADDRESS RECORD`."""

from __future__ import annotations

import select
import socket
import sys
from pathlib import Path

PORTS = (80, 443, 5000)


def main(resolver: str, address: str, record: Path) -> None:
    """Run until the process is told to end."""
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((resolver, 53))
    listeners = {socket.create_server((address, port)): port for port in PORTS}
    print("ready", flush=True)
    with record.open("a") as file:
        while True:
            for one in select.select([names, *listeners], [], [])[0]:
                if one is names:
                    query, peer = names.recvfrom(512)
                    file.write(f"name {name_in(query)}\n")
                    names.sendto(answer(query, address), peer)
                else:
                    link, _ = one.accept()
                    link.close()
                    file.write(f"connection to port {listeners[one]}\n")
                file.flush()


def name_in(query: bytes) -> str:
    """Return the name that a DNS question (RFC 1035, 4.1.2) is about."""
    labels, place = [], 12
    while length := query[place]:
        labels.append(query[place + 1 : place + 1 + length].decode())
        place += length + 1
    return ".".join(labels)


def answer(query: bytes, address: str) -> bytes:
    """Return a reply with the address to a question about IPv4, and one with nothing to any other."""
    end = query.index(0, 12) + 5
    is_a = query[end - 4 : end - 2] == b"\x00\x01"
    head = query[:2] + b"\x81\x80\x00\x01" + (b"\x00\x01" if is_a else b"\x00\x00") + b"\x00\x00\x00\x00"
    found = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04" + bytes(map(int, address.split(".")))
    return head + query[12:end] + (found if is_a else b"")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
