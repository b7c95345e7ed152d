#!/usr/bin/env python3
"""How often joint draws hold a source twice, or not at all, by how near it lies to a border of its tile.

    bliss-mpi catalog out/sim/catalog.toml --set model=$PWD/MODEL --samples 32 -o out/turns
    bliss-mpi catalog out/sim/catalog.toml --set model=$PWD/MODEL --samples 32 --set independent_tiles=true -o out/alone
    tools/border_doubles.py out/turns/catalog.h5 out/sim/truth-*.fits
    tools/border_doubles.py out/alone/catalog.h5 out/sim/truth-*.fits

Labelled sources of the truth brighter than a limit are looked at, away from the frame's edge and with no other labelled source near.
"""

import argparse

import h5py
import numpy
from astropy.io import fits
from scipy.spatial import cKDTree

EDGE_PX = 24
ALONE_PX = 6    # no other labelled source is nearer
NEAR_PX = 1.5   # a drawn source so near is this one


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog")
    parser.add_argument("truth", nargs="+", help="truth of each field, in their order")
    parser.add_argument("--limit", type=float, default=21.5, help="faintest magnitude looked at (default 21.5)")
    parser.add_argument("--tile", type=int, default=4, help="side of the model's tiles, px, as `bliss-mpi info MODEL` says (default 4)")
    options = parser.parse_args()
    with h5py.File(options.catalog) as file:
        if "samples" not in file or len(file["samples"]) == 0:
            parser.error(f"{options.catalog} holds no joint draws; make it with --samples 32")
        samples, fields = file["samples"][:], file["fields"][:]
    if len(options.truth) != len(fields):
        parser.error(f"{options.catalog} has {len(fields)} fields, but {len(options.truth)} truth files were given; give one each")
    draws = samples["sample"].max() + 1
    border, found = [], []
    for index, (path, field) in enumerate(zip(options.truth, fields)):
        with fits.open(path) as hdus:
            truth = hdus["TRUTH"].data
        place = numpy.column_stack((truth["X_PX"], truth["Y_PX"])).astype(float)
        labelled = truth["LABELLED"] == 1
        distance, _ = cKDTree(place[labelled]).query(place, k=2)
        chosen = labelled & (truth["MAG"] < options.limit) & (distance[:, 1] > ALONE_PX)
        for axis, side in ((0, field["width_px"]), (1, field["height_px"])):
            chosen &= (place[:, axis] > EDGE_PX) & (place[:, axis] < side - 1 - EDGE_PX)
        place = place[chosen]
        in_tile = (place + 0.5) % options.tile
        border.append(numpy.minimum(in_tile, options.tile - in_tile).min(axis=1))
        drawn = samples[samples["field_index"] == index]
        count = numpy.zeros((len(place), draws), int)
        for k in range(draws):
            rows = drawn[drawn["sample"] == k]
            tree = cKDTree(numpy.column_stack((rows["x_px"], rows["y_px"])))
            count[:, k] = [len(near) for near in tree.query_ball_point(place, NEAR_PX)]
        found.append(count)
    border, found = numpy.concatenate(border), numpy.concatenate(found)
    rings = (("within 0.2 px of a border", 0, 0.2), ("0.2 to 0.5 px", 0.2, 0.5), ("farther inside", 0.5, 99), ("all", 0, 99))
    for name, low, high in rings:
        here = found[(border >= low) & (border < high)]
        print(f"{name:>26s}: {len(here):6d} sources, missing in {(here == 0).mean():.3%} of the draws, "
              f"twice or more in {(here > 1).mean():.3%}")


if __name__ == "__main__":
    main()
