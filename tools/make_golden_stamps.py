#!/usr/bin/env python3
"""Draws the golden stamps of the simulator's tests with GalSim: tests/data/golden/galsim_stamps.fits.

Each stamp is a noiseless galaxy or star in photo-electrons, 53 x 53 pixels of 0.396 arcsec, on 0 background. Stars and
galaxies come from the prior (Hansen et al. 2022, galaxies as bulge + disk), some at its extremes.

Conventions, which the tests rely on:
- pixel (row 26, column 26), counted from 0, is the stamp's centre pixel; the source's centre is at column 26 + DX_PX
  and row 26 + DY_PX; the PSF has its maximum there;
- BETA_RAD turns counter-clockwise from the +x axis (column) towards the +y axis (row), to the major axis;
- A_*_ARCSEC is the half-light radius along the major axis, A * Q along the minor one, A * sqrt(Q) circularised:
  a circular profile of that radius sheared by g = (1 - Q) / (1 + Q), which keeps the area;
- the disk is exponential and holds DISK_FRACTION of FLUX_E, the bulge is de Vaucouleurs with the rest; neither is
  truncated, so the stamp holds STAMP_FLUX_E < FLUX_E;
- the PSF is the effective one (the pixel is in it), so values at pixel centres are not integrated over the pixel.

Shape columns of stars are NaN.

HDUs: primary STAMPS (N, 53, 53) float32; table SOURCES, one row a stamp; table PSF, the Gaussian mixtures: PSF_ID,
WEIGHT (sum 1 per PSF), SIGMA_PX. PSF 0 is SDSS r of run 94, camcol 1, field 12; PSF 1 is sharper than any of SDSS.
"""

import argparse
import sys

import fit_profiles
import galsim
import numpy as np
from astropy.io import fits
from scipy.optimize import nnls

SIZE = 53
PIXEL_ARCSEC = fit_profiles.PIXEL_ARCSEC
FLUX_RANGE_E, GALAXY_ALPHA, STAR_ALPHA = (622.0, 1e6), 0.47, 0.43
COLUMNS = ("TYPE", "PSF_ID", "FLUX_E", "DX_PX", "DY_PX", "DISK_FRACTION", "A_D_ARCSEC", "Q_D", "A_B_ARCSEC", "Q_B",
           "BETA_RAD")

# Extremes set over draws of the prior, one a galaxy; what is not named stays as drawn.
EXTREMES = (
    {"DISK_FRACTION": 1.0, "A_D_ARCSEC": 20.0, "Q_D": 0.9},                                    # largest pure disk
    {"DISK_FRACTION": 0.0, "A_B_ARCSEC": 10.0, "Q_B": 0.9},                                    # largest pure bulge
    {"DISK_FRACTION": 1.0, "A_D_ARCSEC": 20.0, "Q_D": 0.05, "BETA_RAD": 0.6},                  # largest edge-on disk
    {"DISK_FRACTION": 0.0, "A_B_ARCSEC": 10.0, "Q_B": 0.05, "BETA_RAD": 2.2},                  # most elongated bulge
    {"DISK_FRACTION": 1.0, "A_D_ARCSEC": 0.837189, "Q_D": 0.05},                               # smallest disk
    {"DISK_FRACTION": 0.0, "A_B_ARCSEC": 0.4185945, "Q_B": 0.05},                              # smallest bulge
    {"DISK_FRACTION": 0.5, "A_D_ARCSEC": 4.0, "Q_D": 0.05, "A_B_ARCSEC": 2.0, "Q_B": 0.05, "BETA_RAD": 0.0},
    {"DISK_FRACTION": 0.5, "A_D_ARCSEC": 4.0, "Q_D": 0.1, "A_B_ARCSEC": 2.0, "Q_B": 1.0, "BETA_RAD": np.pi / 4},
    {"DISK_FRACTION": 0.5, "A_D_ARCSEC": 2.0, "Q_D": 1.0, "A_B_ARCSEC": 1.0, "Q_B": 1.0},      # round: no angle
    {"DISK_FRACTION": 0.9, "A_D_ARCSEC": 15.0, "Q_D": 0.4, "A_B_ARCSEC": 0.5, "Q_B": 0.7},     # small bulge, large disk
    {"FLUX_E": FLUX_RANGE_E[0]},
    {"FLUX_E": FLUX_RANGE_E[1]},
)


