# What the benchmarks share: a store with the locked packages, and the same packages installed the usual way, by
# mmdebstrap from a local repository. Sourced by the other scripts, which set: rave image mode variant.
# shellcheck shell=bash disable=SC2034,SC2154

die() { echo "$0: $1" >&2; exit 2; }

# Needs: the programs that are named.
need() {
  [ "$(id -u)" = 0 ] || die 'must be root'
  [ -x "$rave" ] || die "$rave is missing: cargo build --release"
  [ -e "images/$image.lock" ] || die "images/$image.lock is missing: rave lock $image"
  for program in "$@"; do command -v "$program" >/dev/null || die "$program is missing"; done
}

# A directory for everything, gone at the end; rave's machines and the scripts' QEMU (in $qemu_pid) end with it.
workplace() {
  work=$(mktemp -d "${TMPDIR:-/tmp}/rave-bench.XXXXXX")
  export XDG_RUNTIME_DIR=$work/run XDG_STATE_HOME=$work/state
  mkdir -m 700 "$XDG_RUNTIME_DIR" "$XDG_STATE_HOME"
  qemu_pid=
  machine=
  trap cleanup EXIT
  trap 'exit 130' INT TERM
}

cleanup() {
  if [ -n "$machine" ]; then "$rave" -q --store "$work/warm" vm rm --force "$machine" >/dev/null 2>&1 || true; fi
  if [ -n "$qemu_pid" ]; then kill "$qemu_pid" 2>/dev/null || true; fi
  rm -rf "$work"
}

title() { printf '\n== %s\n' "$1"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
# Median, least and most of the numbers on standard input.
spread() { sort -n | awk '{ v[NR] = $1 } END { printf "median %s (%s to %s, %d runs)", v[int((NR + 1) / 2)], v[1], v[NR], NR }'; }

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

# Builds the image, which fetches the locked packages, and makes an apt repository of exactly those from the store's
# copies.
prepare() {
  title 'preparation'
  build "$work/warm" --mode "$mode"
  mkdir -p "$work/repository"
  locked | while read -r name version architecture size sha256; do
    file=${name}_${version//:/%3a}_$architecture.deb
    cp "$work/warm/objects/deb/$sha256/content" "$work/repository/$file"
    dpkg-deb --field "$work/repository/$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$size" "$sha256"
  done >"$work/repository/Packages"
  printf '%s, %s, %s CPUs, load %s\n' "$("$rave" --version)" "$(mmdebstrap --version)" "$(nproc)" "$(cut -d' ' -f1-3 /proc/loadavg)"
  printf '%s packages, rave %s bytes\n' "$(locked | wc -l)" "$(stat -c %s "$rave")"
}

# The locked packages as a tarball; arguments after the first go to mmdebstrap.
debian() {
  local include
  include=$(locked | awk '{ printf "%s%s=%s", sep, $1, $2; sep = "," }')
  timed mmdebstrap --mode=root --variant="$variant" --include="$include" --dpkgopt=force-unsafe-io "${@:2}" \
    --aptopt='Acquire::Languages "none"' '' "$1" "deb [trusted=yes] copy:$work/repository ./"
}
