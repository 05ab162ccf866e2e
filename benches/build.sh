#!/usr/bin/env bash
# Measures rave against mmdebstrap with the same packages and prints figures and ratios. Slowness is no failure.
#
#   benches/build.sh [PART...]       parts: cold noop change; all by default
#
# Needs root on Debian and `apt install mmdebstrap time`, a lock for the image, a release build of rave, about 4 GB
# below $TMPDIR, and a mirror once, to fetch the locked packages. Settings:
#
#   RAVE=target/x86_64-unknown-linux-gnu/release/rave   the binary under test
#   IMAGE=minimal MODE=full-pipe     what is built
#   PAIRS=3                          cold builds of each kind
#   RUNS=21                          builds with nothing to do; a quarter as many with one changed file
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
set -euo pipefail
cd "$(dirname "$0")/.."

rave=$(realpath "${RAVE:-target/x86_64-unknown-linux-gnu/release/rave}")
image=${IMAGE:-minimal} mode=${MODE:-full-pipe}
pairs=${PAIRS:-3} runs=${RUNS:-21} variant=${MMDEBSTRAP_VARIANT:-essential}
parts=" ${*:-cold noop change} "

# shellcheck source=benches/debian.sh
. benches/debian.sh
need mmdebstrap /usr/bin/time
workplace

wanted() { [[ $parts == *" $1 "* ]]; }
now() { date +%s%N; }

prepare
mkdir -m 700 "$work/debs" "$work/debs/objects"
cp "$work/warm/version" "$work/debs/"
cp -a "$work/warm/objects/deb" "$work/debs/objects/"

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

for part in cold noop change; do
  if wanted "$part"; then "$part"; fi
done
