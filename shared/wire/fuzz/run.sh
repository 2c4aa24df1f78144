#!/usr/bin/env bash
# Builds the fuzz targets and runs each for SECONDS_EACH. TARGETS names some of them; CORPUS is where finds are kept.
# The compiler's own coverage pass and libFuzzer from the registry do; no cargo-fuzz and no other toolchain are needed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
seconds=${SECONDS_EACH:-60}
corpus=${CORPUS:-$here/../../../.cache/fuzz}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/../../../target}/fuzz CARGO_INCREMENTAL=0
triple=$(rustc -vV | sed -n 's/^host: //p')
pass=-Cllvm-args=-sanitizer-coverage

# For the host's own triple, so that build scripts are built without the pass.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module $pass-level=4 $pass-inline-8bit-counters $pass-pc-table $pass-trace-compares" \
    cargo build --release --bins --target "$triple" --manifest-path "$here/Cargo.toml"

all=$(cd "$here/fuzz_targets" && printf '%s\n' *.rs | sed 's/\.rs$//')
for target in ${TARGETS:-$all}; do
    format=${target%_*}
    mkdir -p "$corpus/$target" "$corpus/found"
    seeds=("$here/../tests/matrix/client" "$here/../tests/matrix/upstream")
    for kind in response stream error; do
        if [ -d "$here/seeds/${format}_$kind" ]; then seeds+=("$here/seeds/${format}_$kind"); fi
    done
    echo "== $target"
    "$CARGO_TARGET_DIR/$triple/release/$target" "$corpus/$target" "${seeds[@]}" -max_total_time="$seconds" \
        -rss_limit_mb=2048 -max_len=20000 -timeout=30 -artifact_prefix="$corpus/found/$target-" -print_final_stats=1
done