def sdss_psf():
    """SDSS's double Gaussian with power-law wings, r of 94-1-12 (psField HDU 6), as a mixture: weights, sigmas (px)."""
    sigma1, sigma2, b, sigma_p, beta, p0 = 1.48996, 2.99404, 0.04923, 2.89229, 3.2638, 0.0105
    radius = np.linspace(0.0, 40.0, 1601)
    value = (np.exp(-0.5 * (radius / sigma1) ** 2) + b * np.exp(-0.5 * (radius / sigma2) ** 2)
             + p0 * (1 + radius**2 / (beta * sigma_p**2)) ** (-beta / 2))
    sigma = np.array([1.2, 1.49, 1.9, 2.99, 4.0, 6.0, 9.0, 14.0])
    scale = np.sqrt(0.1 + radius)[:, None]
    amplitude, _ = nnls(np.exp(-0.5 * (radius[:, None] / sigma) ** 2) * scale, value * scale[:, 0])
    error = np.abs(np.exp(-0.5 * (radius[:, None] / sigma) ** 2) @ amplitude - value).max() / value[0]
    print(f"PSF 0: the mixture is within {error:.1e} of the peak of the survey's formula")
    weight = amplitude * sigma**2
    return weight[weight > 0] / weight.sum(), sigma[weight > 0]


def truncated_pareto(rng, alpha):
    """One flux of the prior, electrons."""
    low, high = FLUX_RANGE_E
    share = rng.uniform()
    return low * (1 - share * (1 - (low / high) ** alpha)) ** (-1 / alpha)


def draw_sources(rng, galaxies, stars):
    """The catalogue: a list of dicts with COLUMNS."""
    sources = []
    for i in range(galaxies + stars):
        is_star = i >= galaxies
        source = dict.fromkeys(COLUMNS, 0.0)
        source["TYPE"] = int(is_star)
        source["FLUX_E"] = truncated_pareto(rng, STAR_ALPHA if is_star else GALAXY_ALPHA)
        source["DX_PX"], source["DY_PX"] = rng.uniform(-0.5, 0.5, 2)
        source["DISK_FRACTION"] = rng.uniform()
        source["Q_D"], source["Q_B"] = np.maximum(rng.uniform(size=2), 0.05)
        source["A_D_ARCSEC"] = 4.432725 * rng.gamma(0.39330758) + 0.837189
        source["A_B_ARCSEC"] = 0.5 * (4.432725 * rng.gamma(0.39330758) + 0.837189)
        source["BETA_RAD"] = rng.uniform(0, 2 * np.pi)
        source["PSF_ID"] = int(i % 4 == 3)
        if is_star:
            for name in COLUMNS[5:]:
                source[name] = np.nan
        elif i < len(EXTREMES):
            source.update(EXTREMES[i])
        sources.append(source)
    return sources


def galsim_stamp(source, psf, finer=1.0):
    """One stamp (SIZE, SIZE) in electrons; `finer` > 1 tightens every accuracy of GalSim by that factor."""
    # Folded light is spread over the whole large FFT, so that threshold may be larger than the error wanted.
    params = galsim.GSParams(maximum_fft_size=16384, folding_threshold=5e-4 / finer, maxk_threshold=1e-6 / finer,
                             kvalue_accuracy=1e-6 / finer, xvalue_accuracy=1e-6 / finer)
    profile = galsim.Add([galsim.Gaussian(sigma=s, flux=w) for w, s in zip(*psf)], gsparams=params)
    if source["TYPE"] == 0:
        parts = []
        for kind, letter, share in ((galsim.Exponential, "D", source["DISK_FRACTION"]),
                                    (galsim.DeVaucouleurs, "B", 1 - source["DISK_FRACTION"])):
            if share == 0:
                continue
            q = source[f"Q_{letter}"]
            part = kind(half_light_radius=source[f"A_{letter}_ARCSEC"] / PIXEL_ARCSEC * np.sqrt(q), flux=share)
            parts.append(part.shear(g=(1 - q) / (1 + q), beta=source["BETA_RAD"] * galsim.radians))
        profile = galsim.Convolve([galsim.Add(parts), profile], gsparams=params)
    profile = (profile * source["FLUX_E"]).withGSParams(params)
    image = galsim.ImageD(SIZE, SIZE, scale=1.0)
    profile.drawImage(image=image, method="no_pixel", offset=(source["DX_PX"], source["DY_PX"]), use_true_center=True)
    return image.array


