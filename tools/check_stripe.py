#!/usr/bin/env python3
"""Is every source of a simulated stripe in its catalogue once? For what several fields see and for what one sees: true sources, and those
with no, one or more primary rows of the mode catalogue nearby.

    tools/check_stripe.py STRIPE CATALOG.h5      # STRIPE: folder of bliss-mpi simulate, layout "stripe"
"""

import argparse
import collections
import pathlib
import sys

import h5py
import numpy as np
from astropy.io import fits
from scipy.spatial import cKDTree

ARCSEC_PER_PX = 0.396
MODE_FLAG = 16
NEAR_PX = 1.5       # a row nearer than this is of the source
ALONE_PX = 8        # true sources with another one nearer than this are left out: who is whose is not clear there
EDGE_PX = 24        # so are those that no field sees this far from its edge
MAGNITUDES = ((0, 20), (20, 21), (21, 22))


def directions(ra_deg, dec_deg):
    """Unit vectors (n, 3)."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def chord(pixels):
    return np.radians(pixels * ARCSEC_PER_PX / 3600)


def read_truth(stripe, fields):
    """All true sources that a finished field sees: place, magnitude, by how many, whether far from the edge of one, whether it counts."""
    sources = {}
    for row in fields[fields["status"] == 0]:
        truth = fits.getdata(stripe / "truth" / f"truth-{row['run']:06}-{row['camcol']}-{row['field']:04}.fits", "TRUTH")
        inside = np.minimum.reduce([truth["X_PX"], truth["Y_PX"], row["width_px"] - 1 - truth["X_PX"],
                                    row["height_px"] - 1 - truth["Y_PX"]]) > EDGE_PX
        for key, ra, dec, mag, deep, labelled in zip(truth["ID"], truth["RA"], truth["DEC"], truth["MAG"], inside, truth["LABELLED"]):
            old = sources.get(key)
            sources[key] = (ra, dec, mag, 1 + (old[3] if old else 0), bool(deep or (old and old[4])), bool(labelled))
    return np.array(list(sources.values()), dtype=[("ra", "f8"), ("dec", "f8"), ("mag", "f8"), ("fields", "i4"), ("deep", "?"),
                                                   ("labelled", "?")])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stripe", type=pathlib.Path, help="folder that bliss-mpi simulate wrote")
    parser.add_argument("catalog", type=pathlib.Path, help="catalog.h5")
    arguments = parser.parse_args()
    with h5py.File(arguments.catalog) as file:
        fields, rows = file["fields"][:], file["catalog"][:]
    mode = rows[(rows["flags"] & MODE_FLAG) != 0]
    primary = mode[mode["primary"] != 0]
    truth = read_truth(arguments.stripe, fields)
    print(f"{len(fields)} fields, {np.count_nonzero(fields['status'])} of them failed; {len(mode)} rows in the mode catalogue, "
          f"{len(primary)} of them primary; {np.count_nonzero(truth['labelled'])} true sources above the limit, "
          f"{np.count_nonzero(truth['labelled'] & (truth['fields'] > 1))} of them in several fields")

    places = directions(truth["ra"], truth["dec"])
    tree = cKDTree(places)
    rows_of = np.array([len(found) for found in cKDTree(directions(primary["ra_deg"], primary["dec_deg"])).query_ball_point(
        places, chord(NEAR_PX))])
    alone = np.array([len(found) for found in tree.query_ball_point(places, chord(ALONE_PX))]) == 1
    print(f"\n{'seen by':>14} {'mag':>7} {'sources':>8} {'not found':>10} {'once':>8} {'twice':>6}")
    doubled, lost, of_one = 0, False, {}
    for name, chosen in (("one field", truth["fields"] == 1), ("several fields", truth["fields"] > 1)):
        for low, high in MAGNITUDES:
            counted = chosen & alone & truth["deep"] & (truth["mag"] >= low) & (truth["mag"] < high)
            count = collections.Counter(np.minimum(rows_of[counted], 2).tolist())
            total = max(1, np.count_nonzero(counted))
            print(f"{name:>14} {f'{low}-{high}':>7} {np.count_nonzero(counted):>8} {count[0] / total:>10.2%} {count[1] / total:>8.2%} "
                  f"{count[2]:>6}")
            if name == "one field":
                of_one[low] = (count[0] + 1) / (total + 1)
                continue
            doubled += count[2]
            # As many are found as elsewhere, within four standard deviations.
            lost = lost or count[0] > total * of_one[low] + 4 * np.sqrt(total * of_one[low]) + 1

    pairs = cKDTree(directions(mode["ra_deg"], mode["dec_deg"])).query_pairs(chord(NEAR_PX), output_type="ndarray")
    other = mode["field_index"][pairs[:, 0]] != mode["field_index"][pairs[:, 1]]
    both = (mode["primary"][pairs[:, 0]] != 0) & (mode["primary"][pairs[:, 1]] != 0)
    print(f"\npairs of rows of two fields within {NEAR_PX} px: {np.count_nonzero(other)}, both primary: {np.count_nonzero(other & both)}")
    if lost:
        print("more sources are not found where fields overlap than elsewhere")
    return 1 if doubled or lost or np.count_nonzero(other & both) else 0


if __name__ == "__main__":
    sys.exit(main())
