#!/bin/sh
# Dumps all databases into one file, reads it back, and keeps the newest ones.
set -eu
directory=/var/backups/postgresql
name=$(date -u +%Y-%m-%dT%H%M%SZ)
# Not a pipe: the end of pg_dumpall must count.
/usr/lib/postgresql/17/bin/pg_dumpall --host=/run/postgresql --port={{ port }} --username=postgres --clean --if-exists > "$directory/.new.sql"
tail -n 5 "$directory/.new.sql" | grep -q 'PostgreSQL database cluster dump complete'
zstd -q -3 --rm -f "$directory/.new.sql" -o "$directory/.new.sql.zst"
zstd -q -t "$directory/.new.sql.zst"
sync "$directory/.new.sql.zst"
mv "$directory/.new.sql.zst" "$directory/$name.sql.zst"
find "$directory" -maxdepth 1 -name '*.sql.zst' | sort -r | tail -n +$(({{ backup.keep }} + 1)) | xargs -r rm -f
