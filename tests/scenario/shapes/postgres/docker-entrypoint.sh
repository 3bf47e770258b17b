#!/usr/bin/env bash
set -Eeuo pipefail
if [ "$(id -u)" = '0' ]; then
	chmod 0700 "$PGDATA"
	exec gosu postgres "$BASH_SOURCE" "$@"
fi
cat /usr/share/postgresql/postgresql.conf.sample > "$PGDATA/conf"
for f in /docker-entrypoint-initdb.d/*; do
	[ -e "$f" ] && . "$f"
done > "$PGDATA/log"
exec "$@"
