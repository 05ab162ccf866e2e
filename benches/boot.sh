#!/usr/bin/env bash
# Measures how long an image takes from power-on until all units are active, against the same packages installed the
# usual way, and prints figures and ratios. Slowness is no failure.
#
#   benches/boot.sh [IMAGE] [--identity FILE]       minimal by default; an image with secrets needs its identity
#
# Needs root on Debian and `apt install mmdebstrap time e2fsprogs openssh-client`, a lock for the image, a release
# build of rave, about 6 GB below $TMPDIR, and a mirror once, to fetch the locked packages. Settings:
#
#   RAVE=target/x86_64-unknown-linux-gnu/release/rave   the binary under test
#   MODE=safe                        the image's mode; processors and memory of both machines are those of the mode
#   BOOTS=3                          boots of each kind; they take turns, so that other work hits all of them
#   PATIENCE=600                     seconds that a boot may take
#   MMDEBSTRAP_VARIANT=essential     or another that takes the same packages, such as custom
#
# How to read it. All machines run under software emulation (TCG), in the same QEMU, with the same processors, memory
# and devices. Each is new: rave's makes its /var, Debian's disk is a fresh copy.
#
# The end of a boot is what the machine's own systemd says: FinishTimestampMonotonic, when the last start-up job was
# done. That moment is on the clock of the machine, so it is asked together with the machine's uptime, and the seconds
# between are taken from the age of the QEMU process. What the two ways do before QEMU starts is not measured.
#
# rave, direct    the kernel is loaded by QEMU, without firmware: what `ratio` compares
# Debian, direct  the same: mmdebstrap's tarball on ext4, Debian's own initrd (initramfs-tools, MODULES=most), and the
#                 units as the packages enable them; networkd and a key for root, to be able to ask
# rave, firmware  by OVMF and systemd-boot, as images are deployed; Debian's has no counterpart here
set -euo pipefail
cd "$(dirname "$0")/.."

rave=$(realpath "${RAVE:-target/x86_64-unknown-linux-gnu/release/rave}")
image=minimal mode=${MODE:-safe} boots=${BOOTS:-3} patience=${PATIENCE:-600} variant=${MMDEBSTRAP_VARIANT:-essential}
identity=()
while [ $# -gt 0 ]; do
  case $1 in
    --identity) identity=(--identity "$(realpath "${2:?--identity needs a file}")") && shift 2 ;;
    -*) echo "$0: $1 is unknown" >&2 && exit 2 ;;
    *) image=$1 && shift ;;
  esac
done

# shellcheck source=benches/debian.sh
. benches/debian.sh
need mmdebstrap mke2fs ssh ssh-keygen /usr/bin/time
workplace

