#!/usr/bin/env bash
# Installs, builds everything, runs every test. Further arguments go to ctest: tools/test.sh -R simulator
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
tools/bootstrap.sh
tools/build.sh
preset=${BLISS_PRESET:-release}
ctest --test-dir "build/${preset/#ci/release}" --output-on-failure "$@"
