#!/usr/bin/env python3
"""Scores SEP (SExtractor as a library), the detection baseline, on an SDSS frame against photoObj, or on a simulated one.

    tools/sep_baseline.py frame-r-000094-1-0012.fits.bz2 --truth photoObj-000094-1-0012.fits

SEP runs as users run it first: threshold 1 x the global background rms, every other option its default, on the
sky-subtracted HDU 0. Matching and cuts are those of `bliss-mpi evaluate` (Hansen et al. 2022, section 4): one to one,
closer than 1 px in x and in y, a border of 24 px left out. Recall is the share of labelled truth sources (primary
stars and galaxies, not saturated) brighter than the limit that are found. Precision is the share of detections brighter
than the limit (SEP's own flux) that match an entry of any magnitude, labelled or not: a source at the limit is not
false because two pipelines disagree by 0.1 mag, nor is a saturated star. The last line is a harsher count:
every primary row is truth, blended parents and saturated stars too, and nothing else explains a detection.

On frames of `bliss-mpi simulate`, with their truth, SEP runs on the true sky and on its own background, and
the best of several thresholds is kept:

    tools/sep_baseline.py out/crowded/frame-0000.fits --truth out/crowded/truth-0000.fits --match-limit 0.5 --match-mag 0.5 --limit 22.5
"""

import argparse
import time

import numpy as np
import sep
from astropy.io import fits
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

BANDS = "ugriz"
GALAXY, STAR, SKY = 3, 6, 8      # PHOTO's OBJC_TYPE
BRIGHT, SATURATED = 1 << 1, 1 << 18  # bits of OBJC_FLAGS; BRIGHT is a first pass over sources that are found again
THRESHOLDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)  # of simulated frames, in the sky's noise


def magnitude(flux_nmgy):
    """AB magnitude of a flux in nanomaggies; +inf where it is not positive."""
    flux = np.asarray(flux_nmgy, dtype=float)
    return np.where(flux > 0, 22.5 - 2.5 * np.log10(np.where(flux > 0, flux, 1.0)), np.inf)


def read_frame(path):
    """The image (rows, columns) in nanomaggies, native float32, and its band letter."""
    with fits.open(path) as hdus:
        return np.ascontiguousarray(hdus[0].data, dtype=np.float32), hdus[0].header.get("FILTER", "r").strip()


def read_truth(path, band):
    """PHOTO's rows: positions (N, 2) x, y in pixels from 0 at a pixel's centre; magnitudes; three arrays of bool.

    listed: a source that may explain a detection; labelled: one that has to be found; primary: see the last line.
    """
    column = BANDS.index(band)
    with fits.open(path) as hdus:
        table = hdus[1].data
        kind, flags = table["OBJC_TYPE"], table["OBJC_FLAGS"]
        primary = np.isin(kind, (GALAXY, STAR)) & (table["THING_ID"] >= 0)
        listed = (table["NCHILD"] <= 0) & ((flags & BRIGHT) == 0) & (kind != SKY)
        flux = np.where(kind == GALAXY, table["CMODELFLUX"][:, column], table["PSFFLUX"][:, column])
        labelled = listed & primary & (flux > 0) & ((flags & SATURATED) == 0)
        # PHOTO counts from the pixel's corner.
        position = np.stack([table["COLC"][:, column], table["ROWC"][:, column]], axis=1) - 0.5
    return position.astype(float), magnitude(flux), listed, labelled, primary


def detect(image):
    """SEP's detections: positions (N, 2), magnitudes, and the seconds it took."""
    start = time.perf_counter()
    rms = sep.Background(image).globalrms
    found = sep.extract(image, 1.0, err=rms)
    seconds = time.perf_counter() - start
    return np.stack([found["x"], found["y"]], axis=1), magnitude(found["flux"]), seconds


def match(first, second, limit_px=1.0, may_match=None):
    """One-to-one matches closer than a limit in x and y: index into `second` for each of `first`, -1 = none.

    may_match(i, many): which of many places in `second` may be paired with i, an array of bool.
    """
    partner = np.full(len(first), -1)
    pairs = [np.array(near, dtype=int) for near in cKDTree(second).query_ball_point(first, limit_px, p=np.inf)]
    if may_match is not None:
        pairs = [near[may_match(i, near)] for i, near in enumerate(pairs)]
    left = np.array([len(near) > 0 for near in pairs], dtype=bool).nonzero()[0]
    right = np.unique(np.concatenate([[], *pairs]).astype(int))
    cost = np.full((len(left), len(right)), 1e6)  # far above any sum of true costs: most pairs first
    for row, i in enumerate(left):
        cost[row, np.searchsorted(right, pairs[i])] = np.linalg.norm(second[pairs[i]] - first[i], axis=1)
    rows, columns = linear_sum_assignment(cost)
    real = cost[rows, columns] < 1e6
    partner[left[rows[real]]] = right[columns[real]]
    return partner


def inside(position, shape, border):
    """Which positions are at least `border` pixels from the frame's edges."""
    x, y = position.T
    return (x >= border) & (y >= border) & (x <= shape[1] - 1 - border) & (y <= shape[0] - 1 - border)


def match_in_turn(truth, detections, groups):
    """Matches the groups of truth one after another, each with the detections left: found, and matched, arrays of bool."""
    found, matched = np.zeros(len(truth), bool), np.zeros(len(detections), bool)
    for group in groups:
        rows, free = np.flatnonzero(group & ~found), np.flatnonzero(~matched)
        partner = match(truth[rows], detections[free])
        found[rows[partner >= 0]] = True
        matched[free[partner[partner >= 0]]] = True
    return found, matched


