"""Scores against truth: their counts are those that the catalogue and the truth give."""

import json
import unittest

import h5py
import numpy
from astropy.io import fits

from support import REAL_CONFIG, REAL_FOLDER, Case, bliss, simulate

BORDER_PX = 24
FRAMES = 3


def inside(x, y, height, width):
    return (x >= BORDER_PX) & (x <= width - 1 - BORDER_PX) & (y >= BORDER_PX) & (y <= height - 1 - BORDER_PX)


class Scores(Case):
    def check_consistent(self, scores):
        bins, everything = scores["bins"], scores["all"]
        self.assertEqual([b["low_mag"] for b in bins], [17, 18, 19, 20, 21, 22])
        for key in ("truth", "true_positives", "false_positives", "typed"):
            self.assertEqual(sum(b[key] for b in bins), everything[key], key)
        for b in [*bins, everything]:
            found, wrong, truth = b["true_positives"], b["false_positives"], b["truth"]
            self.assertTrue(0 <= found <= truth and wrong >= 0 and b["typed"] <= found)
            for key, part, whole in (("precision", found, found + wrong), ("recall", found, truth),
                                     ("f1", 2 * found, found + wrong + truth)):
                if whole == 0:
                    self.assertIsNone(b[key])
                else:
                    self.assertAlmostEqual(b[key], part / whole, places=12)
        bright = scores["brighter_than"]
        self.assertLessEqual(bright["truth_found"], bright["truth"])
        self.assertLessEqual(bright["detections_true"], bright["detections"])
        self.assertEqual(sum(b["count"] for b in scores["reliability"]), scores["candidates"])
        for coverage in scores["coverage"].values():
            self.assertLessEqual(coverage["count"], scores["kept"])

    def check_detections(self, scores, sources, shape, threshold):
        """What the catalogue alone determines."""
        counted = sources[inside(sources["x_px"], sources["y_px"], *shape)]
        kept = counted[counted["p_source"] >= threshold]
        self.assertGreater(len(kept), 0)
        self.assertEqual(scores["candidates"], len(counted))
        self.assertEqual(scores["kept"], len(kept))
        self.assertAlmostEqual(scores["expected_precision"], kept["p_source"].mean(), places=9)
        self.assertEqual(scores["brighter_than"]["detections"], (kept["mag"] < 21).sum())
        for b in scores["reliability"]:
            here = (counted["p_source"] >= b["low"]) & ((counted["p_source"] < b["high"]) | (b["high"] == 1))
            self.assertEqual(b["count"], here.sum())

    def check_truth(self, scores, mag):
        """What the truth alone determines: labelled sources off the border."""
        for b in [*scores["bins"], scores["all"]]:
            self.assertEqual(b["truth"], ((mag >= b["low_mag"]) & (mag < b["high_mag"])).sum(), b["low_mag"])
        self.assertEqual(scores["brighter_than"]["truth"], (mag < 21).sum())

    def evaluate(self, path, *arguments):
        run = self.assertDone(bliss("evaluate", path, "--json", "-", *arguments))
        scores = json.loads(run.out)
        self.check_consistent(scores)
        return scores


class RealFrame(Scores):
    def test_photo_obj(self):
        self.assertDone(self.catalog(REAL_CONFIG, self.folder))
        with h5py.File(self.folder / "catalog.h5") as file:
            sources = file["catalog"][:]
        threshold = float(numpy.median(sources["p_source"]))
        photo = REAL_FOLDER / "photoObj-000094-1-0012.fits"
        scores = self.evaluate(self.folder / "catalog.h5", "--truth", photo, "--threshold", threshold)
        self.assertEqual(scores["fields"], 1)
        self.check_detections(scores, sources, (1489, 2048), threshold)

        objects, r = fits.getdata(photo, 1), 2
        x, y = objects["COLC"][:, r] - 0.5, objects["ROWC"][:, r] - 0.5
        galaxy = objects["OBJC_TYPE"] == 3
        flux = numpy.where(galaxy, objects["CMODELFLUX"][:, r], objects["PSFFLUX"][:, r]).astype(float)
        bright, saturated = 1 << 1, 1 << 18
        use = ((objects["NCHILD"] == 0) & (objects["OBJC_FLAGS"] & (bright | saturated) == 0) & (objects["THING_ID"] >= 0)
               & (galaxy | (objects["OBJC_TYPE"] == 6)) & (flux > 0) & inside(x, y, 1489, 2048))
        self.check_truth(scores, 22.5 - 2.5 * numpy.log10(flux[use]))


