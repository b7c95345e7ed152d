"""The prior a field is catalogued under: asked for, estimated from the field, recorded, and flagged where it is far from the training's."""

import unittest

import h5py
import numpy
from astropy.io import fits

from support import Case, bliss, simulate

RATE_OUTSIDE, FAR, DENSITY_OUTSIDE = 1, 2, 4


class Prior(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.shared / "survey"
        cls.simulated = simulate(cls.survey, 1, more=["--set", "height_px=700", "--set", "width_px=800"])
        cls.config = cls.survey / "catalog.toml"

    def setUp(self):
        super().setUp()
        self.assertDone(self.simulated)

    def run_with(self, *settings):
        run = self.assertDone(self.catalog(self.config, self.folder, *(word for setting in settings for word in ("--set", setting))))
        with h5py.File(self.folder / "catalog.h5") as file:
            return run, file["catalog"][:], file["fields"][0]

    def test_the_prior_is_recorded(self):
        run, _, field = self.run_with()
        self.assertAlmostEqual(field["sources_per_tile"], 0.0065)
        self.assertTrue(0.3 < field["star_fraction"] < 0.45, "more of the labelled sources than of all are stars")
        self.assertEqual((field["star_alpha"], field["galaxy_alpha"], field["prior_flags"]), (0.43, 0.75, 0))
        self.assertNotIn("warn", run.err)

    def test_a_rate_outside_the_training_range_is_flagged(self):
        run, _, field = self.run_with("sources_per_tile=0.0005")
        self.assertEqual(int(field["prior_flags"]) & ~DENSITY_OUTSIDE, RATE_OUTSIDE)
        self.assertIn("0.0005 sources a tile is outside", run.err)

    def test_a_far_flux_law_is_flagged(self):
        run, _, field = self.run_with("prior.galaxy_alpha=3")
        self.assertEqual((field["galaxy_alpha"], int(field["prior_flags"]) & ~DENSITY_OUTSIDE), (3, FAR))
        self.assertIn("lean on what was rare", run.err)

    def test_a_far_share_of_stars_is_flagged(self):
        run, _, field = self.run_with("prior.star_fraction=0.999")
        self.assertEqual((field["star_fraction"], int(field["prior_flags"]) & ~DENSITY_OUTSIDE), (0.999, FAR))
        self.assertIn("lean on what was rare", run.err)

    def test_a_density_outside_the_training_range_is_flagged(self):
        dense = self.folder / "dense"
        self.assertDone(simulate(dense, 1, more=[word for end in ("low", "high") for word in
                                                 ("--set", f"simulator.conditions.sources_per_tile_{end}=0.15")]))
        run = self.assertDone(self.catalog(dense / "catalog.toml", self.folder))
        with h5py.File(self.folder / "catalog.h5") as file:
            self.assertTrue(file["fields"][0]["prior_flags"] & DENSITY_OUTSIDE)
        self.assertIn("sources per tile are outside the model's training range", run.err)
        self.assertIn("warning: field 0-0-0: the density", self.assertDone(bliss("info", self.folder / "catalog.h5")).out)

    def test_rates_move_counts(self):
        expected = [self.run_with(f"sources_per_tile={rate}")[2]["expected_sources"] for rate in (0.004, 0.0065, 0.013)]
        self.assertTrue(expected[0] < expected[1] < expected[2], expected)

    def test_star_fractions_move_types(self):
        stars = []
        for fraction in (0.1, 0.5, 0.9):
            _, sources, field = self.run_with(f"prior.star_fraction={fraction}")
            self.assertEqual(field["star_fraction"], fraction)
            mode = sources[sources["p_source"] > 0.5]
            stars.append(mode["p_star"].sum())
        self.assertTrue(1.1 * stars[0] < stars[1] < stars[2] / 1.1, stars)

    def test_estimated_from_the_field(self):
        """Starting three times too high, the estimate comes to what the frame was simulated with."""
        run, _, field = self.run_with("prior.estimate=true", "sources_per_tile=0.02")
        with fits.open(self.survey / "truth-0000.fits") as hdus:
            truth = hdus["TRUTH"].data
        labelled = truth[truth["LABELLED"] == 1]
        rate = len(labelled) / (700 * 800 / 16)
        self.assertIn("prior estimated", run.err)
        self.assertLess(abs(numpy.log(field["sources_per_tile"] / rate)), 0.3)
        self.assertLess(abs(field["star_fraction"] - (labelled["IS_STAR"] == 1).mean()), 0.15)
        self.assertLess(abs(field["expected_sources"] / len(labelled) - 1), 0.3)

    def test_what_is_masked_does_not_count(self):
        """The estimate is of the part that is seen, also where that is the smaller one."""
        with fits.open(self.survey / "mask-0000.fits") as hdus:
            hdus[0].data[:, 320:] = 1
            hdus.writeto(self.survey / "half-mask.fits", overwrite=True)
        image = (self.survey / "frame-0000.toml").read_text().replace("mask-0000.fits", "half-mask.fits")
        self.assertIn("half-mask.fits", image)
        (self.survey / "half.toml").write_text(image)
        half = self.survey / "half-catalog.toml"
        half.write_text(self.config.read_text().replace("frame-0000.toml", "half.toml"))
        run = self.assertDone(self.catalog(half, self.folder, "--set", "prior.estimate=true", "--set", "sources_per_tile=0.02"))
        with h5py.File(self.folder / "catalog.h5") as file:
            field, sources = file["fields"][0], file["catalog"][:]
        with fits.open(self.survey / "truth-0000.fits") as hdus:
            truth = hdus["TRUTH"].data
        seen = truth[(truth["LABELLED"] == 1) & (truth["X_PX"] < 319.5)]
        self.assertAlmostEqual(field["valid_share"], 0.4, delta=0.01)
        self.assertLess(abs(numpy.log(field["sources_per_tile"] / (len(seen) / (700 * 320 / 16)))), 0.35)
        self.assertLess(abs(field["expected_sources"] / len(seen) - 1), 0.35)
        self.assertEqual((sources["x_px"] > 350).sum(), 0)
        self.assertEqual(int(field["prior_flags"]), 0, run.err)

    def test_impossible_priors(self):
        for setting, word in (("prior.star_fraction=1.5", "star_fraction"), ("prior.star_alpha=-1", "star_alpha"),
                              ("prior.nothing=1", "nothing"), ("samples=100000", "samples")):
            with self.subTest(setting):
                self.assertFails(self.catalog(self.config, self.folder / "out", "--set", setting), 2, word)


if __name__ == "__main__":
    unittest.main()
