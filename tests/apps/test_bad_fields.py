"""Fields that cannot be used: the run goes on, says which and why in one line, and ends with exit code 1."""

import bz2
import json
import shutil
import unittest
import warnings

import h5py
import numpy
from astropy.io import fits

from support import REAL_CONFIG, REAL_FOLDER, Case, simulate

FRAME, PSF, DETECTOR = "frame-r-000094-1-0012.fits", "psField-000094-1-0012.fit", "photoField-000094-1.fits"
HEIGHT, WIDTH = 200, 256  # of the corner of the real frame that is damaged, for speed


class BadFields(Case):
    def check_catalogue(self, folder, reasons):
        """All fields are in the catalogue; `reasons` holds for each a word of why it failed, or None."""
        self.assertNoLeftovers(folder)
        with h5py.File(folder / "catalog.h5") as file:
            fields, sources = file["fields"][:], file["catalog"][:]
        self.assertEqual(len(fields), len(reasons))
        for index, (field, reason) in enumerate(zip(fields, reasons)):
            self.assertEqual(field["status"], 0 if reason is None else 1, field["reason"])
            self.assertIn(reason or "", field["reason"].decode())
            self.assertEqual(field["source_count"] > 0, reason is None)
            self.assertEqual(bool(numpy.isfinite(field["background_e"])), reason is None)
            self.assertEqual((sources["field_index"] == index).sum(), field["source_count"])
        report = json.loads((folder / "run-report.json").read_text())
        failed = report["all_ranks"]["failed"]
        self.assertEqual(failed, sum(reason is not None for reason in reasons))


