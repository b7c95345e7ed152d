#!/usr/bin/env python3
"""How much probabilities move when the grid of tiles does.

Catalogues simulated frames as they are and with their first columns and rows cut off, 0 to 3 pixels each, so that the same pixels lie
elsewhere in their tiles; pairs the sources by place, and prints how much p_source differs for those with p_source > 0.5.

    bliss-mpi simulate configs/simulate/sdss-r.toml -o out/sim --set frames=2
    tools/tile_origin.py out/sim --model configs/models/sdss-r.safetensors
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy
from astropy.io import fits
from scipy.spatial import cKDTree

BORDER_PX = 30  # what lies nearer to a frame's edge loses part of its surroundings when the edge moves
PAIR_PX = 1.5


def cut(survey, folder, dx, dy):
    """The survey without its first dx columns and dy rows."""
    folder.mkdir(parents=True)
    for path in sorted(survey.iterdir()):
        if path.name.startswith(("frame", "mask")) and path.suffix == ".fits":
            with fits.open(path) as hdus:
                fits.PrimaryHDU(hdus[0].data[dy:, dx:], hdus[0].header).writeto(folder / path.name)
        elif path.suffix == ".toml":
            (folder / path.name).write_text(path.read_text())


def catalogue(binary, folder, model):
    command = [binary, "catalog", folder / "catalog.toml", "--set", f"model={model}", "-o", folder / "out", "--quiet"]
    if subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL).returncode != 0:
        sys.exit(f"tile_origin: {binary} catalog failed, see above")
    with h5py.File(folder / "out/catalog.h5") as file:
        return file["catalog"][:], file["fields"][:]


def main():
    root = pathlib.Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("survey", type=pathlib.Path, help="folder of simulated frames")
    parser.add_argument("--model", type=pathlib.Path, default=root / "configs/models/sdss-r.safetensors")
    parser.add_argument("--bliss", default=str(root / "build/release/bin/bliss-mpi"), help="the program")
    options = parser.parse_args()
    if shutil.which(options.bliss) is None:
        parser.error(f"{options.bliss}: no such program; build it with tools/build.sh")
    for path, what in ((options.survey / "catalog.toml", "a survey of bliss-mpi simulate"), (options.model, "the model")):
        if not path.is_file():
            parser.error(f"{path}: no such file, {what}")
    model = options.model.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        cut(options.survey, folder / "0-0", 0, 0)
        base, fields = catalogue(options.bliss, folder / "0-0", model)
        all_moves = []
        for dx in range(4):
            for dy in range(4):
                if dx == dy == 0:
                    continue
                name = f"{dx}-{dy}"
                cut(options.survey, folder / name, dx, dy)
                moved, _ = catalogue(options.bliss, folder / name, model)
                moves = []
                for index, field in enumerate(fields):
                    a, b = (rows[rows["field_index"] == index] for rows in (base, moved))
                    inside = (numpy.minimum(a["x_px"], field["width_px"] - a["x_px"]) > BORDER_PX) \
                        & (numpy.minimum(a["y_px"], field["height_px"] - a["y_px"]) > BORDER_PX)
                    a = a[(a["p_source"] > 0.5) & inside]
                    tree = cKDTree(numpy.column_stack((b["x_px"] + dx, b["y_px"] + dy)))
                    distance, nearest = tree.query(numpy.column_stack((a["x_px"], a["y_px"])))
                    # A source that is not there any more has a probability below the catalogue's floor.
                    there = numpy.append(b["p_source"], 0)  # a tree of nothing answers with a place beyond its end
                    p = numpy.where(distance < PAIR_PX, there[nearest], 0)
                    moves.append(numpy.abs(p - a["p_source"]))
                moves = numpy.concatenate(moves)
                all_moves.append(moves)
                print(f"origin moved by ({dx}, {dy}) px: {len(moves)} sources, change of p_source: median {numpy.median(moves):.4f}, "
                      f"99 % below {numpy.quantile(moves, 0.99):.3f}")
        moves = numpy.concatenate(all_moves)
        print(f"all: median {numpy.median(moves):.4f}, below 0.1 in {(moves < 0.1).mean():.2%}, "
              f"99 % below {numpy.quantile(moves, 0.99):.3f}")


if __name__ == "__main__":
    main()
