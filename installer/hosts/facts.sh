# What a host says of itself: a line for each fact, NAME=VALUE. PORTS (numbers) and PEERS (ADDRESS/PORT) come before.
# A fact that cannot be had is left out.
say() { printf '%s=%s\n' "$1" "$2"; }
is() { "$@" >/dev/null 2>&1 && echo yes || echo no; }
has() { command -v "$1" >/dev/null 2>&1; }

( . /etc/os-release && say os.id "$ID" && say os.version "$VERSION_ID" ) 2>/dev/null
say architecture "$(uname -m)"
say kernel "$(uname -r)"
say init "$(cat /proc/1/comm 2>/dev/null)"
say uid "$(id -u)"
[ "$(id -u)" = 0 ] && say privilege root || { sudo -n true 2>/dev/null && say privilege sudo || say privilege none; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
say time "$(date +%s)"
say python "$(command -v python3 2>/dev/null)"
say kit "$(basename "$(readlink /opt/dryport/kit/current 2>/dev/null)" 2>/dev/null)"
say registry "$(systemctl is-active dryport-registry.service 2>/dev/null)"

say cpus "$(grep -c '^processor' /proc/cpuinfo 2>/dev/null)"
flags=$(sed -n 's/^flags[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
[ -n "$flags" ] && say cpu.flags "$flags"
say memory "$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo 2>/dev/null)"

for folder in /var/lib /opt; do
  say "free.$folder" "$(df -Pk "$folder" 2>/dev/null | { read -r _; read -r _ _ _ free _; echo "$free"; })"
  # A file system that makes files as it needs them counts none.
  inodes=$(df -Pi "$folder" 2>/dev/null | { read -r _; read -r _ all _ free _; [ "$all" = 0 ] && echo 999999999 || echo "$free"; })
  say "inodes.$folder" "$inodes"
done
linked=
for folder in /var/lib /var/lib/dryport /opt /opt/dryport /etc/dryport; do [ -L "$folder" ] && linked="$linked $folder"; done
say links "${linked# }"
if probe=$(mktemp -d 2>/dev/null); then say temporary writable; rmdir "$probe"; else say temporary "not writable"; fi
# A hundred synced writes of the size that a database makes; the mean, in milliseconds. Gone afterwards.
if probe=$(as_root mktemp /var/lib/.dryport-look.XXXXXX 2>/dev/null); then
  spent=$(LC_ALL=C as_root dd if=/dev/zero of="$probe" bs=2300 count=100 oflag=dsync 2>&1 | sed -n 's/.* copied, \([0-9.e-]*\) s.*/\1/p')
  as_root rm -f "$probe"
  [ -n "$spent" ] && say sync.ms "$(awk -v s="$spent" 'BEGIN { printf "%.3f", s * 10 }' 2>/dev/null)"
fi

say hostname "$(cat /proc/sys/kernel/hostname 2>/dev/null)"
say machine "$(cat /etc/machine-id 2>/dev/null)"
if has ip; then say addresses "$(ip -o addr show 2>/dev/null | awk '{ sub("/.*", "", $4); printf "%s ", $4 }')"
elif has hostname; then say addresses "$(hostname -I 2>/dev/null)"
fi
if [ -r /proc/net/route ]; then
  say route.default "$(awk '$2 == "00000000" && $8 == "00000000" { found = 1 } END { print found ? "yes" : "no" }' /proc/net/route)"
fi
resolver=$(cat /etc/resolv.conf 2>/dev/null)
say dns.servers "$(echo "$resolver" | awk '$1 == "nameserver" { printf "%s ", $2 }')"
searches=$(echo "$resolver" | awk '$1 == "search" { $1 = ""; found = $0 } END { print found }')
say dns.search "$searches"
caught=
for domain in $searches; do
  [ "$(is timeout 5 getent hosts "dryport-$$-$(date +%s)-nobody.$domain")" = yes ] && { caught=$domain; break; }
done
say dns.wildcard "$caught"
# Without a bus timedatectl says nothing; then what its service leaves behind, and chrony, are asked.
case $(has timedatectl && timeout 10 timedatectl show -p NTPSynchronized --value 2>/dev/null) in
  yes) say synchronised yes ;;
  *) if [ -e /run/systemd/timesync/synchronized ] || [ "$(is timeout 10 chronyc waitsync 1)" = yes ]
     then say synchronised yes
     else say synchronised no
     fi ;;
esac

if has systemctl; then
  running=
  for unit in docker kubelet firewalld ufw k3s rke2-server fapolicyd; do
    [ "$(systemctl is-active "$unit.service" 2>/dev/null)" = active ] && running="$running $unit"
  done
  say services "${running# }"
fi
if has dpkg; then
  [ -z "$(dpkg --audit 2>/dev/null)" ] && say dpkg.broken no || say dpkg.broken yes
fi
for port in $PORTS; do
  hex=$(printf '%04X' "$port")
  [ -r /proc/net/tcp ] || continue
  if cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qE "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F]+:[0-9A-F]+ 0A "
  then say "port.$port" taken
  else say "port.$port" free
  fi
done
# Nobody need listen yet: a refusal came from the peer itself, so the way is free. A firewall drops, or says no route.
for peer in $PEERS; do
  said=$(LC_ALL=C timeout 5 bash -c 'exec 3<>"/dev/tcp/$1"' sh "$peer" 2>&1)
  case $?/$said in
    0/*) say "reach.$peer" open ;;
    124/*) say "reach.$peer" "no answer" ;;
    *"Connection refused"*) say "reach.$peer" refused ;;
    *"not found"*) ;;
    *) say "reach.$peer" "$(printf '%s' "$said" | tr '\n' ' ' | sed 's/.*: *//' | cut -c 1-80)" ;;
  esac
done
say end yes