def score(name, truth_found, detection_matched):
    """One line: recall, precision and F1 from two arrays of bool."""
    recall = truth_found.mean() if len(truth_found) else np.nan
    precision = detection_matched.mean() if len(detection_matched) else np.nan
    f1 = 2 * recall * precision / max(recall + precision, 1e-9)
    print(f"{name:>12s}  recall {recall:6.1%} ({truth_found.sum()}/{len(truth_found)})  "
          f"precision {precision:6.1%} ({detection_matched.sum()}/{len(detection_matched)})  F1 {f1:.3f}")


def score_simulated(options):
    """SEP on a frame of `bliss-mpi simulate`, at the threshold where its F1 is best."""
    with fits.open(options.frame) as hdus:
        image, sky = np.ascontiguousarray(hdus[0].data, dtype=np.float32), hdus[0].header["BACKGND"]
    with fits.open(options.truth) as hdus:
        truth = hdus["TRUTH"].data
    per_nmgy = np.median(truth["FLUX_E"] / truth["FLUX_NMGY"])
    position, mag = np.stack([truth["X_PX"], truth["Y_PX"]], axis=1).astype(float), truth["MAG"].astype(float)
    labelled = (truth["LABELLED"] == 1) & (mag < options.limit)
    best = (-1.0,)
    own = sep.Background(image, bw=32, bh=32).back()
    for background, threshold in ((background, threshold) for background in (sky, own) for threshold in THRESHOLDS):
        start = time.perf_counter()
        sep.set_extract_pixstack(5_000_000)
        found = sep.extract(image - background, threshold, err=np.sqrt(sky))
        seconds = time.perf_counter() - start
        ours, our_mag = np.stack([found["x"], found["y"]], axis=1), magnitude(found["flux"] / per_nmgy)
        rows = np.flatnonzero(labelled)
        partner = match(position[rows], ours, options.match_limit, lambda i, many: abs(our_mag[many] - mag[rows[i]]) <= options.match_mag)
        is_found, matched = np.zeros(len(mag), bool), np.zeros(len(ours), bool)
        is_found[rows[partner >= 0]], matched[partner[partner >= 0]] = True, True
        counted = labelled & inside(position, image.shape, options.border)
        kept = inside(ours, image.shape, options.border) & (matched | (our_mag < options.limit))
        f1 = 2 * is_found[counted].sum() / max(1, counted.sum() + kept.sum())
        best = max(best, (f1, threshold, is_found[counted], matched[kept], seconds), key=lambda scores: scores[0])
    _, threshold, is_found, matched, seconds = best
    print(f"SEP at {threshold} sigma: {seconds:.2f} s; {len(is_found)} labelled sources brighter than {options.limit:g}")
    score("all", is_found, matched)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frame", help="SDSS frame-*.fits[.bz2], or frame-*.fits of bliss-mpi simulate")
    parser.add_argument("--truth", required=True, metavar="FITS", help="photoObj-*.fits of the same field, or its truth-*.fits")
    parser.add_argument("--limit", type=float, default=21.0, help="faintest magnitude scored (default 21)")
    parser.add_argument("--border", type=float, default=24.0, help="pixels left out along the edges (default 24)")
    parser.add_argument("--match-limit", type=float, help="simulated frames: largest distance of a match in x and in y, px (default 1)")
    parser.add_argument("--match-mag", type=float, help="simulated frames: largest difference of magnitudes in a match (default: any)")
    options = parser.parse_args()
    with fits.open(options.truth) as hdus:
        if "TRUTH" in hdus:
            options.match_limit = 1.0 if options.match_limit is None else options.match_limit
            options.match_mag = np.inf if options.match_mag is None else options.match_mag
            return score_simulated(options)
    if options.match_limit is not None or options.match_mag is not None:
        parser.error("--match-limit and --match-mag are for simulated frames; SDSS frames are matched "
                     "as bliss-mpi evaluate does by default")

    image, band = read_frame(options.frame)
    if band not in BANDS:
        parser.error(f"{options.frame}: band '{band}' is none of SDSS's ({', '.join(BANDS)})")
    truth, truth_mag, listed, labelled, primary = read_truth(options.truth, band)
    detections, detection_mag, seconds = detect(image)
    print(f"SEP: {len(detections)} detections in {seconds:.2f} s; PHOTO: {labelled.sum()} labelled sources, band {band}")

    truth_inside = inside(truth, image.shape, options.border)
    detection_inside = inside(detections, image.shape, options.border)
    # Matched before cuts, so that a source on a cut's other side still explains a detection.
    found, matched = match_in_turn(truth, detections, (labelled, listed))

    def score_between(name, low, high, counted):
        score(name, found[truth_inside & counted & (truth_mag >= low) & (truth_mag < high)],
              matched[detection_inside & (detection_mag >= low) & (detection_mag < high)])

    score_between(f"{band} < {options.limit:g}", -np.inf, options.limit, labelled)
    for low in range(15, int(np.ceil(options.limit))):
        high = min(low + 1, options.limit)
        score_between(f"{low}-{high:g}", low, high, labelled)
    found, matched = match_in_turn(truth, detections, (primary,))
    score_between("primary rows", -np.inf, options.limit, primary)


if __name__ == "__main__":
    main()
