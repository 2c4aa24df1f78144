#!/usr/bin/env bash
# Runs a command with a Postgres and a Redis of its own, on free ports, in a temporary directory, and stops them after it.
#   TEST_DATABASE_URL  a superuser's URL; tests make databases of their own
#   TEST_REDIS_URL     an empty Redis
set -euo pipefail
cd "$(dirname "$0")/../.."

PATH="$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)"
directory=$(mktemp -d "${TMPDIR:-/tmp}/omniroute-tests.XXXXXX")
redis_pid=

# Postgres refuses to be run by root.
as_postgres() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"
  else
    "$@"
  fi
}

stop() {
  status=$?
  trap - EXIT
  # Postgres first gets the chance to end its sessions.
  as_postgres pg_ctl -D "$directory/postgres" -m immediate stop >/dev/null 2>&1 || true
  [ -z "$redis_pid" ] || { kill "$redis_pid" && wait "$redis_pid"; } 2>/dev/null || true
  rm -rf "$directory"
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

mkdir "$directory/postgres" "$directory/redis"
chmod 755 "$directory"
[ "$(id -u)" = 0 ] && chown postgres "$directory/postgres"
as_postgres env LC_ALL=C initdb -D "$directory/postgres" -U omniroute -A trust -E UTF8 --no-sync >/dev/null
postgres_port=$(free_port)
# Nothing here has to survive a power cut, and many tests run at once.
as_postgres pg_ctl -D "$directory/postgres" -w -t 60 -l "$directory/postgres/log" -o "-p $postgres_port -h 127.0.0.1 \
  -k '' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=400" start >/dev/null

redis_port=$(free_port)
redis-server --port "$redis_port" --bind 127.0.0.1 --save '' --appendonly no --dir "$directory/redis" \
  --enable-debug-command yes >"$directory/redis/log" 2>&1 &
redis_pid=$!
for _ in $(seq 100); do
  redis-cli -p "$redis_port" ping >/dev/null 2>&1 && break
  sleep 0.1
done
redis-cli -p "$redis_port" ping >/dev/null || { cat "$directory/redis/log" >&2; exit 1; }

export TEST_DATABASE_URL="postgres://omniroute@127.0.0.1:$postgres_port/postgres"
export TEST_REDIS_URL="redis://127.0.0.1:$redis_port"
"$@"
