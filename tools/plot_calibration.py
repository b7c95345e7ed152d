#!/usr/bin/env python3
"""Plots the reliability curve of an evaluation: of the sources given probability p, which share is real?

    tools/plot_calibration.py evaluation.json calibration.png

The JSON is what `bliss-mpi evaluate` writes: `reliability` is a list of bins with `mean_p` (mean probability of the bin's
candidates), `share_true` (share of them that is real) and `count`. Bars are the central 68 % interval of a share given
the counts (Beta posterior, flat prior), so a bin of few candidates does not look like a defect.
"""

import argparse
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)
import numpy as np  # noqa: E402
from scipy.stats import beta  # noqa: E402

NAMES = ("mean_p", "share_true", "count")


def read_bins(path):
    """Arrays mean_p, share_true, count of the bins that hold something."""
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    try:
        bins = [[row[name] for name in NAMES] for row in report["reliability"] if row["count"] > 0]
    except (KeyError, TypeError) as error:
        sys.exit(f"plot_calibration: {path} has no `reliability` bins with {', '.join(NAMES)} (missing: {error}); "
                 "give the JSON of `bliss-mpi evaluate CATALOGUE --json`, not that of a model")
    if not bins:
        sys.exit(f"plot_calibration: {path} has no candidate in any bin")
    return np.array(bins, dtype=float).T


def plot(mean_p, share, count, path):
    """Reliability above, counts below; the expected calibration error in the title."""
    found = share * count
    low, high = beta.ppf([[0.16], [0.84]], found + 1, count - found + 1)
    error = np.sum(count * np.abs(share - mean_p)) / count.sum()
    figure, (curve, counts) = plt.subplots(2, 1, figsize=(4.5, 5.6), sharex=True, height_ratios=(3, 1),
                                           layout="constrained")
    curve.plot([0, 1], [0, 1], color="0.6", lw=1, label="calibrated")
    curve.errorbar(mean_p, share, yerr=np.maximum([share - low, high - share], 0), fmt="o-", ms=4, lw=1, capsize=2,
                   label="measured")
    curve.set(ylabel="share that is real", xlim=(0, 1), ylim=(-0.02, 1.02), aspect="equal",
              title=f"calibration error {error:.3f}, {count.sum():.0f} candidates")
    curve.legend(frameon=False)
    counts.bar(mean_p, count, width=0.6 / max(10, len(count)), color="C0")
    counts.set(xlabel="probability given", ylabel="candidates", yscale="log")
    for axis in (curve, counts):
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evaluation", metavar="EVALUATION.json")
    parser.add_argument("output", metavar="OUT.png")
    options = parser.parse_args()
    plot(*read_bins(options.evaluation), options.output)


if __name__ == "__main__":
    main()
