#!/bin/sh
# Starts PostgreSQL; first makes a database cluster when the data directory is empty.
# POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE, POSTGRES_USER (postgres), POSTGRES_DB (the user's name), and the *.sql files of
# /docker-entrypoint-initdb.d are taken as in the well-known image.
set -eu

initialise() {
  user=${POSTGRES_USER:-postgres}
  database=${POSTGRES_DB:-$user}
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
  if [ -z "${POSTGRES_PASSWORD:-}" ]; then
    echo "docker-entrypoint.sh: the database has no password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" >&2
    exit 1
  fi
  password=$(mktemp)
  printf '%s\n' "$POSTGRES_PASSWORD" >"$password"
  # Initialised beside the final place and moved at the end: a container killed half-way starts again from nothing.
  rm -rf "$PGDATA"/.new
  initdb --pgdata="$PGDATA"/.new --username="$user" --pwfile="$password" --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
  rm -f "$password"
  echo "host all all all scram-sha-256" >>"$PGDATA"/.new/pg_hba.conf
  pg_ctl --pgdata="$PGDATA"/.new --options="-c listen_addresses= -c fsync=off" --wait --silent start
  if [ "$database" != postgres ]; then
    psql -v ON_ERROR_STOP=1 --no-psqlrc -q --username="$user" --dbname=postgres -c "CREATE DATABASE \"$database\""
  fi
  for file in /docker-entrypoint-initdb.d/*.sql; do
    [ -e "$file" ] || continue
    echo "docker-entrypoint.sh: running $file"
    psql -v ON_ERROR_STOP=1 --no-psqlrc -q --username="$user" --dbname="$database" -f "$file"
  done
  pg_ctl --pgdata="$PGDATA"/.new --mode=fast --wait --silent stop
  # PG_VERSION last: it is what says that the cluster is whole.
  for entry in "$PGDATA"/.new/* ; do
    [ "${entry##*/}" = PG_VERSION ] || mv "$entry" "$PGDATA"/
  done
  mv "$PGDATA"/.new/PG_VERSION "$PGDATA"/
  rmdir "$PGDATA"/.new
}

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chown -R postgres:postgres "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ "${1:-}" = postgres ]; then
  [ -s "$PGDATA"/PG_VERSION ] || initialise
  shift
  exec postgres -c listen_addresses='*' -c jit=off "$@"
fi
exec "$@"
