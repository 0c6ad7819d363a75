"""A blob far larger than memory's bound goes down and up, and the bound holds: measured on a process of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1 << 20
BOUND = 200 * MIB
ROOT = Path(__file__).parents[2]
SIZE = 640 * MIB

SCRIPT = """
import json, re, sys
from concurrent.futures import ThreadPoolExecutor
from registry.client.push import RemoteTarget
from registry.client.ranges import ParallelBlob
from registry.client.remote import RemoteRegistry
from registry.client.transport import Transport
from registry.client.upload_state import Habits
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest

url, size, digest = sys.argv[1], int(sys.argv[2]), sys.argv[3]
layer = Descriptor("application/x-sparse", Digest.parse(digest), size)
source, target = (Transport(url), Transport(url))

def copy(name, chunked):
    blob = RemoteRegistry.over(source).blob_of("team/large", layer)
    to = RemoteTarget(target)
    to.habits = Habits(monolithic=not chunked)
    sent = to.put_blob(name, layer, blob)
    blob.close()
    return type(blob).__name__, sent.is_proven

with ThreadPoolExecutor(3) as pool:
    done = list(pool.map(copy, ["team/a", "team/b", "team/c"], [False, True, False]))
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]  # getrusage's begins with the parent's
print(json.dumps({"peak": int(peak) << 10, "done": done}))
"""

SERVER = """
import os, re, socket, sys, threading

path, size = sys.argv[1], int(sys.argv[2])
handle = os.open(path, os.O_RDONLY)
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)

def serve(sock):
    stream, trash = sock.makefile("rb"), memoryview(bytearray(1 << 20))
    while line := stream.readline():
        method, headers = line.split()[0], {}
        while header := stream.readline().strip():
            name, _, value = header.partition(b":")
            headers[name.lower()] = value.strip()
        left = int(headers.get(b"content-length", 0))
        while left:
            left -= stream.readinto(trash[: min(left, len(trash))])
        if method == b"GET":
            found = re.fullmatch(rb"bytes=(\\d+)-(\\d*)", headers.get(b"range", b"bytes=0-"))
            start, end = int(found[1]), int(found[2] or size - 1) + 1
            place = f"bytes {start}-{end - 1}/{size}"
            answer = f"206 x\\r\\nContent-Range: {place}\\r\\nContent-Length: {end - start}"
        else:
            start = end = 0
            status = {b"POST": 202, b"PATCH": 202, b"PUT": 201}[method]
            answer = f"{status} x\\r\\nLocation: /v2/x/blobs/uploads/1\\r\\nContent-Length: 0"
        sock.sendall(f"HTTP/1.1 {answer}\\r\\n\\r\\n".encode())
        while start < end:
            start += os.sendfile(sock.fileno(), handle, start, end - start)

while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def test_three_copies_of_a_huge_blob_at_once_stay_below_the_bound(sparse: Path) -> None:
    digest = "sha256:" + sparse_digest(SIZE)
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, sparse, str(SIZE)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            command = [sys.executable, "-c", SCRIPT, url, str(SIZE), digest]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600, check=False)
            assert done.returncode == 0, done.stderr[-2000:]
        finally:
            server.kill()
    seen = json.loads(done.stdout)
    assert sorted(kind for kind, _ in seen["done"]) == ["ParallelBlob", "ParallelBlob", "RemoteBlob"]
    assert all(proven for _, proven in seen["done"])
    assert seen["peak"] < BOUND


def sparse_digest(size: int) -> str:
    hasher, block = hashlib.sha256(), bytes(16 * MIB)
    for _ in range(size // len(block)):
        hasher.update(block)
    return hasher.hexdigest()
