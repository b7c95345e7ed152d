#!/usr/bin/env python3
"""Fits the Gaussian mixtures that stand for exponential disks and de Vaucouleurs bulges in the simulator.

The truth is the profile itself, written as a dense mixture of Gaussians (both profiles are scale mixtures of
Gaussians, so this converges quickly). The short mixture takes the widths and non-negative weights that minimise the
largest error a stamp can show: linear programs over galaxies of all sizes, axis ratios and seeings of the prior,
whose rows are pixel values in units of the peak and fluxes inside apertures in units of the truth's. Log-spaced
widths with least-squares weights (7 + 12 Gaussians) reach 2.4e-3 of the peak on the golden stamps, this reaches
2.5e-4 with 8 + 10.

    tools/fit_profiles.py --golden tests/data/golden/galsim_stamps.fits > src/simulator/profile_tables.inc

The table goes to stdout, what was reached to stderr. It takes half a minute.
"""

import argparse
import sys

import numpy as np
from scipy.optimize import linprog, nnls
from scipy.special import gamma, gammaincinv

PIXEL_ARCSEC = 0.396
EXPONENTIAL, DE_VAUCOULEURS = 1, 4  # Sersic indices

# name in C++, range of half-light radii along the major axis in the prior (px; to the 99.9th percentile),
# smallest and largest width to start from (half-light radii), number of Gaussians
PROFILES = {
    EXPONENTIAL: ("k_exponential", (2.1, 55.0), (0.025, 1.67), 8),
    DE_VAUCOULEURS: ("k_de_vaucouleurs", (1.05, 28.0), (0.015, 15.0), 10),
}


def sersic(n, radius):
    """Surface brightness of a Sersic profile of unit flux and unit half-light radius, not truncated."""
    b = gammaincinv(2 * n, 0.5)
    flux = 2 * np.pi * n * gamma(2 * n) * b ** (-2 * n)
    return np.exp(-b * radius ** (1 / n)) / flux


def dense_mixture(n):
    """Weights and widths of a mixture so dense that it is the profile, to 1e-6 of the flux or better."""
    low, high = (2e-3, 8.0) if n == EXPONENTIAL else (1e-5, 1e3)
    sigma = np.geomspace(low, high, 40 if n == EXPONENTIAL else 70)
    radius = np.geomspace(low / 3, high * 3, 1500)
    design = np.exp(-0.5 * (radius[:, None] / sigma) ** 2) / (2 * np.pi * sigma**2)
    scale = radius**1.5
    weight, _ = nnls(design * scale[:, None], sersic(n, radius) * scale, maxiter=10000)
    return weight / weight.sum(), sigma


def axis_profiles(sigma, a_px, q, psf_px, t_px):
    """Values of seen Gaussians along major and minor axis, (2 len(t), len(sigma)): widths in half-light radii."""
    var_major = (sigma * a_px) ** 2 + psf_px**2
    var_minor = (sigma * a_px * q) ** 2 + psf_px**2
    norm = 1 / (2 * np.pi * np.sqrt(var_major * var_minor))
    along = [np.exp(-0.5 * t_px[:, None] ** 2 / var) * norm for var in (var_major, var_minor)]
    return np.concatenate(along)


def error_rows(n, sigma, truth):
    """Matrix and right-hand side whose residual is the error in units of the peak, or of the aperture's flux."""
    truth_weight, truth_sigma = truth
    (a_low, a_high) = PROFILES[n][1]
    t_px = np.concatenate([np.arange(0, 10, 0.5), np.arange(10, 38, 1.5)])
    rows, values = [], []
    for psf_px in (0.9, 1.35):
        for a_px in np.geomspace(a_low, a_high, 9):
            for q in (0.05, 0.12, 0.3, 0.6, 1.0):
                value = axis_profiles(truth_sigma, a_px, q, psf_px, t_px) @ truth_weight
                rows.append(axis_profiles(sigma, a_px, q, psf_px, t_px) / value[0])
                values.append(value / value[0])
    # A stamp's edge is 26.5 px from its centre.
    aperture = np.geomspace(26.5 / a_high, 26.5 / a_low, 40)
    inside = (1 - np.exp(-0.5 * (aperture[:, None] / truth_sigma) ** 2)) @ truth_weight
    rows.append((1 - np.exp(-0.5 * (aperture[:, None] / sigma) ** 2)) / inside[:, None])
    values.append(np.ones(len(aperture)))
    return np.concatenate(rows), np.concatenate(values)


