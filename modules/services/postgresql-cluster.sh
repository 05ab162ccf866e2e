#!/bin/sh
# Makes the cluster of this machine. The image has what initdb makes, without what must be each cluster's own: identifier
# and secret of the control file, which are drawn here, and the write-ahead log. pg_resetwal makes that, and the checksum of
# the control file.
# All is made aside and moved into place on disk, so that a power cut leaves a whole cluster or none.
# Few programs: under emulation each takes as long to start as all that it does here.
set -eu
umask 077
cd /var/lib/postgresql
[ ! -e 17 ] || rm -rf 17
mkdir 17
cd 17
cp -r /usr/share/postgresql/17/cluster .
read -r at <cluster/secret-at
# Of the identifier seven bytes, so that it is no negative number where it is taken for a signed one.
dd if=/dev/urandom of=cluster/global/pg_control bs=7 count=1 conv=notrunc status=none
dd if=/dev/urandom of=cluster/global/pg_control bs=32 count=1 seek="$at" oflag=seek_bytes conv=notrunc status=none
# It warns that the checksum was wrong.
said=$(/usr/lib/postgresql/17/bin/pg_resetwal --force --pgdata=cluster 2>&1) || { echo "$said"; exit 1; }
rm cluster/secret-at
sync -f cluster
mv cluster main