def check_convergence(sources, psfs, stamps, which):
    """Redraws some stamps with tighter accuracies and prints what changes: the oracle's own error."""
    for i in which:
        finer = galsim_stamp(sources[i], psfs[sources[i]["PSF_ID"]], finer=3.0)
        change = np.abs(finer - stamps[i]).max() / finer.max()
        print(f"stamp {i:2d}: finer GalSim differs by {change:.1e} of the peak, "
              f"{stamps[i].sum() / finer.sum() - 1:+.1e} in flux")
        if change > 1e-4:
            sys.exit(f"make_golden_stamps: stamp {i} has not converged (limit 1e-4): tighten GSParams")


def as_hdus(sources, psfs, stamps, seed):
    """The file: STAMPS, SOURCES, PSF."""
    stamps32 = stamps.astype(np.float32)
    primary = fits.PrimaryHDU(stamps32)
    primary.header.update({"EXTNAME": "STAMPS", "BUNIT": "electron"})
    primary.header["PIXSCALE"] = (PIXEL_ARCSEC, "arcsec per pixel")
    primary.header["CENTRE"] = (SIZE // 2, "centre pixel, row and column from 0")
    primary.header["SEED"] = (seed, "numpy default_rng")
    primary.header["GALSIM"] = (galsim.__version__, "made by tools/make_golden_stamps.py with GalSim")
    units = {"FLUX_E": "electron", "DX_PX": "pixel", "DY_PX": "pixel", "A_D_ARCSEC": "arcsec", "A_B_ARCSEC": "arcsec",
             "BETA_RAD": "rad"}
    columns = [fits.Column(name, "J" if name in ("TYPE", "PSF_ID") else "D", unit=units.get(name),
                           array=np.array([source[name] for source in sources])) for name in COLUMNS]
    columns.append(fits.Column("STAMP_FLUX_E", "D", unit="electron", array=stamps32.sum(axis=(1, 2), dtype=float)))
    psf_columns = [
        fits.Column("PSF_ID", "J", array=np.concatenate([np.full(len(w), i) for i, (w, _) in enumerate(psfs)])),
        fits.Column("WEIGHT", "D", array=np.concatenate([w for w, _ in psfs])),
        fits.Column("SIGMA_PX", "D", unit="pixel", array=np.concatenate([s for _, s in psfs])),
    ]
    return fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name="SOURCES"),
                         fits.BinTableHDU.from_columns(psf_columns, name="PSF")])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", default="tests/data/golden/galsim_stamps.fits")
    parser.add_argument("--galaxies", type=int, default=30)
    parser.add_argument("--stars", type=int, default=8)
    parser.add_argument("--seed", type=int, default=941012)
    options = parser.parse_args()

    psfs = [sdss_psf(), (np.array([0.85, 0.15]), np.array([0.9, 1.9]))]
    sources = draw_sources(np.random.default_rng(options.seed), options.galaxies, options.stars)
    stamps = np.stack([galsim_stamp(source, psfs[source["PSF_ID"]]) for source in sources])
    check_convergence(sources, psfs, stamps, [0, 1, 3, 5, 7, len(EXTREMES) + 1, options.galaxies])
    as_hdus(sources, psfs, stamps, options.seed).writeto(options.output, overwrite=True)

    # An independent rendering without FFT: it would show a wrong angle, size, offset or flux at once.
    dense = {n: fit_profiles.dense_mixture(n) for n in fit_profiles.PROFILES}
    pixel, flux = fit_profiles.compare(options.output, dense)
    print(f"{options.output}: {len(stamps)} stamps; dense Gaussian mixtures differ by at most {pixel.max():.1e} of the "
          f"peak, {np.abs(flux).max():.1e} in stamp flux")
    if pixel.max() > 1e-4:
        sys.exit(f"make_golden_stamps: stamp {pixel.argmax()} differs from the closed form (limit 1e-4 of the peak)")


if __name__ == "__main__":
    main()