def minimax(value, design, slope=None, step=0.0):
    """Weights (and shifts of the log widths, at most `step`) that minimise the largest residual: weights, shifts."""
    count = design.shape[1]
    columns = design if slope is None else np.hstack([design, slope])
    shifts = columns.shape[1] - count
    bound = -np.ones((len(value), 1))
    result = linprog(
        np.append(np.zeros(count + shifts), 1.0),
        A_ub=np.block([[columns, bound], [-columns, bound]]),
        b_ub=np.concatenate([value, -value]),
        A_eq=np.concatenate([np.ones(count), np.zeros(shifts + 1)])[None],
        b_eq=[1.0],
        bounds=[(0, None)] * count + [(-step, step)] * shifts + [(0, None)],
        method="highs",
    )
    if result.status != 0:
        raise RuntimeError(f"the linear program failed ({result.message}); start from other widths")
    return result.x[:count], result.x[count : count + shifts]


def fit(n, low, high, count, truth, rounds=60):
    """Weights of sum 1 and widths that minimise the largest error, and that error: sequential linear programs."""
    # Without its second member the log-spaced series gives the core's own Gaussian room: a better local optimum.
    sigma = np.delete(np.geomspace(low, high, count + 1), 1)
    design, value = error_rows(n, sigma, truth)
    weight, _ = minimax(value, design)
    error = np.abs(design @ weight - value).max()
    step, small = 0.1, 1e-4
    for _ in range(rounds):
        slope = (error_rows(n, sigma * np.exp(small), truth)[0] - design) / small * weight
        new_weight, shift = minimax(value, design, slope, step)
        new_sigma = sigma * np.exp(shift)
        new_design, _ = error_rows(n, new_sigma, truth)
        new_error = np.abs(new_design @ new_weight - value).max()
        if new_error < error:
            sigma, weight, design, error, step = new_sigma, new_weight, new_design, new_error, min(1.5 * step, 0.3)
        else:
            step /= 3
        if step < 1e-4:
            break
    return weight / weight.sum(), sigma, error


def gaussian_sum(x, y, weight, cov_xx, cov_xy, cov_yy):
    """Sum of elliptical Gaussians centred on the origin at points x, y (2-D arrays)."""
    det = cov_xx * cov_yy - cov_xy**2
    image = np.zeros_like(x)
    for w, xx, xy, yy, d in zip(weight, cov_xx, cov_xy, cov_yy, det):
        image += w / (2 * np.pi * np.sqrt(d)) * np.exp(-0.5 * (yy * x * x - 2 * xy * x * y + xx * y * y) / d)
    return image


