#!/usr/bin/env python3
"""Draws a cutout of a frame with the catalogue's sources on it, and model and residual beside it where given.

    tools/plot_field.py catalog.h5 frame-r-000094-1-0012.fits.bz2 field.png --centre 1000 700 \\
        --model model.fits --residual residual.fits

Stars and galaxies differ by colour (a source's own p_star mixes the two); size and opacity grow with p_source.
Images are in asinh stretch, in units of the cutout's noise; the residual is linear, the same units.
"""

import argparse
import sys

import h5py
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)
import numpy as np  # noqa: E402
from astropy.io import fits  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402

STAR_COLOUR = np.array([1.00, 0.75, 0.10])
GALAXY_COLOUR = np.array([0.15, 0.85, 1.00])


def read_image(path):
    """First image of a FITS file (rows, columns) in float64, and its header."""
    with fits.open(path) as hdus:
        for hdu in hdus:
            if hdu.data is not None and getattr(hdu.data, "ndim", 0) == 2:
                return hdu.data.astype(float), hdu.header
    sys.exit(f"plot_field: {path} holds no two-dimensional image")


def read_sources(path, header, least_probability):
    """Rows of /catalog of the frame's field (all, where the frame does not name one) that are probable enough."""
    with h5py.File(path) as file:
        rows = file["catalog"][:]
    names = {"run": "RUN", "camcol": "CAMCOL", "field": "FRAME"}  # column: FITS keyword
    if all(keyword in header for keyword in names.values()):
        of_field = np.all([rows[column] == header[keyword] for column, keyword in names.items()], axis=0)
        if not of_field.any():
            sys.exit(f"plot_field: {path} has no source of run {header['RUN']}, camcol {header['CAMCOL']}, "
                     f"field {header['FRAME']}")
        rows = rows[of_field]
    return rows[rows["p_source"] >= least_probability]


def noise(image):
    """Standard deviation from the median absolute deviation: sources do not count."""
    values = image[np.isfinite(image)]
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def show(axis, image, extent, title, residual=False):
    """One panel; image in units of the noise."""
    if residual:
        axis.imshow(image, origin="lower", extent=extent, cmap="RdBu_r", vmin=-6, vmax=6, interpolation="nearest")
    else:
        axis.imshow(np.arcsinh(image / 2), origin="lower", extent=extent, cmap="gray", vmin=np.arcsinh(-1.0),
                    vmax=np.arcsinh(60.0), interpolation="nearest")
    axis.set(title=title, xlabel="column, px", xlim=extent[:2], ylim=extent[2:])


def mark(axis, sources):
    """A ring a source."""
    probability = np.clip(sources["p_source"], 0, 1)
    star = np.clip(np.nan_to_num(sources["p_star"], nan=0.5), 0, 1)[:, None]
    colour = star * STAR_COLOUR + (1 - star) * GALAXY_COLOUR
    rgba = np.concatenate([colour, (0.15 + 0.85 * probability)[:, None]], axis=1)
    axis.scatter(sources["x_px"], sources["y_px"], s=20 + 70 * probability, facecolors="none", edgecolors=rgba,
                 linewidths=1.1)
    key = [Line2D([], [], marker="o", ls="", mfc="none", mec=c, label=name)
           for name, c in (("star", STAR_COLOUR), ("galaxy", GALAXY_COLOUR))]
    axis.legend(handles=key, loc="upper right", fontsize="small", framealpha=0.8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog", metavar="CATALOG.h5")
    parser.add_argument("frame", metavar="FRAME.fits[.bz2]")
    parser.add_argument("output", metavar="OUT.png")
    parser.add_argument("--model", metavar="FITS", help="model.fits of `bliss-mpi render`: electrons, or any image in the frame's units")
    parser.add_argument("--residual", metavar="FITS",
                        help="residual.fits of `bliss-mpi render`: sigmas, or image minus model in the frame's units")
    parser.add_argument("--centre", type=float, nargs=2, metavar=("X", "Y"), help="px (default: the frame's centre)")
    parser.add_argument("--size", type=int, default=400, help="of the cutout, px (default 400)")
    parser.add_argument("--least-probability", type=float, default=0.1, help="sources below are not drawn")
    options = parser.parse_args()

    image, header = read_image(options.frame)
    sources = read_sources(options.catalog, header, options.least_probability)
    height, width = image.shape
    x, y = options.centre or (width / 2, height / 2)
    # The cutout stays inside the frame.
    x0 = int(np.clip(x - options.size / 2, 0, max(0, width - options.size)))
    y0 = int(np.clip(y - options.size / 2, 0, max(0, height - options.size)))
    window = np.s_[y0 : y0 + options.size, x0 : x0 + options.size]
    x1, y1 = min(x0 + options.size, width), min(y0 + options.size, height)
    extent = (x0 - 0.5, x1 - 0.5, y0 - 0.5, y1 - 0.5)
    sources = sources[(sources["x_px"] > extent[0]) & (sources["x_px"] < extent[1])
                      & (sources["y_px"] > extent[2]) & (sources["y_px"] < extent[3])]

    panels = [(options.frame, f"image, {len(sources)} sources", False)]
    panels += [(options.model, "model", False)] if options.model else []
    panels += [(options.residual, "residual, in σ of the sky", True)] if options.residual else []
    figure, axes = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 5.2), squeeze=False, sharey=True,
                                layout="constrained")
    sky, sigma = np.nanmedian(image[window]), noise(image[window])
    for axis, (path, title, is_residual) in zip(axes[0], panels):
        data, unit = (image, header) if path == options.frame else read_image(path)
        if data.shape != image.shape:
            sys.exit(f"plot_field: {path} is {data.shape}, the frame {image.shape}; give images of the same frame")
        cut = data[window]
        # A model may or may not hold the sky: each image's own median is its zero.
        zero = 0.0 if is_residual else (sky if path == options.frame else np.nanmedian(cut))
        # `bliss-mpi render` writes models in electrons and residuals in sigmas.
        scale = {"electron": sigma * unit.get("EPERNMGY", 1.0), "sigma": 1.0}.get(unit.get("BUNIT"), sigma)
        show(axis, (cut - zero) / scale, extent, title, is_residual)
    mark(axes[0][0], sources)
    axes[0][0].set_ylabel("row, px")
    figure.savefig(options.output, dpi=130)


if __name__ == "__main__":
    main()
