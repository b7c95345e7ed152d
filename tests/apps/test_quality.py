"""What the shipped model is worth, against the survey's own catalogue and on simulations held out from its training."""

import json
import unittest

from support import REAL_CONFIG, REAL_FOLDER, REPO, SIMULATION, Case, bliss

MODEL = REPO / "configs/models/sdss-r.safetensors"
FRAMES = 4


class Quality(Case):
    def evaluate(self, catalogue, *truth):
        scores = self.folder / "scores.json"
        self.assertDone(bliss("evaluate", catalogue, "--truth", *truth, "--json", scores))
        return json.loads(scores.read_text())

    def test_model_is_small(self):
        self.assertLess(MODEL.stat().st_size, 8 << 20)

    def test_real_frame(self):
        self.assertDone(bliss("catalog", REAL_CONFIG, "-o", self.folder / "real", threads=2))
        report = json.loads((self.folder / "real/run-report.json").read_text())
        self.assertLess(report["per_rank"][0]["peak_memory_gb"], 1.5)
        scores = self.evaluate(self.folder / "real/catalog.h5", REAL_FOLDER / "photoObj-000094-1-0012.fits")
        bright = scores["brighter_than"]
        self.assertGreaterEqual(bright["recall"], 0.968)
        self.assertGreaterEqual(bright["precision"], 0.98)         # any row of PHOTO's
        self.assertGreaterEqual(bright["strict_precision"], 0.89)  # rows that PHOTO resolved; 0.900, less three detections of 310
        typed = [(bin["typed"], bin["type_accuracy"]) for bin in scores["bins"] if bin["high_mag"] <= 21]
        self.assertGreaterEqual(sum(n * share for n, share in typed) / sum(n for n, _ in typed), 0.95)
        for bin in scores["bins"]:
            if bin["high_mag"] <= 20:
                self.assertLess(abs(bin["mag_offset"]), 0.03, bin["low_mag"])
                self.assertLess(bin["mag_scatter"], 0.08, bin["low_mag"])

    def test_held_out_simulations(self):
        """A fifth of the frames that docs/benchmarks.md uses."""
        frames = self.folder / "frames"
        self.assertDone(bliss("simulate", SIMULATION, "-o", frames, "--set", f"frames={FRAMES}", threads=2))
        run = bliss("catalog", frames / "catalog.toml", "--set", f"model={MODEL}",
                    "-o", self.folder / "simulated", threads=2)
        self.assertDone(run)
        scores = self.evaluate(self.folder / "simulated/catalog.h5", *sorted(frames.glob("truth-*.fits")))
        self.assertLessEqual(scores["calibration_error"], 0.03)
        self.assertLessEqual(scores["type_calibration_error"], 0.03)
        for name in ("x", "y", "ln_flux"):  # these frames' galaxies are not the model's: their shapes are scored, not tested
            coverage = scores["coverage"][name]
            self.assertGreater(coverage["count"], 1000)
            self.assertLessEqual(abs(coverage["share_in_90"] - 0.9), 0.03, name)
        f1 = {bin["low_mag"]: bin["f1"] for bin in scores["bins"]}
        for mag in (17, 18, 19, 20):
            self.assertGreater(f1[mag], 0.96, mag)  # 0.988 to 0.997 on twenty frames


if __name__ == "__main__":
    unittest.main()
