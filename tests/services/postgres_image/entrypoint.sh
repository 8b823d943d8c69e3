#!/bin/sh
# Makes the database at the first start, as the official image does.
set -eu

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
[ "${1#-}" = "$1" ] || set -- postgres "$@"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  password=${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:?a password is needed}")}
  echo "$password" >/tmp/password
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA" 2>/dev/null || true
  initdb --username "$user" --pwfile /tmp/password --auth-host scram-sha-256 --auth-local trust
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl -w start -o "-c listen_addresses=''"
  [ "$database" = postgres ] || createdb --username "$user" "$database"
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh) PGUSER=$user PGDATABASE=$database sh "$file" ;;
      *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$user" --dbname "$database" -f "$file" ;;
    esac
  done
  pg_ctl -w -m fast stop
fi
exec "$@" -c "listen_addresses=*"
