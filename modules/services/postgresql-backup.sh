#!/bin/sh
# Dumps all databases into one file, reads it back, and keeps the newest ones.
set -u
directory=/var/backups/postgresql
name=$(date -u +%Y-%m-%dT%H%M%SZ)
dump() {
	# Not a pipe: the end of pg_dumpall must count.
	/usr/lib/postgresql/17/bin/pg_dumpall --host=/run/postgresql --port={{ port }} --username=postgres --clean --if-exists > "$directory/.new.sql" &&
		tail -n 5 "$directory/.new.sql" | grep -q 'PostgreSQL database cluster dump complete' &&
		zstd -q -3 --rm -f "$directory/.new.sql" -o "$directory/.new.sql.zst" &&
		zstd -q -t "$directory/.new.sql.zst" &&
		sync "$directory/.new.sql.zst" &&
		mv "$directory/.new.sql.zst" "$directory/$name.sql.zst"
}
failed=0
dump || failed=1
rm -f "$directory/.new.sql" "$directory/.new.sql.zst"
if [ "$failed" = 0 ]; then
	find "$directory" -maxdepth 1 -name '*.sql.zst' | sort -r | tail -n +$(({{ backup.keep }} + 1)) | xargs -r rm -f
fi
{%- if services['node-exporter'].enable %}
newest=$(find "$directory" -maxdepth 1 -name '*.sql.zst' -printf '%Ts\n' | sort -n | tail -n 1)
metrics=/var/lib/node-exporter/backup-postgresql.prom
cat > "$metrics.new" <<END
# HELP rave_backup_failed Whether the last backup failed.
# TYPE rave_backup_failed gauge
rave_backup_failed{what="postgresql"} $failed
# HELP rave_backup_time_seconds When the newest backup was made, in seconds since 1970; 0 for never.
# TYPE rave_backup_time_seconds gauge
rave_backup_time_seconds{what="postgresql"} ${newest:-0}
END
chmod 0644 "$metrics.new"
mv "$metrics.new" "$metrics"
{%- endif %}
exit "$failed"
