#!/usr/bin/env bash
# Measures rave against mmdebstrap with the same packages and prints figures and ratios. Slowness is no failure.
#
#   benches/build.sh [PART...]       parts: cold noop change boot; all by default
#
# Needs root on Debian and `apt install mmdebstrap time` (boot also: e2fsprogs openssh-client), a lock for the image,
# a release build of rave, about 4 GB below $TMPDIR, and a mirror once, to fetch the locked packages. Settings:
#
#   RAVE=target/x86_64-unknown-linux-gnu/release/rave   the binary under test
#   IMAGE=minimal MODE=full-pipe     what is built
#   PAIRS=3                          cold builds of each kind
#   RUNS=21                          builds with nothing to do; a quarter as many with one changed file
#   BOOTS=2                          boots of each kind
#   MMDEBSTRAP_VARIANT=essential     or another that takes the same packages, such as custom
#
# How to read it. Figures are wall-clock seconds. The two kinds of run take turns, so that other work on the machine
# hits both: trust the ratio of a pair more than its seconds. A ratio below 1 means that rave took less.
#
# cold    rave starts with a store that holds the fetched packages and nothing else. It unpacks its tools and makes
#         the whole disk: root file system, EROFS, dm-verity, initrd, kernel image, partitions, all synced to disk.
#         mmdebstrap installs the same versions, from the same files in a local repository (so nothing is downloaded,
#         but it does copy them as apt does), with the host's tools, into an uncompressed tarball and syncs nothing.
#         Neither runs update-initramfs, and dpkg is told not to sync. Memory is that of the largest single process.
# noop    the disk is there already: evaluation, plan and lookup.
# change  /etc/motd gets another text each time, to a new bootable disk; in both modes.
# boot    from the start of the command to a login by SSH with no start-up job left (`systemctl is-system-running
#         --wait`): rave by firmware and boot loader, rave with --direct, and the same packages unpacked on ext4 with
#         Debian's own initramfs (MODULES=most), booted with -kernel by the same QEMU with the same processors and
#         memory. rave's time includes its own preparations, verity and the first boot's partitioning; Debian's has
#         none of that, no hardening and no firmware. `stages` is from the same start until all stages of
#         `rave check` have answered.
set -euo pipefail
cd "$(dirname "$0")/.."

rave=$(realpath "${RAVE:-target/x86_64-unknown-linux-gnu/release/rave}")
image=${IMAGE:-minimal} mode=${MODE:-full-pipe}
pairs=${PAIRS:-3} runs=${RUNS:-21} boots=${BOOTS:-2} variant=${MMDEBSTRAP_VARIANT:-essential}
parts=" ${*:-cold noop change boot} "

die() { echo "$0: $1" >&2; exit 2; }
[ "$(id -u)" = 0 ] || die 'must be root'
[ -x "$rave" ] || die "$rave is missing: cargo build --release"
[ -e "images/$image.lock" ] || die "images/$image.lock is missing: rave lock $image"
for program in mmdebstrap /usr/bin/time; do command -v "$program" >/dev/null || die "$program is missing"; done

