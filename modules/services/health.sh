#!/bin/sh
# Says which units have failed, besides this one, and ends with 1 if there are any.
set -eu
failed=$(systemctl list-units --state=failed --plain --no-legend | sed -n 's/^\([^ ]*\) .*/\1/p' | grep -v '^rave-health\.' || true)
count=$(printf '%s' "$failed" | grep -c . || true)
metrics() {
	cat <<END
# HELP rave_health_failed_units Units that have failed.
# TYPE rave_health_failed_units gauge
rave_health_failed_units $count
# HELP rave_health_time_seconds When this was found out, in seconds since 1970.
# TYPE rave_health_time_seconds gauge
rave_health_time_seconds $(date +%s)
END
}
for directory in /run/rave-health{% if services['node-exporter'].enable %} /var/lib/node-exporter{% endif %}; do
	# Moved into place, so that nobody reads half of it.
	metrics > "$directory/health.prom.new"
	mv "$directory/health.prom.new" "$directory/health.prom"
done
if [ "$count" -gt 0 ]; then
	echo "failed: $failed" >&2
	exit 1
fi
