#!/usr/bin/env python3
"""Plots a training run from its metrics.jsonl: losses, their validation, learning rate and speed.

    tools/plot_training.py out/train/metrics.jsonl training.png

Each line is a JSON object with `step` and any of the keys below; what is absent is left out. A line cut short by a kill
is skipped.
"""

import argparse
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)

# key, axis label, logarithmic where all values are positive
PANELS = (
    ("loss", "loss, nats a tile", False),
    ("loss_count", "count, nats a tile", False),
    ("loss_location", "location, nats a source", False),
    ("loss_flux", "flux, nats a source", False),
    ("loss_type", "type, nats a source", False),
    ("loss_shape", "shape, nats a galaxy", False),
    ("gradient_norm", "gradient norm", True),
    ("learning_rate", "learning rate", True),
    ("tiles_per_s", "tiles per second", False),
)


def read_metrics(path):
    """The lines that are whole JSON objects with a step, in order; a later line replaces one of the same step."""
    by_step, skipped = {}, 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                row = json.loads(line)
                by_step[row["step"]] = row
            except (json.JSONDecodeError, KeyError, TypeError):
                skipped += bool(line.strip())
    if skipped:
        print(f"{path}: {skipped} lines skipped (not JSON objects with a step)", file=sys.stderr)
    return [by_step[step] for step in sorted(by_step)]


def series(rows, key):
    """Steps and values of one key, where it is a number."""
    pairs = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), (int, float))]
    return [p[0] for p in pairs], [p[1] for p in pairs]


def plot(rows, path):
    """One panel a key that exists, four in a row."""
    panels = [panel for panel in PANELS if series(rows, panel[0])[0] or series(rows, "validation_" + panel[0])[0]]
    if not panels:
        sys.exit(f"plot_training: no known key in the metrics (looked for {', '.join(p[0] for p in PANELS)})")
    across = min(4, len(panels))
    down = -(-len(panels) // across)
    figure, axes = plt.subplots(down, across, figsize=(3.6 * across, 2.7 * down), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels):]:
        axis.set_visible(False)
    for axis, (key, label, logarithmic) in zip(axes.flat, panels):
        steps, values = series(rows, key)
        axis.plot(steps, values, lw=1, color="C0", label="training")
        validation_steps, validation = series(rows, "validation_" + key)
        if validation:
            axis.plot(validation_steps, validation, "o-", ms=3, lw=1, color="C1", label="validation")
            axis.legend(frameon=False, fontsize="small")
        if logarithmic and min(values + validation) > 0:
            axis.set_yscale("log")
        axis.set(xlabel="step", ylabel=label)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", metavar="METRICS.jsonl")
    parser.add_argument("output", metavar="OUT.png")
    options = parser.parse_args()
    rows = read_metrics(options.metrics)
    if not rows:
        sys.exit(f"plot_training: {options.metrics} holds no step yet")
    plot(rows, options.output)


if __name__ == "__main__":
    main()
