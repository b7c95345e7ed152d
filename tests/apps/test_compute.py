"""How a run computes: its precision, and the plan of a run that is only tried."""

import unittest

import h5py
import numpy

from support import SIMULATION, Case, bliss, contents, simulate
from training import CONFIG


class Precision(Case):
    def run_with(self, precision):
        out = self.folder / precision
        run = self.catalog(self.survey / "catalog.toml", out, "--set", f'precision="{precision}"')
        if run.code != 0:
            return run, None, None
        with h5py.File(out / "catalog.h5") as file:
            return run, file["catalog"][:], file.attrs["configuration"].decode()

    def test_bfloat16_where_the_processor_has_it(self):
        self.survey = self.folder / "survey"
        self.assertDone(simulate(self.survey, 1))
        single, exact, configuration = self.run_with("float32")
        self.assertIn("in float32", self.assertDone(single).err)
        self.assertIn('precision = "float32"', configuration)
        half, rounded, _ = self.run_with("bfloat16")
        auto, chosen, configuration = self.run_with("auto")
        self.assertDone(auto)
        if half.code != 0:
            self.assertFails(half, 2, "bfloat16", "this processor", "float32")
            self.assertIn("in float32", auto.err)
            self.assertIn('precision = "float32"', configuration)
            self.assertEqual(chosen.tobytes(), exact.tobytes())
            return
        for run in (half, auto):
            self.assertIn("in bfloat16", run.err)
        self.assertIn('precision = "bfloat16"', configuration, "the catalogue says what auto came to")
        self.assertEqual(chosen.tobytes(), rounded.tobytes())
        self.check_close(exact, rounded)

    def check_close(self, exact, rounded):
        """The same sources, differing by little of their errors: eight bits of a weight's fraction are one part in 500."""
        self.assertNotEqual(exact.tobytes(), rounded.tobytes(), "bfloat16 was not used")
        sure = exact[exact["p_source"] > 0.9]
        self.assertGreater(len(sure), 20)
        distance = numpy.hypot(sure["x_px"][:, None] - rounded["x_px"], sure["y_px"][:, None] - rounded["y_px"])
        same = rounded[distance.argmin(axis=1)]
        self.assertLess(numpy.median(distance.min(axis=1) / sure["x_err_px"]), 0.3)
        self.assertLess(numpy.median(numpy.abs(sure["mag"] - same["mag"]) / sure["mag_err"]), 0.3)
        self.assertLess(numpy.abs(sure["p_source"] - same["p_source"]).mean(), 0.05)


class DryRun(Case):
    def check(self, *arguments, words):
        for ranks in (0, 2):
            run = self.assertDone(bliss(*arguments, "-o", self.folder / "out", "--dry-run", ranks=ranks))
            for word in words:
                self.assertIn(word, run.err)
            self.assertFalse((self.folder / "out").exists(), "nothing should be written")

    def test_catalog(self):
        self.assertDone(simulate(self.folder / "survey", 2))
        before = contents(self.folder)
        self.check("catalog", self.folder / "survey/catalog.toml", "--set", f"model={self.model}",
                   words=["would catalogue 0-0-0", "would catalogue 0-0-1", "frame-0001.toml"])
        self.assertEqual(contents(self.folder), before)

    def test_train(self):
        config = self.folder / "train.toml"
        config.write_text(CONFIG)
        self.check("train", config, words=["dry run: one step", "nothing written"])

    def test_simulate(self):
        self.check("simulate", SIMULATION, words=["would write 20 frames of 1489 x 2048"])
        for setting in ("simulator.prior.galaxies=learnt", "galaxy_model=absent.safetensors", "simulator.prior.flux_max_e=1"):
            run = bliss("simulate", SIMULATION, "-o", self.folder / "out", "--dry-run", "--set", setting)
            self.assertFails(run, 2, setting.split("=")[0].split(".")[-1])


if __name__ == "__main__":
    unittest.main()
