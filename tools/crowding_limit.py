#!/usr/bin/env python3
"""How many stars of a crowded simulated frame any method could find: the Cramer-Rao limit of matching them.

    tools/crowding_limit.py out/crowded/frame-*.toml

In windows of a frame of `bliss-mpi simulate`, the Fisher information of the places and log fluxes of all its true stars at
once (the PSF, the sky and the number of stars known, noise of sky and starlight) gives the least errors that an unbiased
estimate can have, and so the probability that a star is recovered within the limits of a match, which are those of
`bliss-mpi evaluate --match-limit 0.5 --match-mag 0.5` (here a circle, for errors that are Normal). A prior as wide as the
mean distance between stars and as the spread of fluxes keeps errors of what cannot be seen finite. From the probabilities p_i follows the
best F1 over all choices of stars to report: 2 sum p_i / (reported + all).
A real method also has to find out how many stars there are, and which light is whose.
"""

import argparse
import pathlib
import tomllib

import numpy as np
from astropy.io import fits
from scipy.special import ndtr

STEP_PX = 1e-3
MARGIN_PX = 5      # image around a window whose pixels count


def psf_of(frame):
    weights, sigmas = np.array(frame["psf_weights"]), np.array(frame["psf_sigmas_px"])

    def psf(r2):
        return sum(w / (2 * np.pi * s * s) * np.exp(-0.5 * r2 / (s * s)) for w, s in zip(weights / weights.sum(), sigmas))

    return psf


def fwhm_px(psf):
    r = np.linspace(0, 10, 10001)
    return 2 * r[np.searchsorted(-psf(r * r), -0.5 * psf(0.0))]


def noise_equivalent_area_px(psf):
    x = np.arange(-40, 41)
    return 1 / np.sum(psf(x[:, None] ** 2 + x[None, :] ** 2) ** 2)


def match_probabilities(psf, background_e, x, y, flux_e, window, match_px, match_mag):
    """Of the stars in a window (x0, y0, side), pixels."""
    x0, y0, side = window
    near = (abs(x - x0 - side / 2) < side / 2 + MARGIN_PX) & (abs(y - y0 - side / 2) < side / 2 + MARGIN_PX)
    x, y, flux_e = x[near], y[near], flux_e[near]
    cols, rows = np.meshgrid(np.arange(x0 - MARGIN_PX, x0 + side + MARGIN_PX), np.arange(y0 - MARGIN_PX, y0 + side + MARGIN_PX))
    dx, dy = cols.ravel()[None, :] - x[:, None], rows.ravel()[None, :] - y[:, None]
    light = flux_e[:, None] * psf(dx**2 + dy**2)
    by_x = flux_e[:, None] * (psf((dx - STEP_PX) ** 2 + dy**2) - psf((dx + STEP_PX) ** 2 + dy**2)) / (2 * STEP_PX)
    by_y = flux_e[:, None] * (psf(dx**2 + (dy - STEP_PX) ** 2) - psf(dx**2 + (dy + STEP_PX) ** 2)) / (2 * STEP_PX)
    slopes = np.concatenate([by_x, by_y, light])
    information = (slopes / (background_e + light.sum(0))) @ slopes.T
    n = len(x)
    spacing_px = np.sqrt((side + 2 * MARGIN_PX) ** 2 / n) / 2
    prior = np.concatenate([np.full(2 * n, spacing_px**-2), np.full(n, np.var(np.log(flux_e)) ** -1)])
    errors = np.sqrt(np.diag(np.linalg.inv(information + np.diag(prior))))
    place = np.sqrt((errors[:n] ** 2 + errors[n : 2 * n] ** 2) / 2)
    mag = errors[2 * n :] * 2.5 / np.log(10)
    p = (1 - np.exp(-0.5 * (match_px / place) ** 2)) * (2 * ndtr(match_mag / mag) - 1)
    inside = (x >= x0) & (x < x0 + side) & (y >= y0) & (y < y0 + side)
    return p[inside], flux_e[inside]


def best_f1(p):
    found = np.cumsum(np.sort(p)[::-1])
    return np.max(2 * found / (np.arange(1, len(p) + 1) + len(p)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", nargs="+", type=pathlib.Path, help="TOML files of simulated frames, with their truth beside them")
    parser.add_argument("--windows", type=int, default=6, help="windows looked at in each frame")
    parser.add_argument("--side", type=int, default=48, help="side of a window, pixels")
    parser.add_argument("--match-limit", type=float, default=0.5, help="pixels")
    parser.add_argument("--match-mag", type=float, default=0.5)
    args = parser.parse_args()
    if args.windows < 1 or args.side < 1:
        parser.error("--windows and --side: must be at least 1")
    print("frame  FWHM px  noise area px  stars/px  starlight e/px  recovered at most  best F1   r<17   17-19   19-21   21-23")
    for path in args.frames:
        frame = tomllib.loads(path.read_text())
        truth = fits.getdata(path.with_name(path.stem.replace("frame", "truth") + ".fits"), 1)
        x, y, flux = (np.asarray(truth[name], dtype=float) for name in ("X_PX", "Y_PX", "FLUX_E"))
        mag_of = lambda f: frame["zero_point_mag"] - 2.5 * np.log10(f)
        psf = psf_of(frame)
        with fits.open(path.with_name(frame["image"])) as hdus:
            height, width = hdus[frame["hdu"]].data.shape
        free = [side - args.side - 2 * MARGIN_PX for side in (width, height)]
        if min(free) <= 0:
            parser.error(f"{path}: {width} x {height} px hold no window of {args.side} px and its margin; use --side")
        places = MARGIN_PX + np.random.default_rng(0).integers(0, free, (args.windows, 2))
        p, f = (np.concatenate(v) for v in zip(*(
            match_probabilities(psf, frame["background_value"], x, y, flux, (x0, y0, args.side), args.match_limit, args.match_mag)
            for x0, y0 in places)))
        mag = mag_of(f)
        in_bins = [p[(mag >= low) & (mag < high)] for low, high in ((0, 17), (17, 19), (19, 21), (21, 23))]
        bins = [b.mean() if len(b) > 0 else np.nan for b in in_bins]
        area = width * height
        print(f"{path.stem}  {fwhm_px(psf):.2f}  {noise_equivalent_area_px(psf):.0f}  {len(x) / area:.3f}  {flux.sum() / area:.0f}  "
              f"{p.mean():.3f}  {best_f1(p):.3f}  " + "  ".join(f"{b:.2f}" for b in bins))


if __name__ == "__main__":
    main()
