"""The networks on a GPU: the same catalogue as on cores up to rounding, and the same bytes every time. Skipped without a GPU."""

import json
import shutil
import subprocess
import unittest

import h5py
import numpy

from support import BINARY, MPIRUN, SHIPPED_MODEL, Case, bliss, simulate

FRAMES = 3


def linked_with_cuda():
    return "libtorch_cuda" in subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout


@unittest.skipUnless(shutil.which("nvidia-smi"), "NOT TESTED: no GPU here")
@unittest.skipUnless(linked_with_cuda(), "NOT TESTED: LibTorch has no CUDA part; tools/bootstrap.sh --cuda fetches it")
class Gpu(Case):
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


if __name__ == "__main__":
    unittest.main()
