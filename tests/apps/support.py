"""What the end-to-end tests share: running the program, temporary folders, reading and changing its files."""

import hashlib
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path

import numpy

REPO = Path(__file__).resolve().parents[2]
BINARY = os.environ.get("BLISS_BINARY", str(REPO / "build/release/bin/bliss-mpi"))
MPIRUN = os.environ.get("BLISS_MPIRUN", "mpirun").split() + ["--allow-run-as-root", "--oversubscribe"]
SHIPPED_MODEL = REPO / "configs/models/sdss-r.safetensors"
REAL_CONFIG = REPO / "configs/catalog/sdss-94-1-12.toml"
REAL_FOLDER = REPO / "tests/data/sdss-94-1-12"
SIMULATION = REPO / "configs/simulate/sdss-r.toml"
HEIGHT_PX, WIDTH_PX = 300, 260  # of a simulated frame; not square and no multiple of the encoder's strips

# A run takes seconds; this long it hangs, also on a busy machine.
TIMEOUT_S = 120

# What the program says of a problem, without the ranks: however many meet it, it is told once.
PROBLEM = re.compile(r"^(?:bliss-mpi: error|[\d:]+ error)(?: \(rank \d+\)| \[rank \d+\])?:? (?:rank \d+: )?(.*)$")


@dataclass(frozen=True)
class Run:
    """How one run of the program ended."""

    command: list
    code: int
    out: str
    err: str

    def problems(self):
        """The problems on stderr, in order."""
        return [match[1] for line in self.err.splitlines() if (match := PROBLEM.match(line))]

    def __str__(self):
        command = " ".join(map(str, self.command))
        return f"{command}\nexit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


def command_line(*arguments, ranks=0):
    """The program's command line; with `ranks` under mpirun."""
    launcher = [*MPIRUN, "-n", str(ranks)] if ranks else []
    return [*launcher, BINARY, *map(str, arguments)]


def start(*arguments, ranks=0, threads=1, file_bytes=None):
    """Starts the program and returns at once. No file that it writes may grow beyond `file_bytes`."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "false"}
    if file_bytes:
        # MPI's own files may not grow either: its store of the run's facts is kept in memory, and messages go through sockets.
        environment |= {"PMIX_MCA_gds": "hash", "OMPI_MCA_btl": "self,tcp"}
    limit = file_bytes and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes)))
    return subprocess.Popen(command_line(*arguments, ranks=ranks), env=environment, stdin=subprocess.DEVNULL, preexec_fn=limit,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")


def finish(process, timeout_s=TIMEOUT_S):
    """Waits for a started program. A hang is a failure: the program is ended and AssertionError raised."""
    try:
        out, err = process.communicate(timeout=timeout_s)
        return Run(process.args, process.returncode, out, err)
    except subprocess.TimeoutExpired:
        process.terminate()  # mpirun passes it on to its ranks
        try:
            out, err = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = "", "(and it did not end when asked to)"
        raise AssertionError(f"hangs: no end after {timeout_s} s\n{Run(process.args, -1, out, err)}") from None


def bliss(*arguments, ranks=0, threads=1, file_bytes=None):
    """Runs the program to its end."""
    return finish(start(*arguments, ranks=ranks, threads=threads, file_bytes=file_bytes))


def simulate(folder, frames, ranks=0, threads=1, more=()):
    """Small frames of the shipped simulation."""
    return bliss("simulate", SIMULATION, "-o", folder, "--set", f"frames={frames}", "--set", f"height_px={HEIGHT_PX}",
                 "--set", f"width_px={WIDTH_PX}", *more, ranks=ranks, threads=threads)


def psf_of(image_toml):
    """Weights and sigmas (px) of the Gaussians of a simulated frame's PSF, from the text of its configuration."""
    return tuple([float(x) for x in re.search(rf"psf_{name} = \[(.*?)\]", image_toml, re.S)[1].split(",") if x.strip()]
                 for name in ("weights", "sigmas_px"))


def add_star(pixels, x_px, y_px, flux_e, weights, sigmas_px):
    """Adds a star of this flux, without noise."""
    y, x = numpy.mgrid[:pixels.shape[0], :pixels.shape[1]]
    r2 = (x - x_px) ** 2 + (y - y_px) ** 2
    for weight, sigma in zip(weights, sigmas_px):
        peak = flux_e * weight / sum(weights) / (2 * numpy.pi * sigma**2)
        pixels += (peak * numpy.exp(-0.5 * r2 / sigma**2)).astype(pixels.dtype)


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def contents(folder):
    """SHA256 of every file in a folder, by its path from there."""
    return {str(p.relative_to(folder)): sha256(p) for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def read_safetensors(path):
    """Metadata, and (dtype, shape, bytes) of each tensor: 8 bytes of header length, the header as JSON, raw numbers."""
    data = Path(path).read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__")
    raw = data[8 + length:]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensors[name] = (entry["dtype"], entry["shape"], raw[begin:end])
    return metadata, tensors


class Case(unittest.TestCase):
    """A test with an empty folder of its own, and one of its class that holds a copy of the shipped model."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.shared = cls.temporary_folder(cls.addClassCleanup)
        cls.model = cls.shared / "model.safetensors"
        shutil.copyfile(SHIPPED_MODEL, cls.model)

    def setUp(self):
        self.folder = self.temporary_folder(self.addCleanup)

    @staticmethod
    def temporary_folder(add_cleanup):
        folder = tempfile.TemporaryDirectory(prefix="bliss-apps-")
        add_cleanup(folder.cleanup)
        return Path(folder.name).resolve()

    @classmethod
    def catalog(cls, config, output, *arguments, **how):
        """Runs `catalog` with the class's model."""
        return bliss("catalog", config, "--set", f"model={cls.model}", "-o", output, *arguments, **how)

    def assertDone(self, run):
        self.assertEqual(run.code, 0, run)
        self.assertEqual(run.problems(), [], run)
        return run

    def assertFails(self, run, code, *words):
        """The exit code, and one clear problem on stderr that holds all words."""
        self.assertEqual(run.code, code, run)
        problems = run.problems()
        self.assertEqual(len(problems), 1, f"one problem should be reported, found {problems}\n{run}")
        for word in map(str, words):
            self.assertIn(word, problems[0], run)
        return run

    def assertNoLeftovers(self, folder):
        """Nothing half-written: no partial files, and no file without content under its final name."""
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        self.assertEqual([p for p in files if p.name.endswith(".partial") or p.name.startswith(".")], [])
        self.assertEqual([p for p in files if p.stat().st_size == 0], [])
