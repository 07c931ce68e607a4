#!/bin/sh
# Installs the Debian packages that building, the demo and the tests need, and nothing when they are all there.
# No package may start a daemon, now or at the next boot: trying the demo must not leave FRR running on a host.
set -eu

build="gcc pkg-config libdqlite-dev libraft-dev libsqlite3-dev libuv1-dev liblz4-dev lxc-dev"
run="lxc iproute2 nftables ethtool procps util-linux busybox-static tar xz-utils zstd squashfs-tools squashfs-tools-ng uidmap"
lab="openvswitch-switch ovn-host ovn-central frr bird2 exabgp stayrtr keepalived tcpdump iputils-ping lxd-client"

missing=
for package in $build $run $lab; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "deps: these Debian packages are missing and need root to install:$missing" >&2
	exit 1
fi
echo "deps: installing$missing"

policy=/usr/sbin/policy-rc.d
saved=
if [ -e $policy ]; then
	saved=$(mktemp $policy.XXXXXX)
	mv $policy "$saved"
fi
before=$(mktemp)
log=$(mktemp)
restore() {
	rm -f $policy "$before" "$log"
	[ -z "$saved" ] || mv "$saved" $policy
}
trap restore EXIT
trap 'exit 130' INT TERM
# 101 is "action forbidden by policy" (invoke-rc.d(8)): maintainer scripts then start nothing.
printf '#!/bin/sh\nexit 101\n' >$policy
chmod 755 $policy

# Units that were there before keep whatever state their owner gave them.
units() { find /lib/systemd/system /etc/init.d -maxdepth 1 \( -name '*.service' -o -name '*.socket' -o -name '*.timer' -o -path '/etc/init.d/*' \) -printf '%f\n' 2>/dev/null | sort -u; }
units >"$before"

export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends $missing >"$log" 2>&1; }
install || { apt-get update -q >>"$log" 2>&1 && install; } || {
	tail -n 20 "$log" >&2
	echo "deps: apt-get could not install$missing (the last lines of its output are above)" >&2
	exit 1
}

# Policy stops the start of today; disabling stops that of the next boot.
units | comm -13 "$before" - | while read -r unit; do
	case $unit in
	*.service | *.socket | *.timer) ! command -v systemctl >/dev/null || systemctl --root=/ disable "$unit" >/dev/null 2>&1 || : ;;
	*) ! command -v update-rc.d >/dev/null || update-rc.d "$unit" disable >/dev/null 2>&1 || : ;;
	esac
done
