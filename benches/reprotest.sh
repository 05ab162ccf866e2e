#!/usr/bin/env bash
# Has reprotest build an image two or three times in surroundings that differ, and diffoscope tell what differs in the
# results: nothing, or the script fails.
#
#   benches/reprotest.sh [IMAGE]       minimal by default
#
# Needs root on Debian and `apt install reprotest diffoscope disorderfs sudo uidmap locales-all time`, two processors, a
# lock for the image, a release build of rave, about 8 GB below $TMPDIR (12 GB for production), and a mirror once, to fetch
# the locked packages.
# Settings:
#
#   RAVE=target/x86_64-unknown-linux-gnu/release/rave   the binary under test
#   MODE=safe                                           the image's mode
#   DISORDERFS=yes                                      no leaves the third build out
#
# How to read it. Each build has a copy of the project and a store of its own, with the fetched packages and nothing
# else. Compared are the disk, the manifest, the unified kernel image, and the records of all exports, which have their
# digests. The first build is the control. The second differs from it in path, user (an ordinary one with subordinate
# ids), home, host name, environment, locale, time zone, umask, PATH, processors, address space, and in what uname(2) says.
# The third is root's again, and all that it reads and writes is in disorderfs, which lists files in random order and does
# not know holes. It knows one user: of production, whose database cluster is made by a user of a package, there is no third.
#
# The time is not varied: a clock of faketime does not reach a static program. The builds begin about a minute apart.
set -euo pipefail
cd "$(dirname "$0")/.."

rave=$(realpath "${RAVE:-target/x86_64-unknown-linux-gnu/release/rave}")
image=${1:-minimal} mode=${MODE:-safe} disorderfs=${DISORDERFS:-yes}
user=reprotester

# shellcheck source=benches/debian.sh
. benches/debian.sh
need reprotest diffoscope disorderfs sudo newuidmap /usr/bin/time
workplace
trap 'userdel "$user"; cleanup' EXIT
useradd --no-create-home "$user"

title "preparation: $("$rave" --version), $(dpkg-query --show reprotest), $(diffoscope --version)"
project=$work/project
mkdir "$project"
cp -a images modules "$project/"
cp "$rave" "$project/rave"
rm -f "$project/images/$image.secrets"
# What encrypts is random: secrets are sealed here, once, and no build has the identity that opens them.
export RAVE_PROJECT=$project SOPS_AGE_KEY_FILE=$work/keys.txt
"$rave" secrets init "$image"
build "$work/warm" --mode "$mode"
unset RAVE_PROJECT SOPS_AGE_KEY_FILE
mkdir -m 700 "$project/store" "$project/store/objects"
cp "$work/warm/version" "$project/store/"
cp -a "$work/warm/objects/deb" "$project/store/objects/"
rm -rf "$work/warm"

title "builds: $image, $mode"
commands="export XDG_RUNTIME_DIR=\$PWD/run XDG_STATE_HOME=\$PWD/state
mkdir -m 700 run state
./rave --store store build $image --mode $mode --output result
./rave --store store export $image --mode $mode --output forms \
  --format raw.zst,qcow2,vhd,vmdk,ova,gce,oci,containerdisk,uki
mkdir artefacts
cp -L --sparse=always result/* forms/*.json artefacts/"
# A user's disorderfs is not for that user's subordinate ids.
third=(--extra-build=+fileordering,-user_group)
[ "$disorderfs" = yes ] || third=()
reprotest --verbosity 1 --store-dir "$work/compared" --min-cpus 1 \
  --variations="+all,-time,-fileordering,domain_host.use_sudo=1,user_group.available+=$user:$user" \
  --vary='environment.variables+=SOURCE_DATE_EPOCH=1;RAYON_NUM_THREADS=3;TMPDIR=/var/tmp' \
  "${third[@]}" --source-root "$project" "$commands" 'artefacts/*'
sha256sum "$work"/compared/control/source-root/artefacts/*