def render_stamp(source, psf_weight, psf_sigma, mixtures, size=53):
    """A stamp (size, size) of one row of SOURCES in the golden file; mixtures: {Sersic n: (weight, sigma)}.

    The centre is at column size // 2 + DX_PX and row size // 2 + DY_PX; BETA_RAD turns from +column to +row.
    """
    row, column = np.mgrid[:size, :size] - float(size // 2)
    x, y = column - source["DX_PX"], row - source["DY_PX"]
    if source["TYPE"] == 1:
        return source["FLUX_E"] * gaussian_sum(x, y, psf_weight, psf_sigma**2, 0 * psf_sigma, psf_sigma**2)
    cosine, sine = np.cos(source["BETA_RAD"]), np.sin(source["BETA_RAD"])
    image = np.zeros((size, size))
    share = {EXPONENTIAL: source["DISK_FRACTION"], DE_VAUCOULEURS: 1 - source["DISK_FRACTION"]}
    for n, letter in ((EXPONENTIAL, "D"), (DE_VAUCOULEURS, "B")):
        weight, sigma = mixtures[n]
        major = sigma * source[f"A_{letter}_ARCSEC"] / PIXEL_ARCSEC
        minor = major * source[f"Q_{letter}"]
        xx = np.add.outer((major * cosine) ** 2 + (minor * sine) ** 2, psf_sigma**2).ravel()
        yy = np.add.outer((major * sine) ** 2 + (minor * cosine) ** 2, psf_sigma**2).ravel()
        xy = np.add.outer((major**2 - minor**2) * cosine * sine, 0 * psf_sigma).ravel()
        image += share[n] * gaussian_sum(x, y, np.outer(weight, psf_weight).ravel(), xx, xy, yy)
    return source["FLUX_E"] * image


def compare(path, mixtures):
    """Largest pixel error over the peak, and flux error, of each stamp of the golden file: two arrays."""
    from astropy.io import fits

    with fits.open(path) as hdus:
        stamps, sources, psf = hdus[0].data.astype(float), hdus["SOURCES"].data, hdus["PSF"].data
        pixel, flux = [], []
        for stamp, source in zip(stamps, sources):
            mine = psf["PSF_ID"] == source["PSF_ID"]
            model = render_stamp(source, psf["WEIGHT"][mine], psf["SIGMA_PX"][mine], mixtures, len(stamp))
            pixel.append(np.abs(model - stamp).max() / stamp.max())
            flux.append(model.sum() / source["STAMP_FLUX_E"] - 1)
    return np.array(pixel), np.array(flux)


def as_cpp(mixtures, errors):
    """The include file's text."""
    lines = [
        "// Made by tools/fit_profiles.py; change that, not this.",
        "// Galaxy profiles of unit total flux (not truncated) as mixtures of circular Gaussians: share of the flux and",
        "// standard deviation in half-light radii. Stretch both axes by the ellipse, then add the PSF's variance.",
    ]
    for n, (weight, sigma) in mixtures.items():
        lines += [
            "",
            f"/// Sersic index {n}: within {errors[n]:.1e} of the peak in any pixel, over the prior's sizes and shapes.",
            f"inline constexpr std::array<ProfileComponent, {len(weight)}> {PROFILES[n][0]}{{{{",
            *(f"    {{.weight = {w:.12e}, .sigma = {s:.12e}}}," for w, s in zip(weight, sigma)),
            "}};",
        ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", metavar="FITS", help="also compare with these GalSim stamps")
    parser.add_argument("--exponential", type=int, default=PROFILES[EXPONENTIAL][3], help="number of Gaussians")
    parser.add_argument("--de-vaucouleurs", type=int, default=PROFILES[DE_VAUCOULEURS][3], help="number of Gaussians")
    options = parser.parse_args()

    mixtures, errors = {}, {}
    for n, count in ((EXPONENTIAL, options.exponential), (DE_VAUCOULEURS, options.de_vaucouleurs)):
        weight, sigma, errors[n] = fit(n, *PROFILES[n][2], count, dense_mixture(n))
        mixtures[n] = (weight, sigma)
        print(f"Sersic {n}: {count} Gaussians, sigma {sigma[0]:.4g} to {sigma[-1]:.4g} half-light radii, "
              f"largest error {errors[n]:.2e}", file=sys.stderr)
    if options.golden:
        pixel, flux = compare(options.golden, mixtures)
        print(f"{len(pixel)} golden stamps: pixel error at most {pixel.max():.2e} of the peak, "
              f"stamp flux at most {np.abs(flux).max():.2e}", file=sys.stderr)
    sys.stdout.write(as_cpp(mixtures, errors))


if __name__ == "__main__":
    main()
