#!/usr/bin/env bash
# Installs what building and testing need beyond Rust and Node: a C compiler, and with `--tests` Postgres, Redis, Python
# and the tools of tests/tools.txt. Says what is missing where it cannot install it. Does nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/../.."

tests=false
[ "${1:-}" = --tests ] && tests=true

postgres_bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1; }
has() { command -v "$1" >/dev/null 2>&1; }

missing=()
has cc || missing+=(build-essential)
if $tests; then
  has mold || missing+=(mold)
  has redis-server || missing+=(redis-server)
  has postgres || [ -n "$(postgres_bin)" ] || missing+=(postgresql)
  has python3 && python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3 python3-venv)
fi

if [ ${#missing[@]} -gt 0 ]; then
  if ! has apt-get; then
    echo "These are missing and this is not Debian or Ubuntu, so install them yourself: ${missing[*]}" >&2
    exit 1
  fi
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    has sudo || { echo "Install these as root (there is no sudo): apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  echo "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  # The packages would start services of their own; the tests want none but theirs.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

has cargo || { echo "Rust is missing: see https://rustup.rs" >&2; exit 1; }
$tests || exit 0
has node || { echo "Node 20 or newer is missing: see https://nodejs.org" >&2; exit 1; }

# Cargo's tools come as programs from PyPI, in a directory of this checkout: building them takes longer than the tests.
tools=.cache/tools
if ! cmp -s tests/tools.txt "$tools/installed.txt"; then
  echo "installing the tools of tests/tools.txt"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement tests/tools.txt
  cp tests/tools.txt "$tools/installed.txt"
fi
