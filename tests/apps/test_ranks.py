"""Any number of ranks and threads: the same bytes."""

import json
import shutil
import unittest

import h5py
import numpy

from support import REAL_CONFIG, Case, contents, sha256, simulate

FRAMES = 5


class Survey(Case):
    """Simulated frames, and one field that cannot be read between them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.shared / "survey"
        cls.simulated = simulate(cls.survey, FRAMES, ranks=1)
        cls.files = contents(cls.survey)
        images = [f"frame-{i:04}.toml" for i in range(FRAMES)]
        images.insert(2, "absent.toml")
        cls.config = cls.survey / "with-a-gap.toml"
        cls.config.write_text(f'[survey]\nkind = "generic"\nimages = {json.dumps(images)}\n')
        cls.reference = cls.shared / "reference"
        cls.first_run = cls.catalog(cls.config, cls.reference, "--samples", 4, ranks=1)

    def test_simulate_writes_the_frames(self):
        self.assertDone(self.simulated)
        expected = {"catalog.toml", "simulate.toml"}
        for i in range(FRAMES):
            expected |= {f"frame-{i:04}.fits", f"frame-{i:04}.toml", f"mask-{i:04}.fits", f"truth-{i:04}.fits"}
        self.assertEqual(set(self.files), expected)
        frames = {self.files[f"frame-{i:04}.fits"] for i in range(FRAMES)}
        self.assertEqual(len(frames), FRAMES, "frames of one survey must differ")

    def test_simulate_on_two_ranks(self):
        self.assertDone(simulate(self.folder / "survey", FRAMES, ranks=2))
        self.assertEqual(contents(self.folder / "survey"), self.files)

    def test_simulate_on_two_threads(self):
        run = self.assertDone(simulate(self.folder / "survey", FRAMES, threads=2))
        self.assertIn("2 threads", run.err)
        self.assertEqual(contents(self.folder / "survey"), self.files)

    def test_reference_holds_the_survey(self):
        self.assertFails(self.first_run, 1, "absent.toml")
        with h5py.File(self.reference / "catalog.h5") as file:
            fields = file["fields"][:]
            sources = file["catalog"][:]
            samples = file["samples"][:]
        self.assertEqual(fields["status"].tolist(), [0, 0, 1, 0, 0, 0])
        self.assertEqual(fields["field"].tolist(), list(range(FRAMES + 1)))
        self.assertTrue((fields["source_count"][fields["status"] == 0] > 0).all(), "an empty catalogue compares nothing")
        self.assertEqual(fields["source_count"].sum(), len(sources))
        self.assertIn(b"absent.toml", fields["reason"][2])
        for index, field in enumerate(fields):
            first, count = field["first_source"], field["source_count"]
            self.assertTrue((sources["field_index"][first:first + count] == index).all())
            first, count = field["first_sample"], field["sample_count"]
            self.assertEqual(count > 0, field["status"] == 0)
            self.assertTrue((samples["field_index"][first:first + count] == index).all())
        of_field = [samples["x_px"][samples["field_index"] == index] for index in (0, 1)]
        self.assertFalse(numpy.array_equal(*of_field), "fields have draws of their own")

    def check_same_bytes(self, ranks=0):
        run = self.catalog(self.config, self.folder, "--samples", 4, ranks=ranks)
        self.assertFails(run, 1, "absent.toml")
        self.assertIn(f"{FRAMES + 1} field(s) of which 1 failed", run.out, "the summary must survive the exit of all ranks")
        self.assertEqual(sha256(self.folder / "catalog.h5"), sha256(self.reference / "catalog.h5"))
        self.assertNoLeftovers(self.folder)
        return json.loads((self.folder / "run-report.json").read_text())

    def check_shared(self, report):
        """Who takes which field hangs on how fast each is."""
        fields = [rank["fields"] for rank in report["per_rank"]]
        self.assertEqual(sum(fields), FRAMES + 1)
        self.assertGreater(sum(count > 0 for count in fields), 1, "several ranks must have worked")

    def test_catalog_without_mpirun(self):
        self.assertEqual(self.check_same_bytes()["ranks"], 1)

    def test_catalog_on_two_ranks(self):
        report = self.check_same_bytes(ranks=2)
        self.assertEqual(report["ranks"], 2)
        self.check_shared(report)

    def test_catalog_on_four_ranks(self):
        report = self.check_same_bytes(ranks=4)
        self.assertEqual(report["ranks"], 4)
        self.check_shared(report)

    def test_other_pixels_give_other_bytes(self):
        """What the comparisons above see: one frame in the place of another."""
        other = self.folder / "survey"
        shutil.copytree(self.survey, other)
        shutil.copyfile(other / "frame-0000.fits", other / "frame-0001.fits")
        self.catalog(other / self.config.name, self.folder / "out", "--samples", 4, ranks=2)
        self.assertNotEqual(sha256(self.folder / "out/catalog.h5"), sha256(self.reference / "catalog.h5"))


class RealFrame(Case):
    """SDSS 94-1-12: one field, so that all ranks but one have none."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.reference = cls.shared / "reference"
        cls.first_run = cls.catalog(REAL_CONFIG, cls.reference, "--samples", 4, ranks=1)

    def check_same_bytes(self, ranks):
        self.assertDone(self.first_run)
        run = self.assertDone(self.catalog(REAL_CONFIG, self.folder, "--samples", 4, ranks=ranks))
        with h5py.File(self.folder / "catalog.h5") as file:
            self.assertGreater(len(file["catalog"]), 100, "an empty catalogue compares nothing")
        self.assertEqual(sha256(self.folder / "catalog.h5"), sha256(self.reference / "catalog.h5"))

    def test_two_ranks(self):
        self.check_same_bytes(ranks=2)

    def test_four_ranks(self):
        self.check_same_bytes(ranks=4)


class Threads(Case):
    """A rank on all cores and two ranks on half of them each should write the same file too."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        simulate(cls.shared / "survey", FRAMES)
        config = cls.shared / "survey/catalog.toml"
        cls.runs = [cls.catalog(config, cls.shared / str(threads), "--samples", 4, threads=threads) for threads in (1, 2)]
        cls.runs += [cls.catalog(REAL_CONFIG, cls.shared / f"real-{threads}", "--samples", 4, "--threads", threads) for threads in (1, 2)]

    def setUp(self):
        super().setUp()
        for run, threads in zip(self.runs, (1, 2, 1, 2)):
            self.assertDone(run)
            self.assertIn(f"{threads} threads a rank", run.err, "the run must really have had as many")

    def test_same_sources(self):
        """The same rows, and numbers that differ by rounding at most: far below any of the catalogue's errors."""
        for kind in ("", "real-"):
            with h5py.File(self.shared / f"{kind}1/catalog.h5") as one, h5py.File(self.shared / f"{kind}2/catalog.h5") as two:
                ours, theirs = one["catalog"][:], two["catalog"][:]
            self.assertGreater(len(ours), 100)
            self.assertEqual(len(ours), len(theirs))
            for name in ours.dtype.names:
                if name in ("angle_deg", "angle_err_deg"):
                    continue  # of a round galaxy rounding turns it
                with self.subTest(kind=kind, member=name):
                    numpy.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5)

    def test_same_bytes_of_a_survey(self):
        self.assertEqual(sha256(self.shared / "1/catalog.h5"), sha256(self.shared / "2/catalog.h5"))

    def test_same_bytes_of_the_real_frame(self):
        self.assertEqual(sha256(self.shared / "real-1/catalog.h5"), sha256(self.shared / "real-2/catalog.h5"))


if __name__ == "__main__":
    unittest.main()
