#!/usr/bin/env bash
# Configures and builds with the preset in BLISS_PRESET (default: release). usage: tools/build.sh [TARGET ...]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preset=${BLISS_PRESET:-release}
cd "$root"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cmake --preset "$preset" ${BLISS_DEPS:+-DBLISS_DEPS="$BLISS_DEPS"} >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
targets=()
for target in "$@"; do targets+=(--target "$target"); done
cmake --build --preset "$preset" "${targets[@]}"