profile=qemu/${mode//-/_}.yaml
[ -e "$profile" ] || profile=qemu/$mode.yaml
setting() { sed -n "s/^$1: *\([0-9]*\).*/\1/p" "$profile"; }

# The same packages on ext4 with Debian's initrd, and a key for root.
debian_disk() {
  local size
  ssh-keygen -q -t ed25519 -N '' -f "$work/key"
  # mmdebstrap expands $1 in hooks.
  # shellcheck disable=SC2016
  debian "$work/boot.tar" \
    --customize-hook='mkdir -p -m 700 "$1/root/.ssh"' --customize-hook="upload $work/key.pub /root/.ssh/authorized_keys" \
    --customize-hook='printf "[Match]\nType=ether\n[Network]\nDHCP=yes\n" >"$1/etc/systemd/network/80-dhcp.network"' \
    --customize-hook='chroot "$1" systemctl enable systemd-networkd ssh' \
    --customize-hook='chroot "$1" sh -c "[ -e /boot/initrd.img-* ] || update-initramfs -c -k all"'
  mkdir "$work/root"
  tar --extract --file "$work/boot.tar" --directory "$work/root" --numeric-owner --xattrs --xattrs-include='*'
  cp "$work/root"/boot/vmlinuz-* "$work/vmlinuz"
  cp "$work/root"/boot/initrd.img-* "$work/initrd"
  size=$(du -sm "$work/root" | cut -f1)
  mke2fs -q -t ext4 -d "$work/root" "$work/root.ext4" "$((size * 2 + 512))M" >"$work/log" 2>&1 || die "mke2fs failed: $(cat "$work/log")"
  rm -rf "$work/root" "$work/boot.tar"
}

# rave's QEMU from its tools tree, outside of any sandbox.
tools_qemu() {
  local tools
  tools=$(echo "$work"/warm/objects/tools/*/content)
  exec "$tools/usr/lib64/ld-linux-x86-64.so.2" --library-path "$tools/usr/lib/x86_64-linux-gnu" \
    "$tools/usr/bin/qemu-system-x86_64" -L "$tools/usr/share/qemu" -L "$tools/usr/share/seabios" "$@"
}

# Seconds since a process was started.
age() {
  sed 's/.*) //' "/proc/$1/stat" | awk -v hz="$(getconf CLK_TCK)" '{ getline up <"/proc/uptime"; printf "%.2f", up - $20 / hz }'
}

# What a machine is asked: state, microseconds from its kernel's start to the end of its own, seconds of uptime.
question='state=$(systemctl is-system-running --wait); echo "$state" \
  "$(systemctl show --property=FinishTimestampMonotonic --value)" "$(cut -d" " -f1 /proc/uptime)"'

# Asks a machine whose QEMU is $1 by the command that follows. Its age is taken with the first line of the answer: to
# end the session takes the machine up to some seconds more.
ask() {
  state= finish= uptime=
  read -r state finish uptime < <("${@:2}" "$question" 2>/dev/null) || return 1
  now=$(age "$1")
}

# The seconds from the start of a QEMU to the end of the boot, from what was answered; printed with a name, $1, and kept
# in $took.
finished() {
  local kernel
  [ "${finish:-0}" -gt 0 ] || die "$1: the machine's answer is not understood: $state $finish $uptime"
  took=$(awk -v now="$now" -v finish="$finish" -v up="$uptime" 'BEGIN { printf "%.1f", now - up + finish / 1e6 }')
  kernel=$(awk -v finish="$finish" 'BEGIN { printf "%.1f", finish / 1e6 }')
  printf '%-16s %6s s   (%s s of them since the kernel began; %s)\n' "$1" "$took" "$kernel" "$state"
}

# Boots the image with rave; arguments go to `rave run`.
boot_rave() {
  machine=bench
  "$rave" --store "$work/warm" run "$image" --mode "$mode" --name bench --detach --accel tcg --timeout "$patience" \
    "${identity[@]}" "${@:2}" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die 'the image does not boot'; }
  ask "$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$work/state/rave/vms/bench/vm.json" | head -n 1)" \
    "$rave" -q --store "$work/warm" vm ssh bench -- sh -c || die 'the machine does not answer'
  finished "$1"
  "$rave" -q --store "$work/warm" vm rm --force bench >/dev/null
  machine=
}

boot_debian() {
  local port
  port=$((20000 + RANDOM % 10000))
  tools_qemu -nodefaults -no-user-config -display none -machine q35,usb=off,vmport=off,smm=off,sata=off \
    -accel "tcg,thread=multi,tb-size=$(setting translation-cache)" -cpu max,la57=off,erms=off,fsrm=off -mem-prealloc \
    -smp "$(setting vcpus)" -m "$(setting memory)" -object rng-builtin,id=rng -device virtio-rng-pci,rng=rng \
    -kernel "$work/vmlinuz" -initrd "$work/initrd" -append 'root=/dev/vda rw quiet console=ttyS0' \
    -drive "file=$work/root.ext4,format=raw,if=none,id=disk,snapshot=on" -device virtio-blk-pci,drive=disk \
    -netdev "user,id=net,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=net,romfile= \
    -device virtio-serial-pci -chardev null,id=agent -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0 \
    -serial "file:$work/console" >"$work/log" 2>&1 &
  qemu_pid=$!
  until ask "$qemu_pid" ssh -q -p "$port" -i "$work/key" -o BatchMode=yes -o StrictHostKeyChecking=no \
    -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 -o ServerAliveInterval=5 root@127.0.0.1; do
    kill -0 "$qemu_pid" 2>/dev/null || { tail -n 20 "$work/log" >&2; die 'QEMU ended'; }
    [ "$(age "$qemu_pid" | cut -d. -f1)" -lt "$patience" ] || { tail -n 20 "$work/console" >&2; die 'no login in time'; }
    sleep 1
  done
  finished 'Debian, direct'
  kill "$qemu_pid"
  wait "$qemu_pid" || true
  qemu_pid=
}

prepare
debian_disk
title "boot: $image, $mode, $(setting vcpus) processors, $(setting memory) MiB, TCG"
printf 'initrd: rave %s bytes, Debian %s bytes\n' \
  "$(tr -d ' \n' <"$work/result/manifest.json" | sed -n 's/.*"initrd":{"sha256":"[0-9a-f]*","size":\([0-9]*\).*/\1/p')" \
  "$(stat -c %s "$work/initrd")"
for ((boot = 1; boot <= boots; boot++)); do
  boot_rave 'rave, direct' --direct
  a=$took
  boot_debian
  printf 'ratio %s\n' "$(ratio "$a" "$took")"
  echo "$(ratio "$a" "$took")" >>"$work/ratios"
  boot_rave 'rave, firmware'
done
printf 'ratio, rave to Debian: %s\n' "$(spread <"$work/ratios")"
