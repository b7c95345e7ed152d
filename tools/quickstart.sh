#!/usr/bin/env bash
# From nothing to a probabilistic catalogue: installs, builds, catalogues the SDSS frame 94-1-12 in tests/data with the
# shipped model, draws model and residual, and compares with the survey's own catalogue (PHOTO).
# Results: out/sdss-94-1-12/{catalog.h5,residual.png,model.fits,residual.fits,catalog.fits}
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
out=out/sdss-94-1-12
config=configs/catalog/sdss-94-1-12.toml

say() { printf '\n== %s\n' "$*"; }

say "installing what is needed (tools/bootstrap.sh)"
tools/bootstrap.sh
say "building"
tools/build.sh bliss-mpi
preset=${BLISS_PRESET:-release}
bliss=build/${preset/#ci/release}/bin/bliss-mpi

say "cataloguing run 94, camcol 1, field 12, band r"
"$bliss" catalog "$config" --output "$out"
say "model and residual images"
"$bliss" render "$out/catalog.h5" --config "$config" --field 94-1-12 --output "$out"
"$bliss" export "$out/catalog.h5" --format fits
say "compared with PHOTO's catalogue of the same frame (five bands; not a perfect truth)"
"$bliss" evaluate "$out/catalog.h5" --truth tests/data/sdss-94-1-12/photoObj-000094-1-0012.fits \
    --json "$out/evaluation-photo.json"
printf '\nThe catalogue is %s, the picture %s.\n' "$out/catalog.h5" "$out/residual.png"
