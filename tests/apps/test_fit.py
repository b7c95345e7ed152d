"""How well the posterior explains the image: p-values and flags of sources and fields, and the images of what it expects."""

import re
import unittest

import h5py
import numpy
from astropy.io import fits

from support import Case, add_star, psf_of, sha256, simulate

ABOVE_PRIOR, POOR_FIT, SURROUNDINGS = 64, 128, 256
SAMPLES = 8
HEIGHT_PX, WIDTH_PX = 700, 800
TRAIL_PX = 401  # its middle column


def read(folder):
    with h5py.File(folder / "catalog.h5") as file:
        return file["catalog"][:], file["fields"][0]


class Fit(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.shared / "survey"
        # Of this seed no bright galaxy is cut by the edge of the frame: those are not explained.
        settings = ["seed=3", f"height_px={HEIGHT_PX}", f"width_px={WIDTH_PX}", "simulator.prior.flux_max_e=1e6",
                    *(f"simulator.conditions.{name}_share_high=0" for name in ("halo", "spike", "ray"))]
        cls.simulated = simulate(cls.survey, 1, more=[word for setting in settings for word in ("--set", setting)])
        cls.config = cls.survey / "catalog.toml"
        cls.clean = cls.shared / "clean"
        cls.first_run = cls.catalog(cls.config, cls.clean, "--samples", SAMPLES, "--reconstruct")

    def setUp(self):
        super().setUp()
        self.assertDone(self.simulated)
        self.assertDone(self.first_run)

    def spoilt(self, spoil):
        """The catalogue of the frame after its pixels were changed."""
        path = self.survey / "frame-0000.fits"
        whole = path.read_bytes()
        try:
            with fits.open(path, mode="update") as file:
                spoil(file[0].data)
            self.assertDone(self.catalog(self.config, self.folder, "--samples", SAMPLES))
        finally:
            path.write_bytes(whole)
        return read(self.folder)

    def test_a_simulated_frame_is_explained(self):
        sources, field = read(self.clean)
        mode = sources[sources["p_source"] >= 0.5]
        mode = mode[numpy.isfinite(mode["p_fit"])]  # NaN where all pixels near are masked
        self.assertGreater(len(mode), 100)
        self.assertTrue(((mode["p_fit"] >= 0) & (mode["p_fit"] <= 1)).all())
        self.assertLess((mode["p_fit"] < 0.01).mean(), 0.06)
        self.assertLess((mode["p_fit"] < 0.5).mean(), 0.65)
        self.assertLess((mode["flags"] & (POOR_FIT | SURROUNDINGS) > 0).mean(), 0.05)
        self.assertEqual(((sources["flags"] & POOR_FIT) > 0).tolist(), (sources["p_fit"] < 0.001).tolist())
        self.assertAlmostEqual(field["chi2_per_px"], 1, delta=0.03)
        self.assertLess(field["unexplained_share"], 1e-3)

    def test_a_trail_is_not(self):
        def draw_trail(pixels):
            pixels[:, TRAIL_PX - 1:TRAIL_PX + 2] += 300
        sources, field = self.spoilt(draw_trail)
        _, clean = read(self.clean)
        self.assertLess(field["p_fit"], 1e-3)
        # The trail is one column of tiles in two hundred, and no light that the model knows.
        self.assertGreater(field["unexplained_share"], clean["unexplained_share"] + 0.7 * 4 / WIDTH_PX)
        # Faint ones: the flux of a bright galaxy may be unsure by more than the trail's light.
        near_trail = sources[(abs(sources["x_px"] - TRAIL_PX) < 9) & (sources["mag"] > 20)]
        self.assertGreater(len(near_trail), 0)
        self.assertTrue(((near_trail["flags"] & (POOR_FIT | SURROUNDINGS)) > 0).all(), near_trail)
        elsewhere = sources[(abs(sources["x_px"] - TRAIL_PX) > 40) & (sources["p_source"] >= 0.5)]
        self.assertLess(((elsewhere["flags"] & (POOR_FIT | SURROUNDINGS)) > 0).mean(), 0.05)

    def test_a_star_beyond_the_prior_is_flagged(self):
        """Three times the brightest source there is in training, in a frame without saturation."""
        psf = psf_of((self.survey / "frame-0000.toml").read_text())
        sources, _ = self.spoilt(lambda pixels: add_star(pixels, 300.2, 350.4, 3e8, *psf))
        for name in ("x_px", "y_px", "p_source", "p_star", "flux_nmgy", "mag"):
            self.assertTrue(numpy.isfinite(sources[name]).all(), name)
        near = sources[numpy.hypot(sources["x_px"] - 300.2, sources["y_px"] - 350.4) < 3]
        self.assertGreater(len(near), 0)
        brightest = near[near["flux_nmgy"].argmax()]
        self.assertTrue(brightest["flags"] & ABOVE_PRIOR, brightest)
        far = sources[numpy.hypot(sources["x_px"] - 300.2, sources["y_px"] - 350.4) > 200]
        self.assertFalse((far["flags"] & ABOVE_PRIOR).any())

    def test_images_of_what_is_expected(self):
        folder = self.clean / "reconstruction/0-0-0"
        self.assertEqual(sorted(p.name for p in folder.iterdir()), ["model.fits", "residual.fits", "residual.png"])
        data = fits.getdata(self.survey / "frame-0000.fits").astype(float)
        valid = fits.getdata(self.survey / "mask-0000.fits") == 0
        model = fits.getdata(folder / "model.fits").astype(float)
        residual = fits.getdata(folder / "residual.fits").astype(float)
        background = float(re.search(r"background_value = ([\d.]+)", (self.survey / "frame-0000.toml").read_text())[1])
        expected = numpy.where(valid, (data - background - model) / numpy.sqrt(background + model), 0)
        numpy.testing.assert_allclose(residual, expected, rtol=1e-4, atol=1e-3)
        self.assertAlmostEqual(numpy.median(abs(residual[valid])) / 0.6745, 1, delta=0.02)

    def test_without_draws_there_is_no_fit(self):
        self.assertDone(self.catalog(self.config, self.folder))
        sources, field = read(self.folder)
        self.assertTrue(numpy.isnan(sources["p_fit"]).all() and numpy.isnan(sources["surroundings_sigma"]).all())
        self.assertTrue(numpy.isnan(field["p_fit"]) and numpy.isnan(field["chi2_per_px"]))

    def test_same_bytes_on_two_ranks_and_threads(self):
        for ranks, threads in ((2, 1), (0, 2)):
            out = self.folder / f"{ranks}-{threads}"
            self.assertDone(self.catalog(self.config, out, "--samples", SAMPLES, "--reconstruct", ranks=ranks, threads=threads))
            for name in ("catalog.h5", "reconstruction/0-0-0/model.fits"):
                self.assertEqual(sha256(out / name), sha256(self.clean / name), name)


if __name__ == "__main__":
    unittest.main()
