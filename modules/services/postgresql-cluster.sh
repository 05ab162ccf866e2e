#!/bin/sh
# Makes the cluster of this machine. The image has what initdb makes, without what must be each cluster's own: the
# control file, with an identifier and a secret, and the write-ahead log. Both come from an empty cluster, which takes
# next to no time to make, and pg_resetwal moves them beyond what initdb has used.
# All is made aside and moved into place on disk, so that a power cut leaves a whole cluster or none.
# Few programs: under emulation each takes as long to start as all that it does here.
set -eu
umask 077
bin=/usr/lib/postgresql/17/bin image=/usr/share/postgresql/17
cd /var/lib/postgresql
[ ! -e 17 ] || rm -rf 17
mkdir 17
cd 17
cp -r $image/cluster $image/empty .
$bin/postgres --boot -D empty -k -X 16777216 -F -c log_min_messages=error -c shared_buffers=1MB -c max_connections=10 \
  -c dynamic_shared_memory_type=mmap </dev/null
mv empty/global/pg_control cluster/global/
mv empty/pg_wal/0* cluster/pg_wal/
used=
while read -r option; do used="$used $option"; done <cluster/used
# Beyond all that the files of the image have seen. Not quoted: options, one a word.
# shellcheck disable=SC2086
$bin/pg_resetwal -D cluster --next-wal-file=000000010000000000000010 $used
rm -r empty cluster/used
sync -f cluster
mv cluster main