class Sdss(BadFields):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.good = cls.shared / "good"
        cls.good.mkdir()
        for name in (PSF, DETECTOR):
            shutil.copyfile(REAL_FOLDER / name, cls.good / name)
        with warnings.catch_warnings(action="ignore"), fits.open(REAL_FOLDER / f"{FRAME}.bz2") as frame:
            sky = frame[2].data
            columns = [fits.Column("ALLSKY", frame[2].columns["ALLSKY"].format, array=sky["ALLSKY"],
                                   dim=frame[2].columns["ALLSKY"].dim),
                       fits.Column("XINTERP", f"{WIDTH}E", array=sky["XINTERP"][:, :WIDTH]),
                       fits.Column("YINTERP", f"{HEIGHT}E", array=sky["YINTERP"][:, :HEIGHT])]
            fits.HDUList([fits.PrimaryHDU(frame[0].data[:HEIGHT, :WIDTH], frame[0].header),
                          fits.ImageHDU(frame[1].data[:WIDTH]),
                          fits.BinTableHDU.from_columns(columns)]).writeto(cls.good / FRAME)

    def setUp(self):
        super().setUp()
        self.data = self.folder / "data"
        shutil.copytree(self.good, self.data)
        self.frame = self.data / FRAME

    def run_catalog(self, *arguments, ranks=0):
        return self.catalog(REAL_CONFIG, self.folder / "out", "--set", f"survey.folder={self.data}", *arguments, ranks=ranks)

    def check_fails(self, name, *words, ranks=(0,)):
        for count in ranks:
            with self.subTest(ranks=count):
                self.assertFails(self.run_catalog(ranks=count), 1, "94-1-12", str(self.data / name), *words)
                self.check_catalogue(self.folder / "out", [name])

    def change_frame(self, change):
        with fits.open(self.frame) as hdus:
            change(hdus)
            hdus.writeto(self.folder / "changed.fits")
        (self.folder / "changed.fits").replace(self.frame)

    def test_undamaged(self):
        """What all others damage."""
        self.assertDone(self.run_catalog("--floor", "0.002"))
        self.check_catalogue(self.folder / "out", [None])

    def test_missing_image(self):
        self.frame.unlink()
        self.check_fails(FRAME, "no such file", "check the folder", ranks=(0, 2))

    def test_truncated_image(self):
        data = self.frame.read_bytes()
        for length in (len(data) // 2, 4000, 100, 0):
            self.frame.write_bytes(data[:length])
            with self.subTest(length=length):
                self.check_fails(FRAME, "fetch it again")

    def test_truncated_bz2(self):
        packed = bz2.compress(self.frame.read_bytes())
        self.frame.unlink()
        (self.data / f"{FRAME}.bz2").write_bytes(packed[:len(packed) // 2])
        self.check_fails(f"{FRAME}.bz2", "truncated", "fetch", ranks=(0, 2))

    def test_corrupt_bz2(self):
        packed = bytearray(bz2.compress(self.frame.read_bytes()))
        self.frame.unlink()
        for at in range(len(packed) // 2, len(packed) // 2 + 8):
            packed[at] ^= 0xFF
        (self.data / f"{FRAME}.bz2").write_bytes(packed)
        self.check_fails(f"{FRAME}.bz2", "corrupt", "fetch")

    def test_other_width_than_calibration(self):
        self.change_frame(lambda hdus: setattr(hdus[0], "data", hdus[0].data[:, :WIDTH - 6]))
        self.check_fails(FRAME, "HDU 1", f"{WIDTH} columns", str(WIDTH - 6))

    def test_other_height_than_sky(self):
        self.change_frame(lambda hdus: setattr(hdus[0], "data", hdus[0].data[:HEIGHT - 9]))
        self.check_fails(FRAME, "HDU 2", "sky", f"[{HEIGHT - 9}, {WIDTH}]")

    def test_all_nan(self):
        self.change_frame(lambda hdus: hdus[0].data.fill(numpy.nan))
        self.check_fails(FRAME, "no pixel is valid", "NaN", ranks=(0, 2))

    def test_no_sky_table(self):
        self.change_frame(lambda hdus: hdus.pop())
        self.check_fails(FRAME, "HDU 2")

    def test_sky_grid_that_is_no_number(self):
        self.change_frame(lambda hdus: hdus[2].data["XINTERP"].__setitem__((0, 5), numpy.nan))
        self.check_fails(FRAME, "XINTERP", "fetch")

    def test_another_fields_file(self):
        self.change_frame(lambda hdus: hdus[0].header.set("RUN", 95))
        self.check_fails(FRAME, "RUN = 95", "94 was expected")

    def test_another_bands_file(self):
        self.change_frame(lambda hdus: hdus[0].header.set("FILTER", "g"))
        self.check_fails(FRAME, "FILTER = g", "r was expected")

    def test_another_fields_psf(self):
        with fits.open(REAL_FOLDER / PSF) as hdus:
            hdus[0].header["FIELD"] = 13
            hdus.writeto(self.data / PSF, overwrite=True)
        self.check_fails(PSF, "FIELD = 13")

    def test_no_psf_file(self):
        (self.data / PSF).unlink()
        self.check_fails(PSF, "no such file", ranks=(0, 2))

    def test_psf_file_without_its_table(self):
        with fits.open(REAL_FOLDER / PSF) as hdus:
            fits.HDUList(hdus[:6]).writeto(self.data / PSF, overwrite=True)
        self.check_fails(PSF, "HDU 6")

    def test_psf_table_without_a_row(self):
        with fits.open(REAL_FOLDER / PSF) as hdus:
            hdus[6].data = hdus[6].data[:0]
            hdus.writeto(self.data / PSF, overwrite=True)
        self.check_fails(PSF, "HDU 6", "band r")

    def test_no_row_of_the_field(self):
        with fits.open(REAL_FOLDER / DETECTOR) as hdus:
            hdus[1].data = hdus[1].data[hdus[1].data["FIELD"] != 12]
            hdus.writeto(self.data / DETECTOR, overwrite=True)
        self.check_fails(DETECTOR, "FIELD = 12")

    def test_band_that_the_model_does_not_read(self):
        """Known before any frame is read: one line, and nothing written."""
        for ranks in (0, 2):
            run = self.run_catalog("--set", 'survey.band="g"', ranks=ranks)
            self.assertFails(run, 2, "survey.band", "'g'", "band 'r'")
            self.assertFalse((self.folder / "out").exists())


class Generic(BadFields):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.shared / "survey"
        cls.simulated = simulate(cls.survey, 2)
        with fits.open(cls.survey / "frame-0000.fits") as hdus:
            hdus[0].data[:] = numpy.nan
            hdus.writeto(cls.survey / "nan.fits")
            hdus[0].header["BUNIT"] = "nanomaggy"
            hdus.writeto(cls.survey / "nanomaggies.fits")
        fits.writeto(cls.survey / "small-mask.fits", numpy.zeros((30, 20), numpy.uint8))
        fits.writeto(cls.survey / "full-mask.fits", numpy.ones((300, 260), numpy.uint8))

    # Name: (what differs from a good image's configuration, words of the message)
    CASES = {
        "absent": ('image = "absent.fits"', ["absent.fits", "no such file"]),
        "hdu": ("hdu = 5", ["frame-0000.fits", "HDU 5", "1 HDUs"]),
        "table": ('image = "truth-0000.fits"\nhdu = 1', ["truth-0000.fits", "HDU 1", "table"]),
        "text": ('image = "catalog.toml"', ["catalog.toml", "not FITS"]),
        "nan": ('image = "nan.fits"', ["no part of the image has enough valid pixels"]),
        "band": ('band = "g"', ["frame-0000.fits", "band 'g'", "band 'r'"]),
        "mask": ('mask_image = "small-mask.fits"', ["small-mask.fits", "[30, 20]", "[300, 260]"]),
        "masked": ('mask_image = "full-mask.fits"', ["no part of the image has enough valid pixels"]),
        "all": ('mask_image = "full-mask.fits"\nbackground = "value"\nbackground_value = 900', ["no pixel is valid"]),
        "unit": ('unit = "photons"', ["unit", "photons", "electrons"]),
        "header": ('image = "nanomaggies.fits"', ["nanomaggies.fits", "BUNIT", "nanomaggy", "electrons"]),
        "psf": ("psf_fwhm_px = 0", ["psf_fwhm_px"]),
        "unknown": ('bnad = "r"', ["unknown.toml", "bnad", "did you mean 'band'"]),
        "range": ("gain_e_per_adu = -2", ["range.toml", "gain_e_per_adu", "positive"]),
    }

    def write_image(self, name, changes):
        values = {"image": '"frame-0000.fits"', "unit": '"electrons"', "psf_fwhm_px": "3"}
        values |= dict(line.split(" = ") for line in changes.splitlines())
        (self.survey / f"{name}.toml").write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
        return f"{name}.toml"

    def run_survey(self, images, ranks=0):
        config = self.survey / "survey.toml"
        config.write_text(f'[survey]\nkind = "generic"\nimages = {json.dumps(images)}\n')
        return self.catalog(config, self.folder, "--floor", "0.002", ranks=ranks)

    def test_each_alone(self):
        self.assertDone(self.simulated)
        self.assertDone(self.run_survey([self.write_image("good", "")]))
        self.check_catalogue(self.folder, [None])
        for name, (changes, words) in self.CASES.items():
            with self.subTest(name):
                self.assertFails(self.run_survey([self.write_image(name, changes)]), 1, "0-0-0", *words)
                self.check_catalogue(self.folder, [words[0]])

    def test_message_names_the_image(self):
        """Which of a thousand images has the wrong unit?"""
        for name in ("unit", "psf", "nan"):
            with self.subTest(name):
                self.assertFails(self.run_survey([self.write_image(name, self.CASES[name][0])]), 1, f"/{name}.")

    def test_all_among_good_ones(self):
        images, reasons = [], []
        for name, (changes, words) in self.CASES.items():
            images += [self.write_image(name, changes), f"frame-{len(images) // 2 % 2:04}.toml"]
            reasons += [words[0], None]
        run = self.run_survey(images, ranks=2)
        self.assertEqual(run.code, 1, run)
        self.assertEqual(len(run.problems()), len(self.CASES), run)
        self.assertIn(f"{len(images)} field(s) of which {len(self.CASES)} failed", run.out)
        self.check_catalogue(self.folder, reasons)


if __name__ == "__main__":
    unittest.main()
