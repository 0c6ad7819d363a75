# What a person who helps from afar would ask of a host. MARK, a line nobody else writes, and SINCE come before.
# Each part: a line "MARK NAME", then what its command said, at most 1 MiB and 20 seconds of it. Nothing is changed.
part() {
  name=$1
  shift
  printf '\n%s %s\n' "$MARK" "$name"
  timeout 20 "$@" 2>&1 | head -c 1048576
}
has() { command -v "$1" >/dev/null 2>&1; }

part system/os-release cat /etc/os-release
part system/uname uname -a
part system/uptime uptime
part system/command-line cat /proc/cmdline
part system/boots sh -c 'journalctl --list-boots --no-pager | tail -n 20'
part system/processors lscpu
part system/memory cat /proc/meminfo
part system/modules cat /proc/modules
part system/processes ps -eo pid,ppid,user,stat,etime,rss,comm
part system/kernel-log sh -c 'dmesg | tail -n 2000'
part system/time date -u +%Y-%m-%dT%H:%M:%SZ
part system/clock sh -c 'timedatectl || cat /run/systemd/timesync/synchronized'
part storage/mounts cat /proc/mounts
part storage/free df -PTk
part storage/inodes df -Pi
part storage/devices lsblk
part storage/dryport sh -c 'du -xk --max-depth=3 /var/lib/dryport /opt/dryport'
part storage/reflection sh -c 'cat /proc/diskstats'
part network/addresses ip addr
part network/links ip -s link
part network/routes ip route show table all
part network/rules ip rule
part network/neighbours ip neigh
part network/listeners sh -c 'ss -lntu || cat /proc/net/tcp /proc/net/tcp6'
part network/packet-filter sh -c 'nft list ruleset || iptables-save'
part network/resolver cat /etc/resolv.conf
part network/hosts cat /etc/hosts
part services/failed systemctl --no-pager --failed
part services/jobs systemctl --no-pager list-jobs
part services/registry systemctl --no-pager status dryport-registry.service
part services/registry-unit systemctl --no-pager cat dryport-registry.service
part logs/registry journalctl --no-pager -o short-iso -u dryport-registry.service --since "$SINCE"
part logs/warnings journalctl --no-pager -o short-iso -p warning --since "$SINCE"
part packages/list dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n'
part packages/audit dpkg --audit
part dryport/kits ls -l /opt/dryport/kit
part dryport/releases sh -c 'ls -l /var/lib/dryport /etc/dryport'
part dryport/registry-configuration sh -c 'cat /etc/dryport/registry/config.yaml'
printf '\n%s end\n' "$MARK"
