#!/bin/sh
# Makes the cluster of this machine. The image has what initdb makes, without what must be each cluster's own: the
# control file, with an identifier and a secret, and the write-ahead log. Both come from an empty cluster, which takes
# next to no time to make, and pg_resetwal moves them beyond what initdb has used.
# All is made aside and moved into place on disk, so that a power cut leaves a whole cluster or none.
set -eu
umask 077
bin=/usr/lib/postgresql/17/bin
cd /var/lib/postgresql
rm -rf 17
mkdir 17
cd 17
cp -r /usr/share/postgresql/17/cluster new
mkdir empty
(cd new && find . -type d) | (cd empty && xargs mkdir -p)
cp new/PG_VERSION empty/
: >empty/postgresql.conf
: >empty/postgresql.auto.conf
$bin/postgres --boot -D empty -k -X 16777216 -F -c log_min_messages=error -c shared_buffers=1MB -c max_connections=10 \
  -c dynamic_shared_memory_type=mmap </dev/null
cp empty/global/pg_control new/global/
cp empty/pg_wal/0* new/pg_wal/
# Beyond all that the files of the image have seen.
xargs $bin/pg_resetwal -D new --next-wal-file=000000010000000000000010 <new/used
rm -r empty new/used
sync -f new
mv new main
