#!/bin/sh
# After each dump, however it ended: removes what was left half done, and tells how it went.
set -eu
directory=/var/backups/postgresql
rm -f "$directory/.new.sql" "$directory/.new.sql.zst"
{%- if services['node-exporter'].enable %}
failed=1
[ "$SERVICE_RESULT" != success ] || failed=0
newest=$(find "$directory" -maxdepth 1 -name '*.sql.zst' -printf '%Ts\n' | sort -n | tail -n 1)
metrics=/var/lib/node-exporter/backup-postgresql.prom
# On a full disk it ends here: the old file stays, so that the backup that it knows can grow old.
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
