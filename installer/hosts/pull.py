"""The script that pulls images on a node: by the runtime's own program, its configuration, and into a throwaway store.

It reads names, one a line, and tells of each how it ended, what the program said, and whom it asked: the addresses of
all `connect` calls (strace), and the names that were looked up. Both programs are written in Go, whose resolver tells
what it is asked with GODEBUG=netdns=2. The store is emptied after each image, so that each comes whole, as on a new
node, and the largest image is all the room that is needed.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

PODMAN = r"""
begin() {
  need podman
  if [ "$ROOT" != / ]; then
    # podman reads a user's own configuration instead of the machine's, all of it: the one that is to be proven.
    mkdir -p "$D/home/.config"; ln -s "$ROOT/etc/containers" "$D/home/.config/containers"
    export HOME="$D/home"; unset XDG_CONFIG_HOME XDG_RUNTIME_DIR
  fi
  if [ -n "$AUTH" ] && [ -e "$ROOT/$AUTH" ]; then export REGISTRY_AUTH_FILE="$ROOT/$AUTH"; fi
}
pull() {
  GODEBUG=netdns=2 $WATCH podman --root "$D/root" --runroot "$D/run" --tmpdir "$D/tmp" --storage-driver vfs \
    pull -q "docker://$1"
}
clear_store() { rm -rf "$D/root" "$D/run" "$D/tmp"; }
end() { :; }
"""
CONTAINERD = r"""
begin() {
  need containerd; need ctr
  [ "$ROOT" != / ] || containerd config dump | sed -n 's/^ *config_path = ["'\'']\(.*\)["'\'']$/setting \1/p'
  cat > "$D/config.toml" <<END
version = 2
root = "$D/root"
state = "$D/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
address = "$D/sock"
END
  containerd -c "$D/config.toml" > "$D/log" 2>&1 &
  DAEMON=$!
  tries=0
  until ctr --address "$D/sock" version > /dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -gt 100 ] || ! kill -0 "$DAEMON" 2> /dev/null; then tail -n 3 "$D/log" >&2; exit 1; fi
    sleep 0.1
  done
}
pull() {
  # The program itself asks the registry; the daemon keeps what it brings.
  GODEBUG=netdns=2 $WATCH ctr --address "$D/sock" content fetch --hosts-dir "$ROOT/etc/containerd/certs.d" "$1"
}
clear_store() { ctr --address "$D/sock" images rm --sync "$1" > /dev/null 2>&1; }
end() { if [ -n "${DAEMON:-}" ]; then kill "$DAEMON" 2> /dev/null; wait "$DAEMON" 2> /dev/null; fi; }
"""
COMMON = r"""
need() { command -v "$1" > /dev/null || { echo "there is no $1 on this node" >&2; exit 1; }; }
[ "$(id -u)" = 0 ] || { echo "this is not root" >&2; exit 1; }
D=$(mktemp -d "${TMPDIR:-/tmp}/dryport-XXXXXX") || exit 1
trap 'end; rm -rf "$D"' EXIT
trap 'exit 1' HUP INT TERM
[ -z "$WATCH" ] || need strace
[ -z "$WATCH" ] || WATCH="strace -f -qq --seccomp-bpf -e trace=connect -o $D/trace"
need getent
for host in $HOSTS; do getent ahosts "$host" | sed "s/ .*//; s/^/mirror $host /"; done
sed -n 's/^nameserver[[:space:]]*\([^[:space:]]*\).*/resolver \1/p' /etc/resolv.conf 2> /dev/null
begin
echo ready
while IFS= read -r image; do
  : > "$D/trace"
  code=0
  pull "$image" > "$D/said" 2>&1 < /dev/null || code=$?
  sed -n 's/.*htons(\([0-9]*\)), sin_addr=inet_addr("\([^"]*\)").*/asked \2 \1/p
    s/.*htons(\([0-9]*\)),.*inet_pton(AF_INET6, "\([^"]*\)".*/asked \2 \1/p' "$D/trace"
  sed -n 's/.*hostLookupOrder(\([^)]*\)).*/looked-up \1/p' "$D/said"
  sed '/^go package net:/d' "$D/said" | tail -n 20 | cut -c 1-1000 | sed 's/^/said /'
  echo "code $code"
  clear_store "$image"
done
"""


@dataclass(frozen=True, slots=True)
class Puller:
    """A program that pulls, and where its login lies below a root that is not the machine's own."""

    functions: str
    login: str = ""
    certs: str = ""
    """The folder that the runtime itself must be told of, for a program that is told by hand."""

    def script(self, root: str, hosts: Sequence[str], *, is_watched: bool) -> str:
        """Return the script for configuration below `root` ("/" is what the node really uses)."""
        settings = {"ROOT": root, "AUTH": self.login, "HOSTS": " ".join(hosts), "WATCH": "strace" if is_watched else ""}
        lines = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
        return "\n".join(["set -u", "umask 077", *lines, self.functions, COMMON])


PULLERS = {
    "podman": Puller(PODMAN, "root/.config/containers/auth.json"),
    "crio": Puller(PODMAN, "etc/crio/mirror-auth.json"),
    "containerd": Puller(CONTAINERD, certs="/etc/containerd/certs.d"),
}
