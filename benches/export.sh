#!/usr/bin/env bash
# Measures `rave export` against `qemu-img convert` with the same disk and prints figures and ratios. Slowness is no
# failure.
#
#   benches/export.sh DISK.raw [IMAGE]
#
# DISK.raw is a built disk with manifest.json and uki.efi beside it, such as result/disk.raw. IMAGE is the name of the image
# that it was built from, in the project of the working directory: an OCI image is made of packages, not of the disk.
#
# Needs `apt install qemu-utils time`, a release build of rave, and about 5 GB below $TMPDIR. Settings:
#
#   RAVE=target/x86_64-unknown-linux-gnu/release/rave   the binary under test
#   RUNS=3                                              pairs of runs
#
# How to read it. Figures are wall-clock seconds of programs on two processors, with the disk in memory. rave makes
# qcow2, VHD, VMDK and the archive for Google Compute Engine in one run, with the SHA-256 of each and of the disk, and
# waits until all is on the disk. qemu-img makes the three formats that it knows one after the other, zstd for qcow2 as
# rave has it, and waits for no disk. Both take turns, so that other work on the machine hits both: trust the ratio. A ratio below 1
# means that rave took less. Memory is that of the largest single process. The OCI image is made by a run of its own and has
# no part in the ratio: qemu-img knows nothing like it.
set -euo pipefail

rave=$(realpath "${RAVE:-target/x86_64-unknown-linux-gnu/release/rave}")
disk=$(realpath --no-symlinks "${1:?usage: benches/export.sh DISK.raw [IMAGE]}")
image=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

timed() {
  /usr/bin/time --format '%e %M' --output "$work/took" taskset --cpu-list 0,1 "$@" >/dev/null 2>"$work/said" ||
    { cat "$work/said" >&2; exit 2; }
}

cat "$disk" >/dev/null
printf '%-5s %8s %8s %10s %10s %10s %12s %6s %8s\n' pair rave KiB qcow2 vhd vmdk 'qemu-img' ratio oci
for ((pair = 1; pair <= ${RUNS:-3}; pair++)); do
  rm -rf "$work/out"
  timed "$rave" export "$disk" --format qcow2,vhd,vmdk,gce --output "$work/out"
  read -r ours memory <"$work/took"
  rm -rf "$work/out"
  theirs=()
  for options in 'qcow2 -c -o compression_type=zstd' 'vpc -o subformat=fixed' 'vmdk -o subformat=streamOptimized'; do
    # shellcheck disable=SC2086
    timed qemu-img convert -f raw -O $options "$disk" "$work/other"
    read -r seconds _ <"$work/took"
    theirs+=("$seconds")
    rm "$work/other"
  done
  oci=-
  if [[ -n $image ]]; then
    timed "$rave" export "$image" --format oci --output "$work/oci"
    read -r oci _ <"$work/took"
    rm -rf "$work/oci"
  fi
  awk -v pair="$pair" -v ours="$ours" -v memory="$memory" -v a="${theirs[0]}" -v b="${theirs[1]}" -v c="${theirs[2]}" -v oci="$oci" \
    'BEGIN { printf "%-5s %8s %8s %10s %10s %10s %12.2f %6.2f %8s\n", pair, ours, memory, a, b, c, a + b + c, ours / (a + b + c), oci }'
done
