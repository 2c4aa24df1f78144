#!/usr/bin/env bash
# Installs the official SDKs that the tests drive the gateway with, pinned, into one directory. Does nothing when they
# are there.
set -euo pipefail
cd "$(dirname "$0")/../.."
into=$1
sdk=tests/sdk

wanted=$(cat "$sdk/python/requirements.txt" "$sdk/node/package-lock.json" | cksum)
[ "$(cat "$into/installed" 2>/dev/null)" = "$wanted" ] && exit 0

echo "installing the SDKs of $sdk"
mkdir -p "$into"
.cache/tools/bin/uv venv --quiet --clear --python python3 "$into/python"
.cache/tools/bin/uv pip install --quiet --python "$into/python" --requirement "$sdk/python/requirements.txt"
mkdir -p "$into/node"
cp "$sdk/node/"{package.json,package-lock.json,.npmrc} "$into/node/"
npm ci --prefix "$into/node" --ignore-scripts --no-audit --no-fund --loglevel=error
echo "$wanted" >"$into/installed"
