"""Crowded fields of stars: the network finds what the likelihood is then drawn from."""

import unittest

import h5py
import numpy
from astropy.io import fits

from support import REPO, Case, add_star, bliss, psf_of, sha256

MODEL = REPO / "configs/models/crowded-r.safetensors"
SIMULATION = REPO / "configs/simulate/crowded-r.toml"
SIDE_PX, BORDER_PX = 128, 12
FLUX_MAX_E = 2.5e6  # of the prior
RATE_OUTSIDE, ABOVE_PRIOR = 1, 64
MODEL_ONLY = ["--set", f"model={MODEL}"]
SHORT = [*MODEL_ONLY, "--set", "stars.burn_in=60", "--set", "stars.draws=24", "--set", "stars.thin=2", "--set", "sources_per_tile=0"]


def read(folder):
    with h5py.File(folder / "catalog.h5") as file:
        return file["catalog"][:], file["fields"][:], file["samples"][:] if "samples" in file else None


class Crowded(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.shared / "survey"
        cls.simulated = bliss("simulate", SIMULATION, "-o", cls.survey, "--set", "frames=2", "--set", f"height_px={SIDE_PX}",
                              "--set", f"width_px={SIDE_PX}")
        cls.config = cls.survey / "catalog.toml"
        cls.reference = cls.shared / "reference"
        cls.first_run = bliss("catalog", cls.config, "-o", cls.reference, "--samples", 8, *SHORT, ranks=1)

    def setUp(self):
        super().setUp()
        self.assertDone(self.simulated)
        self.assertDone(self.first_run)

    def test_bright_stars_are_found_where_and_as_bright_as_they_are(self):
        sources, fields, _ = read(self.reference)
        self.assertTrue(((sources["p_source"] > 0) & (sources["p_source"] <= 1)).all())
        self.assertTrue((sources["p_star"] == 1).all())
        found = expected = false = sure = 0
        for index in range(2):
            truth = fits.getdata(self.survey / f"truth-{index:04}.fits", 1)
            mine = sources[sources["field_index"] == index]
            mine = mine[mine["p_source"] >= 0.9]

            def matches(x, y, mag, to_x, to_y, to_mag):
                near = numpy.abs(to_x - x) < 0.5
                near &= numpy.abs(to_y - y) < 0.5
                return bool((near & (numpy.abs(to_mag - mag) < 0.5)).any())

            inside = lambda x, y: (min(x, y) > BORDER_PX) and (max(x, y) < SIDE_PX - BORDER_PX)
            for row in truth[truth["MAG"] < 18]:
                if not inside(row["X_PX"], row["Y_PX"]):
                    continue
                expected += 1
                found += matches(row["X_PX"], row["Y_PX"], row["MAG"], mine["x_px"], mine["y_px"], mine["mag"])
            for row in mine:
                if not inside(row["x_px"], row["y_px"]):
                    continue
                sure += 1
                false += not matches(row["x_px"], row["y_px"], row["mag"], truth["X_PX"], truth["Y_PX"], truth["MAG"])
        self.assertGreater(expected, 40)
        self.assertGreater(found / expected, 0.75)
        self.assertGreater(sure, 100)
        self.assertLess(false / sure, 0.3)
        self.assertTrue((fields["chi2_per_px"] < 1.3).all(), fields["chi2_per_px"])
        self.assertTrue((fields["unexplained_share"] < 0.01).all(), fields["unexplained_share"])

    def test_density_and_exponent_are_those_of_the_field_unless_given(self):
        _, fields, samples = read(self.reference)
        self.assertTrue((numpy.abs(fields["sources_per_tile"] / 1.76 - 1) < 0.35).all(), fields["sources_per_tile"])
        self.assertTrue((numpy.abs(fields["star_alpha"] - 0.5) < 0.15).all(), fields["star_alpha"])
        for index in range(2):
            draws = samples[samples["field_index"] == index]
            self.assertEqual(set(draws["sample"]), set(range(8)))
            self.assertAlmostEqual(len(draws) / 8 / fields["expected_sources"][index], 1, delta=0.05)
            self.assertTrue((draws["is_star"] == 1).all())
        given = self.folder / "given"
        self.assertDone(bliss("catalog", self.config, "-o", given, *MODEL_ONLY, "--set", "sources_per_tile=1.5",
                              "--set", "prior.star_alpha=0.6", "--set", "stars.burn_in=4", "--set", "stars.draws=8"))
        _, fields, _ = read(given)
        self.assertTrue(numpy.allclose(fields["sources_per_tile"], 1.5, rtol=1e-5))
        self.assertTrue(numpy.allclose(fields["star_alpha"], 0.6, rtol=1e-5))
        self.assertTrue((fields["prior_flags"] == 0).all())

    def test_a_density_far_from_the_training_is_flagged_or_refused(self):
        run = self.assertDone(bliss("catalog", self.config, "-o", self.folder / "far", *MODEL_ONLY, "--set", "sources_per_tile=0.0065",
                                    "--set", "stars.burn_in=4", "--set", "stars.draws=8"))
        self.assertIn("0.0065 sources a tile is outside", run.err)
        self.assertTrue((read(self.folder / "far")[1]["prior_flags"] & RATE_OUTSIDE > 0).all())
        self.assertFails(bliss("catalog", self.config, "-o", self.folder / "no", *MODEL_ONLY, "--set", "sources_per_tile=17"), 2,
                         "sources_per_tile", "0 to 16")

    def test_a_star_beyond_the_prior_is_flagged(self):
        """Five times the brightest star of the prior: the draws hold none so bright, and say so."""
        path = self.survey / "frame-0000.fits"
        whole = path.read_bytes()
        psf = psf_of((self.survey / "frame-0000.toml").read_text())
        try:
            with fits.open(path, mode="update") as file:
                add_star(file[0].data, 60.3, 70.6, 5 * FLUX_MAX_E, *psf)
            self.assertDone(bliss("catalog", self.config, "-o", self.folder, *SHORT))
        finally:
            path.write_bytes(whole)
        sources, _, _ = read(self.folder)
        sources = sources[sources["field_index"] == 0]
        off = numpy.hypot(sources["x_px"] - 60.3, sources["y_px"] - 70.6)
        self.assertTrue((sources["flags"][off < 2] & ABOVE_PRIOR > 0).any(), sources[off < 2])
        self.assertFalse((sources["flags"][off > 40] & ABOVE_PRIOR > 0).any())

    def test_any_number_of_ranks_and_threads_gives_the_same_bytes(self):
        for name, ranks, threads in (("ranks", 2, 1), ("threads", 1, 2)):
            self.assertDone(bliss("catalog", self.config, "-o", self.folder / name, "--samples", 8, *SHORT, ranks=ranks, threads=threads))
            self.assertEqual(sha256(self.folder / name / "catalog.h5"), sha256(self.reference / "catalog.h5"))

    def test_the_networks_posterior_alone(self):
        self.assertDone(bliss("catalog", self.config, "-o", self.folder / "network", *SHORT, "--set", "stars.likelihood=false"))
        sources, fields, _ = read(self.folder / "network")
        self.assertGreater(len(sources), 100)
        self.assertTrue((fields["star_alpha"] == 0.5).all())
        self.assertNotEqual(len(sources), len(read(self.reference)[0]))

    def test_what_was_left_open_stays_so_in_the_stored_configuration(self):
        with h5py.File(self.reference / "catalog.h5") as file:
            self.assertIn("\nsources_per_tile = 0.0\n", file.attrs["configuration"].decode())

    def test_a_share_of_stars_does_not_fit_a_model_of_stars_alone(self):
        for more in ([], ["--set", "stars.likelihood=false"]):
            for setting in ("prior.star_fraction=0.5", "prior.galaxy_alpha=1"):
                self.assertFails(bliss("catalog", self.config, "-o", self.folder / "no", *SHORT, *more, "--set", setting, ranks=2), 2,
                                 setting.split("=")[0], "stars alone")


if __name__ == "__main__":
    unittest.main()