work=$(mktemp -d "${TMPDIR:-/tmp}/rave-bench.XXXXXX")
export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_STATE_HOME"
qemu_pid=
machine=
cleanup() {
  if [ -n "$machine" ]; then "$rave" -q --store "$work/warm" vm stop "$machine" >/dev/null 2>&1 || true; fi
  if [ -n "$qemu_pid" ]; then kill "$qemu_pid" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

wanted() { [[ $parts == *" $1 "* ]]; }
title() { printf '\n== %s\n' "$1"; }
now() { date +%s%N; }
# Seconds with two decimals since a time in nanoseconds.
since() { awk -v ns="$(($(now) - $1))" 'BEGIN { printf "%.2f", ns / 1e9 }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
# Median, least and most of the numbers on standard input.
spread() { sort -n | awk '{ v[NR] = $1 } END { printf "median %s (%s to %s, %d runs)", v[int((NR + 1) / 2)], v[1], v[NR], NR }'; }
field() { sed -n "s/.*\"$1\":\"\\{0,1\\}\\([^\",}]*\\).*/\\1/p" | head -n 1; }

# Runs a command; writes "seconds CPU-seconds KiB" to $work/took and its output to $work/log.
timed() {
  sync
  /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$@" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "failed: $1"; }
  awk 'END { printf "%s %.2f %s\n", $1, $2 + $3, $4 }' "$work/time" >"$work/took"
}

build() { timed "$rave" --json --store "$1" build "$image" --output "$work/result" "${@:2}"; }

# The packages of the lock: name version architecture size sha256.
locked() {
  sed -n 's/^- {name: \([^,]*\), version: \([^,]*\), architecture: \([^,]*\), size: \([0-9]*\), sha256: \([0-9a-f]*\),.*/\1 \2 \3 \4 \5/p' \
    "images/$image.lock" | tr -d '"'
}

# An apt repository of exactly the locked packages, from the store's copies.
repository() {
  mkdir -p "$work/repository"
  locked | while read -r name version architecture size sha256; do
    file=${name}_${version//:/%3a}_$architecture.deb
    cp "$work/debs/objects/deb/$sha256/content" "$work/repository/$file"
    dpkg-deb --field "$work/repository/$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$size" "$sha256"
  done >"$work/repository/Packages"
}

debian() {
  local include
  include=$(locked | awk '{ printf "%s%s=%s", sep, $1, $2; sep = "," }')
  timed mmdebstrap --mode=root --variant="$variant" --include="$include" --dpkgopt=force-unsafe-io "${@:2}" \
    --aptopt='Acquire::Languages "none"' '' "$1" "deb [trusted=yes] copy:$work/repository ./"
}

title 'preparation'
build "$work/warm" --mode "$mode"
mkdir -m 700 "$work/debs" "$work/debs/objects"
cp "$work/warm/version" "$work/debs/"
cp -a "$work/warm/objects/deb" "$work/debs/objects/"
repository
printf '%s, %s, %s CPUs, load %s\n' "$("$rave" --version)" "$(mmdebstrap --version)" "$(nproc)" "$(cut -d' ' -f1-3 /proc/loadavg)"
printf '%s packages, rave %s bytes\n' "$(locked | wc -l)" "$(stat -c %s "$rave")"

cold() {
  title "cold: $image, $mode"
  printf '%-5s %10s %8s %12s %12s %8s %10s %6s\n' pair rave CPU 'largest KiB' mmdebstrap CPU 'largest KiB' ratio
  for ((pair = 1; pair <= pairs; pair++)); do
    rm -rf "$work/cold"
    cp -a "$work/debs" "$work/cold"
    build "$work/cold" --mode "$mode"
    read -r a a_cpu a_memory <"$work/took"
    cp "$work/log" "$work/phases"
    rm -rf "$work/cold"
    INITRD=No debian "$work/debian.tar"
    read -r b b_cpu b_memory <"$work/took"
    printf '%-5s %10s %8s %12s %12s %8s %10s %6s\n' \
      "$pair" "$a" "$a_cpu" "$a_memory" "$b" "$b_cpu" "$b_memory" "$(ratio "$a" "$b")"
    ratio "$a" "$b" >>"$work/ratios" && echo >>"$work/ratios"
  done
  printf 'ratio %s\n' "$(spread <"$work/ratios")"
  echo 'phases of the last cold build, in milliseconds; some overlap:'
  phases <"$work/phases"
}

# Durations by task, from rave's events.
phases() {
  sed -n -e 's/.*"started","task":\([0-9]*\),"parent":null,"verb":"\([^"]*\)","subject":"\([^"]*\)".*/\1 \2 \3/p' \
    -e 's/.*"finished","task":\([0-9]*\),"ms":\([0-9]*\).*/\1 \2/p' |
    awk 'NF > 2 { id = $1; $1 = ""; name[id] = $0; next } $1 in name { printf "%8d %s\n", $2, name[$1] }'
}

noop() {
  title 'noop'
  for ((run = 0; run < runs; run++)); do
    start=$(now)
    "$rave" -q --store "$work/warm" build "$image" --mode "$mode" --output "$work/result" >/dev/null
    echo $((($(now) - start) / 1000000))
  done | spread
  echo ' ms'
}

change() {
  title 'change'
  for changed_mode in full-pipe safe; do
    build "$work/warm" --mode "$changed_mode"
    printf '%-10s' "$changed_mode"
    for ((run = 0; run < (runs + 3) / 4; run++)); do
      build "$work/warm" --mode "$changed_mode" --set "environment.files={/etc/motd: {text: \"$(now)\"}}"
      cut -d' ' -f1 "$work/took"
    done | spread
    echo ' s'
  done
  echo 'phases of the last, in milliseconds:'
  phases <"$work/log"
}

# Boots the image with rave, to login and to all stages; arguments go to `rave run`.
boot_rave() {
  local start login
  start=$(now)
  machine=bench
  "$rave" --json --store "$work/warm" run "$image" --mode "$mode" --name bench --detach "${@:2}" >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2; die 'the image does not boot'; }
  "$rave" --store "$work/warm" vm ssh bench -- systemctl is-system-running --wait >/dev/null || true
  login=$(since "$start")
  accelerator=$(field accelerator <"$work/log")
  "$rave" --json --store "$work/warm" check bench >"$work/check" 2>&1 || echo 'not healthy' >&2
  printf '%-22s login %7s   stages %7s   (%s)\n' "$1" "$login" "$(since "$start")" "$accelerator"
  "$rave" -q --store "$work/warm" vm stop bench >/dev/null
  machine=
}

# The same packages on ext4 with Debian's initramfs, and a key for root.
debian_disk() {
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
  rm -f "$work/root.ext4"
  mke2fs -q -t ext4 -d "$work/root" "$work/root.ext4" 2G
  rm -rf "$work/root" "$work/boot.tar"
}

# rave's QEMU from its tools tree, outside of any sandbox.
tools_qemu() {
  local tools
  tools=$(echo "$work"/warm/objects/tools/*/content)
  exec "$tools/usr/lib64/ld-linux-x86-64.so.2" --library-path "$tools/usr/lib/x86_64-linux-gnu" \
    "$tools/usr/bin/qemu-system-x86_64" -L "$tools/usr/share/qemu" -L "$tools/usr/share/seabios" "$@"
}

boot_debian() {
  local start port profile memory vcpus accel
  profile=qemu/${mode//-/_}.yaml
  [ -e "$profile" ] || profile=qemu/$mode.yaml
  memory=$(sed -n 's/^memory: *\([0-9]*\).*/\1/p' "$profile") vcpus=$(sed -n 's/^vcpus: *\([0-9]*\).*/\1/p' "$profile")
  # shellcheck disable=SC2054
  accel=(-accel tcg,thread=multi,tb-size=512 -cpu max,la57=off)
  [ "$accelerator" != kvm ] || accel=(-accel kvm -cpu host)
  port=$((20000 + RANDOM % 10000))
  start=$(now)
  tools_qemu -nodefaults -no-user-config -display none -machine q35,usb=off,vmport=off,smm=off "${accel[@]}" \
    -smp "$vcpus" -m "$memory" -object rng-builtin,id=rng -device virtio-rng-pci,rng=rng \
    -kernel "$work/vmlinuz" -initrd "$work/initrd" -append 'root=/dev/vda rw console=ttyS0' \
    -drive "file=$work/root.ext4,format=raw,if=none,id=disk,snapshot=on" -device virtio-blk-pci,drive=disk \
    -netdev "user,id=net,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=net,romfile= \
    -serial "file:$work/console" >"$work/log" 2>&1 &
  qemu_pid=$!
  until ssh -q -p "$port" -i "$work/key" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
    -o ConnectTimeout=5 -o ServerAliveInterval=5 root@127.0.0.1 \
    'systemctl is-system-running --wait >/dev/null; true' 2>/dev/null; do
    kill -0 "$qemu_pid" 2>/dev/null || { tail -n 20 "$work/log" >&2; die 'QEMU ended'; }
    [ "$(($(now) - start))" -lt 600000000000 ] || { tail -n 20 "$work/console" >&2; die 'no login in ten minutes'; }
    sleep 0.5
  done
  printf '%-22s login %7s   initrd %s bytes\n' 'Debian, direct' "$(since "$start")" "$(stat -c %s "$work/initrd")"
  kill "$qemu_pid"
  wait "$qemu_pid" || true
  qemu_pid=
}

boot() {
  title "boot: $mode"
  "$rave" -q --store "$work/warm" build "$image" --mode "$mode" --output "$work/result" >/dev/null
  debian_disk
  for ((boot = 1; boot <= boots; boot++)); do
    boot_rave 'rave, firmware'
    boot_rave 'rave, direct' --direct
    boot_debian
  done
}

for part in cold noop change boot; do
  if wanted "$part"; then "$part"; fi
done