class SimulatedSurvey(Scores):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        survey = cls.shared / "survey"
        cls.runs = [simulate(survey, FRAMES), cls.catalog(survey / "catalog.toml", cls.shared)]
        cls.path = cls.shared / "catalog.h5"
        cls.truths = [survey / f"truth-{i:04}.fits" for i in range(FRAMES)]
        cls.frames = [fits.getdata(survey / f"frame-{i:04}.fits") for i in range(FRAMES)]
        with h5py.File(cls.path) as file:
            cls.sources = file["catalog"][:]
        cls.threshold = float(numpy.median(cls.sources["p_source"]))

    def setUp(self):
        super().setUp()
        for run in self.runs:
            self.assertDone(run)

    def labelled_mag(self, path, shape):
        truth = fits.getdata(path, "TRUTH")
        return truth["MAG"][(truth["LABELLED"] == 1) & inside(truth["X_PX"], truth["Y_PX"], *shape)]

    def test_all_fields(self):
        shape = self.frames[0].shape
        scores = self.evaluate(self.path, "--truth", *self.truths, "--threshold", self.threshold)
        self.assertEqual(scores["fields"], FRAMES)
        self.check_detections(scores, self.sources, shape, self.threshold)
        mag = numpy.concatenate([self.labelled_mag(path, shape) for path in self.truths])
        self.assertGreater(len(mag), 10)
        self.check_truth(scores, mag)

    def test_one_field(self):
        scores = self.evaluate(self.path, "--truth", self.truths[1], "--field", "0-0-1", "--threshold", self.threshold)
        self.assertEqual(scores["fields"], 1)
        self.check_truth(scores, self.labelled_mag(self.truths[1], self.frames[1].shape))
        self.check_detections(scores, self.sources[self.sources["field_index"] == 1], self.frames[1].shape, self.threshold)

    def test_truth_is_found_in_itself(self):
        """A catalogue that is the truth scores 1: the columns of any table, and matching."""
        perfect = self.folder / "perfect.h5"
        with h5py.File(self.path) as old, h5py.File(perfect, "w") as new:
            for name in ("fields", "catalog"):
                old.copy(name, new)
            for name, value in old.attrs.items():
                new.attrs[name] = value
            field = new["fields"][:]
            truths = [fits.getdata(path, "TRUTH") for path in self.truths]
            rows = numpy.zeros(sum(map(len, truths)), dtype=self.sources.dtype)
            at = 0
            for index, truth in enumerate(truths):
                mine = rows[at:at + len(truth)]
                mine["field_index"] = mine["field"] = index
                mine["x_px"], mine["y_px"], mine["mag"] = truth["X_PX"], truth["Y_PX"], truth["MAG"]
                mine["flux_nmgy"], mine["p_star"], mine["p_source"] = truth["FLUX_NMGY"], truth["IS_STAR"], 1
                rows[at:at + len(truth)] = mine
                field["first_source"][index], field["source_count"][index] = at, len(truth)
                at += len(truth)
            new["fields"][:] = field
            attributes = dict(new["catalog"].attrs)
            del new["catalog"]
            new.create_dataset("catalog", data=rows).attrs.update(attributes)
        scores = self.evaluate(perfect, "--truth", *self.truths)["all"]
        self.assertGreater(scores["truth"], 10)
        for key in ("precision", "recall", "f1", "type_accuracy"):
            self.assertEqual(scores[key], 1, key)
        self.assertEqual((scores["mag_scatter"], scores["position_scatter_px"]), (0, 0))

    def test_file_and_text(self):
        arguments = ("evaluate", self.path, "--truth", *self.truths)
        run = self.assertDone(bliss(*arguments, "--json", self.folder / "scores.json"))
        scores = json.loads((self.folder / "scores.json").read_text())
        self.assertEqual(scores, self.evaluate(self.path, "--truth", *self.truths))
        everything = scores["all"]
        self.assertRegex(run.out, rf"\n +all +{everything['truth']} +{everything['true_positives']} +{everything['false_positives']} ")

    def test_wrong_number_of_truths(self):
        run = bliss("evaluate", self.path, "--truth", *self.truths[:2], "--json", self.folder / "scores.json")
        self.assertFails(run, 2, "catalog.h5", f"{FRAMES} finished field(s)", "2 truth file(s)", "--field")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_options_that_make_no_table(self):
        for options, words in ((("--match-limit", "0"), ["--match-limit"]), (("--border", "-1"), ["--border"]),
                               (("--first-mag", "23", "--last-mag", "17"), ["--first-mag 23"]),
                               (("--last-mag", "inf"), ["--last-mag inf"]), (("--mag-step", "1e-9"), ["--mag-step 1e-09"]),
                               (("--mag-step", "4"), ["--mag-step 4"]), (("--tiles", "100"), ["is a catalogue", "--tiles"])):
            with self.subTest(options):
                run = bliss("evaluate", self.path, "--truth", *self.truths, *options)
                self.assertEqual(run.code, 2, run)
                for word in words:
                    self.assertIn(word, run.err)
                self.assertEqual(run.out, "")


if __name__ == "__main__":
    unittest.main()
