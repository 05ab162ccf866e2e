#!/usr/bin/env bash
# Measures `rave export` against what else makes the same of a disk, and prints figures and ratios. Slowness is no failure.
#
#   benches/export.sh DISK.raw [IMAGE]
#
# DISK.raw is a built disk with manifest.json and uki.efi beside it, such as result/disk.raw. IMAGE is the name of the image
# that it was built from, in the project of the working directory: an OCI image is made of packages, not of the disk.
#
# Needs `apt install qemu-utils time`, a release build of rave, and about 5 GB below $TMPDIR. Settings:
#
#   RAVE=target/x86_64-unknown-linux-gnu/release/rave   the binary under test
#   RUNS=3                                              rounds
#
# How to read it. Figures are wall-clock seconds of programs on two processors, with the disk in memory. In each round every
# format is made by itself, by rave and by the other program, and all of them by one run of rave, whose line `all` is held
# against the sum of the others. rave tells the SHA-256 of each file and of the disk, and waits until all is on the disk.
# qemu-img makes qcow2 (with zstd, as rave has it), VHD and VMDK, and tar with gzip the archive for Google Compute Engine, in
# the way of its manual; neither waits for a disk. Nothing else makes such an OCI image: `all` has rave's time for it, the sum
# has none. They take turns, so that other work on the machine hits both: trust the ratio. A ratio below 1 means that rave
# took less. Memory is that of the largest single process of rave.
set -euo pipefail

rave=$(realpath "${RAVE:-target/x86_64-unknown-linux-gnu/release/rave}")
disk=$(realpath --no-symlinks "${1:?usage: benches/export.sh DISK.raw [IMAGE]}")
from=${2:-$disk}
formats=(qcow2 vhd vmdk gce ${2:+oci})
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

timed() {
  /usr/bin/time --format '%e %M' --output "$work/took" taskset --cpu-list 0,1 "$@" >/dev/null 2>"$work/said" ||
    { cat "$work/said" >&2; exit 2; }
}

ours() {
  timed "$rave" export "$from" --format "$1" --output "$work/out"
  rm -rf "$work/out"
}

theirs() {
  local convert=(qemu-img convert -f raw "$disk" "$work/other" -O)
  case $1 in
    qcow2) timed "${convert[@]}" qcow2 -c -o compression_type=zstd ;;
    vhd) timed "${convert[@]}" vpc -o subformat=fixed ;;
    vmdk) timed "${convert[@]}" vmdk -o subformat=streamOptimized ;;
    gce) timed tar --format=oldgnu -Sczhf "$work/other" -C "$(dirname "$disk")" "$(basename "$disk")" ;;
    oci) echo '0 0' >"$work/took" ;;
  esac
  rm -f "$work/other"
}

# Arguments: round, format, seconds and KiB of rave, seconds of the other.
line() {
  awk -v round="$1" -v format="$2" -v ours="$3" -v memory="$4" -v theirs="$5" 'BEGIN {
    printf "%-5s %-6s %8.2f %8s", round, format, ours, memory
    if (theirs > 0) printf " %8.2f %6.2f\n", theirs, ours / theirs; else printf " %8s %6s\n", "-", "-"
  }'
}

cat "$disk" >/dev/null
printf '%-5s %-6s %8s %8s %8s %6s\n' round format rave KiB other ratio
for ((round = 1; round <= ${RUNS:-3}; round++)); do
  ours "$(IFS=, && echo "${formats[*]}")"
  read -r all most <"$work/took"
  sum=0
  for format in "${formats[@]}"; do
    ours "$format"
    read -r seconds memory <"$work/took"
    theirs "$format"
    read -r other _ <"$work/took"
    line "$round" "$format" "$seconds" "$memory" "$other"
    sum=$(awk -v sum="$sum" -v other="$other" 'BEGIN { print sum + other }')
  done
  line "$round" all "$all" "$most" "$sum"
done
