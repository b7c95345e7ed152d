"""A simulated stripe from its sky to its catalogue: fields that overlap, in SDSS's files, some of them broken."""

import os
import re
import signal
import subprocess
import sys
import time
import unittest

import h5py
import numpy
from astropy.io import fits

from support import REPO, TIMEOUT_S, Case, bliss, contents, finish, sha256, start

CONFIG = REPO / "configs/simulate/stripe.toml"
SMALL = ["--set=stripe.camcols=1", "--set=stripe.fields_per_camcol=4", "--set=stripe.broken_fields=4", "--set=stripe.overlap_rows_px=90",
         "--set=stripe.overlap_cols_px=90", "--set=stripe.ra_deg=359.97", "--set=height_px=420", "--set=width_px=500",
         "--set=simulator.conditions.sources_per_tile_low=0.02", "--set=simulator.conditions.sources_per_tile_high=0.03"]
FIELDS = 8
MODE, SAMPLES = 16, 8


def simulate_stripe(folder, *more, ranks=0):
    return bliss("simulate", CONFIG, "-o", folder, *SMALL, *more, ranks=ranks)


class Stripe(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stripe, cls.out = cls.shared / "stripe", cls.shared / "out"
        cls.simulated = simulate_stripe(cls.stripe)
        cls.config = cls.stripe / "catalog.toml"
        cls.first = cls.catalog(cls.config, cls.out, "--samples", SAMPLES, "--set", "tiles=true")
        cls.path = cls.out / "catalog.h5"

    def setUp(self):
        super().setUp()
        self.assertDone(self.simulated)
        self.assertEqual(self.first.code, 1, self.first)

    def test_files_do_not_depend_on_ranks(self):
        self.assertDone(simulate_stripe(self.folder / "again", ranks=3))
        self.assertEqual(contents(self.folder / "again"), contents(self.stripe))

    def test_fields_see_one_sky(self):
        """A source has one number and one place in all fields that see it; fields differ in all else."""
        sources, seen_again, heads = {}, 0, []
        for path in sorted((self.stripe / "truth").iterdir()):
            truth = fits.getdata(path, "TRUTH")
            heads.append(tuple(truth["FLUX_E"][:5]))
            for row in truth:
                place = (row["RA"], row["DEC"], row["FLUX_NMGY"], row["IS_STAR"])
                seen_again += row["ID"] in sources
                numpy.testing.assert_allclose(sources.setdefault(row["ID"], place), place, rtol=1e-6)
        self.assertEqual(len(set(heads)), FIELDS)
        self.assertGreater(seen_again, 100)
        ra = numpy.array([place[0] for place in sources.values()])
        self.assertTrue((ra > 359).any() and (ra < 1).any(), "the scan crosses right ascension 0")

    def test_broken_fields_are_told_and_the_others_done(self):
        listed = [line.split("#") for line in (self.stripe / "fields.txt").read_text().splitlines()]
        broken = {name.strip() for name, *comment in listed if comment}
        with h5py.File(self.path) as file:
            rows = file["fields"][:]
        failed = {f"{r['run']}-{r['camcol']}-{r['field']}": r["reason"].decode() for r in rows if r["status"]}
        self.assertEqual(set(failed), broken)
        self.assertEqual(len(rows), FIELDS)
        self.assertTrue(all(r["source_count"] > 50 for r in rows if not r["status"]))
        for words in ("frame-.*no such file", "psField", "no pixel is valid", "the file is truncated"):
            self.assertTrue(any(re.search(words, reason) for reason in failed.values()), f"{words}: {failed}")
        self.assertRegex(self.first.out, r"and \d+ seen again where fields overlap.* 8 field\(s\) of which 4 failed")

    def test_same_bytes_on_any_ranks(self):
        for ranks in (2, 3):
            run = self.catalog(self.config, self.folder / "out", "--samples", SAMPLES, "--set", "tiles=true", "--fresh", ranks=ranks)
            self.assertEqual(run.code, 1, run)
            self.assertEqual(sha256(self.folder / "out/catalog.h5"), sha256(self.path))

    def test_every_source_once(self):
        run = subprocess.run([sys.executable, REPO / "tools/check_stripe.py", self.stripe, self.path], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        with h5py.File(self.path) as file:
            rows, fields = file["catalog"][:], file["fields"][:]
            draws = file["samples"][:]
            self.assertEqual(file["samples"].attrs["draws"], SAMPLES)
        self.assertGreater((rows["primary"] == 0).sum(), 20)
        # Where a field has a failed neighbour it owns what it sees: all of the sky that any field saw is owned.
        self.assertGreater((rows["primary"] != 0).sum(), 0.7 * len(rows))
        share = draws["primary"].mean()
        self.assertLess(abs(share - rows["primary"][(rows["flags"] & MODE) != 0].mean()), 0.1)
        self.assertEqual(set(rows["field_index"]), set(numpy.flatnonzero(fields["status"] == 0)))

    def test_sky_index(self):
        with h5py.File(self.path) as file:
            rows, sky = file["catalog"][:], file["sky"][:]
            self.assertEqual((file["sky"].attrs["order"], file["sky"].attrs["scheme"]), (9, b"NESTED"))
        self.assertEqual(sky["source_count"].sum(), len(rows))
        self.assertTrue((numpy.diff(sky["pixel"]) >= 0).all())
        owner = numpy.concatenate([numpy.arange(r["first_source"], r["first_source"] + r["source_count"]) for r in sky])
        self.assertEqual(sorted(owner), list(range(len(rows))))

    def test_tiles(self):
        with h5py.File(self.path) as file:
            tiles, fields = file["tiles"][:], file["fields"][:]
        numpy.testing.assert_allclose(tiles["p_count"].sum(axis=1), 1, atol=1e-5)
        for index in numpy.flatnonzero(fields["status"] == 0):
            mine = tiles[fields["first_tile"][index]:][:fields["tile_count"][index]]
            self.assertTrue((mine["field_index"] == index).all())
            self.assertLessEqual(len(mine), 105 * 125)
            self.assertGreater(len(mine), 0.9 * 105 * 125)
            expected = (mine["p_count"] * [0, 1, 2, 3]).sum()
            self.assertLess(abs(expected / fields["expected_sources"][index] - 1), 0.1)

    def export(self, *arguments):
        path = self.folder / "x.fits"
        self.assertDone(bliss("export", self.path, "-o", path, *arguments))
        return fits.getdata(path, "CATALOG")

    def test_exports_of_parts(self):
        with h5py.File(self.path) as file:
            rows, fields = file["catalog"][:], file["fields"][:]
        mode = rows[(rows["flags"] & MODE) != 0]
        primary = mode[mode["primary"] != 0]
        self.assertEqual(len(self.export()), len(primary))
        self.assertEqual(len(self.export("--duplicates")), len(mode))
        done = numpy.flatnonzero(fields["status"] == 0)[-1]
        name = "-".join(str(fields[done][key]) for key in ("run", "camcol", "field"))
        table = self.export("--field", name)
        numpy.testing.assert_array_equal(table["ra_deg"], primary["ra_deg"][primary["field_index"] == done])
        ra, dec, radius = 0.0, -0.01, 0.06
        off = numpy.hypot((primary["ra_deg"] - ra + 180) % 360 - 180, primary["dec_deg"] - dec)
        table = self.export("--cone", ra, dec, radius)
        self.assertGreater(len(table), 20)
        self.assertEqual(sorted(table["ra_deg"]), sorted(primary["ra_deg"][off < radius]))
        self.assertEqual(len(self.export("--cone", 120, 40, 1)), 0)
        for arguments, words in ((["--field", "94-1-999"], "holds no field 94-1-999"), (["--cone", "0", "95", "1"], "DEC from -90 to 90")):
            run = bliss("export", self.path, "-o", self.folder / "y.fits", *arguments)
            self.assertNotEqual(run.code, 0)
            self.assertIn(words, run.err)
        run = bliss("export", self.path, "--field", name, "--cone", "0", "0", "1")
        self.assertEqual(run.code, 2, run)

    def test_settings_that_make_no_stripe(self):
        for setting, words in (("stripe.overlap_rows_px=300", "at most half a field's 420 pixels"),
                               ("simulator.conditions.clump_share_high=0.2", "not for a stripe"),
                               ("simulator.conditions.psf_ellipticity_high=0.1", "not for a stripe"), ("layout=\"strip\"", "layout"),
                               ("stripe.broken_fields=9", "there are 8 fields"), ("stripe.camcols=7", "camcols")):
            self.assertFails(simulate_stripe(self.folder / "stripe", "--set", setting), 2, words)

    def test_too_many_failures_in_a_row(self):
        config = self.stripe / "absent.toml"
        config.write_text(self.config.read_text().replace('list = "fields.txt"', 'fields = ["94-1-500", "94-1-501", "94-1-502"]'))
        for ranks in (0, 2):
            run = self.catalog(config, self.folder / f"out{ranks}", "--most-failures", 1 if ranks else 2, ranks=ranks)
            self.assertEqual(run.code, 3, run)
            self.assertIn(f"{1 if ranks else 2} fields in a row have failed here", run.err)
        # What has failed before is tried last and does not count: the same command comes to an end.
        self.assertEqual(self.catalog(config, self.folder / "out0", "--most-failures", 2).code, 1)
        self.assertEqual(self.catalog(config, self.folder / "out0", "--most-failures", 2).code, 1)
        self.assertEqual(self.catalog(config, self.folder / "out1", "--most-failures", 0).code, 1)

    def test_one_run_at_a_time(self):
        out = self.folder / "out"
        first = start("catalog", self.config, "--set", f"model={self.model}", "-o", out)
        deadline = time.monotonic() + TIMEOUT_S
        while not list(out.glob("journal/*.journal")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGSTOP)
        try:
            self.assertFails(self.catalog(self.config, out, "--wait", 1), 3, "another run is at work in this folder")
        finally:
            os.kill(first.pid, signal.SIGCONT)
        self.assertEqual(finish(first).code, 1)


if __name__ == "__main__":
    unittest.main()
