"""The networks on a GPU: the same as on cores up to rounding, and the same bytes every time. Skipped without a GPU."""

import json
import shutil
import subprocess
import unittest

import h5py
import numpy

from support import BINARY, MPIRUN, SHIPPED_MODEL, Case, bliss, read_safetensors, simulate
from training import STEPS, Train, read_metrics

FRAMES = 3


def linked_with_cuda():
    return "libtorch_cuda" in subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout


def needs_gpu(case):
    case = unittest.skipUnless(linked_with_cuda(), "NOT TESTED: LibTorch has no CUDA part; tools/bootstrap.sh --cuda fetches it")(case)
    return unittest.skipUnless(shutil.which("nvidia-smi"), "NOT TESTED: no GPU here")(case)


@needs_gpu
class Catalogue(Case):
    def setUp(self):
        super().setUp()
        self.assertDone(simulate(self.folder / "frames", FRAMES))

    def catalogue(self, name, *settings, **how):
        run = bliss("catalog", self.folder / "frames/catalog.toml", "--set", f"model={SHIPPED_MODEL}", "-o", self.folder / name,
                    "--samples", 8, *settings, **how)
        self.assertDone(run)
        return self.folder / name

    def rows(self, folder):
        with h5py.File(folder / "catalog.h5") as file:
            return file["catalog"][:]

    def test_same_bytes_whatever_threads_and_ranks(self):
        first = (self.catalogue("first") / "catalog.h5").read_bytes()
        report = json.loads((self.folder / "first/run-report.json").read_text())
        self.assertEqual((report["device"], report["precision"]), ("cuda", "bfloat16"))
        self.assertEqual((self.catalogue("threads", threads=4) / "catalog.h5").read_bytes(), first)
        if shutil.which(MPIRUN[0]):
            self.assertEqual((self.catalogue("ranks", ranks=2) / "catalog.h5").read_bytes(), first)
        together = self.rows(self.folder / "first")
        for field in range(FRAMES):
            alone = self.rows(self.catalogue(f"field{field}", "--field", f"0-0-{field}"))
            expected = together[together["field"] == field]
            for column in set(alone.dtype.names) - {"field_index", "first_sample", "sample_count"}:
                numpy.testing.assert_array_equal(alone[column], expected[column], column)

    def test_same_numbers_as_on_cores(self):
        precise = ("--set", "precision=float32")
        gpu, cpu = (self.rows(self.catalogue(device, *precise, "--set", f"device={device}")) for device in ("cuda", "cpu"))
        self.assertGreater(len(cpu), 100)
        names = [{tuple(row): k for k, row in enumerate(rows[["field_index", "tile_row", "tile_col", "slot"]].tolist())}
                 for rows in (gpu, cpu)]
        both = [(names[0][name], names[1][name]) for name in names[0] if name in names[1]]
        self.assertGreaterEqual(len(both), len(cpu) - 2)  # one that is just above the floor here may be below it there
        gpu, cpu = gpu[[k for k, _ in both]], cpu[[k for _, k in both]]
        for column, limit in (("p_source", 1e-4), ("p_star", 1e-3), ("x_px", 1e-2), ("y_px", 1e-2), ("mag", 1e-3)):
            numpy.testing.assert_allclose(gpu[column], cpu[column], rtol=0, atol=limit, err_msg=column)


@needs_gpu
class Training(Train):
    """Of the base class: the straight run is one on the GPU, as `device` is "auto". Networks have matrices that Muon steps."""

    @classmethod
    def train(cls, output, *arguments, ranks=0):
        wide = ("--set", "encoder.width=24", "--set", "encoder.head_width=48", "--set", "encoder.place_anchor=true")
        return super().train(output, *wide, *arguments, ranks=ranks)

    def test_same_bytes_whatever_threads_ranks_and_sums(self):
        self.assertIn("networks on GPUs", self.first_run.err)
        if "Cuda" in self.first_run.err:  # what Kokkos was built for
            self.assertIn("images are made on GPUs", self.first_run.err)
        cases = [(0, 4, "auto"), (0, 1, "mpi"), (0, 1, "nccl")] + ([(2, 1, "mpi")] if shutil.which(MPIRUN[0]) else [])
        for ranks, threads, sums in cases:
            with self.subTest(ranks=ranks, threads=threads, sums=sums):
                run = self.folder / f"{ranks}-{threads}-{sums}"
                self.assertDone(self.train(run, "--threads", threads, "--set", f"gradient_sums={sums}", ranks=ranks))
                ours, theirs = (read_safetensors(folder / "checkpoint.safetensors")[1] for folder in (run, self.straight))
                self.assertEqual(ours, theirs)
                self.assertEqual(read_metrics(run)[STEPS]["loss"], read_metrics(self.straight)[STEPS]["loss"])

    def test_several_ranks_on_one_gpu_are_refused_by_nccl(self):
        gpus = len(subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout.splitlines())
        if shutil.which(MPIRUN[0]) is None or gpus > 3:
            self.skipTest("NOT TESTED: no mpirun, or a GPU for every rank")
        run = self.train(self.folder / "out", "--set", "gradient_sums=nccl", ranks=gpus + 1)
        self.assertFails(run, 2, "share a GPU")

    def test_first_step_is_as_on_cores(self):
        runs = {}
        for device in ("cuda", "cpu"):
            run = self.folder / device
            self.assertDone(self.train(run, "--set", "steps=2", "--set", "width_images=0", "--set", f"device={device}"))
            runs[device] = read_metrics(run)
        for name in ("loss", "loss_count", "loss_location", "loss_flux", "loss_type"):
            self.assertAlmostEqual(runs["cuda"][1][name], runs["cpu"][1][name], delta=1e-4 * max(1, abs(runs["cpu"][1][name])), msg=name)
        self.assertAlmostEqual(runs["cuda"][2]["loss"], runs["cpu"][2]["loss"], delta=1e-2 * abs(runs["cpu"][2]["loss"]))


if __name__ == "__main__":
    unittest.main()
