"""What the program writes can be read by what astronomers use, and says the same in every format."""

import csv
import hashlib
import re
import shutil
import struct
import unittest
import warnings
import zlib

import h5py
import numpy
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from support import HEIGHT_PX, REAL_CONFIG, REAL_FOLDER, WIDTH_PX, Case, bliss, sha256, simulate

UNITS = {"x_px": "px", "y_px": "px", "x_err_px": "px", "y_err_px": "px", "x_low_px": "px", "x_high_px": "px",
         "y_low_px": "px", "y_high_px": "px",
         "ra_deg": "deg", "dec_deg": "deg",
         "flux_nmgy": "nmgy", "flux_err_nmgy": "nmgy", "mag": "mag", "mag_err": "mag",
         "half_light_radius_px": "px", "half_light_radius_err_px": "px", "half_light_radius_low_px": "px",
         "half_light_radius_high_px": "px", "angle_deg": "deg", "angle_err_deg": "deg"}
SAMPLES = 6
MODE, FLOOR = 16, 0.05
SCHEMA = "5"
COUNTS = {"catalog": ("mode_rows", "mode_primary_rows"), "fields": (), "samples": ("draws",)}  # attributes of a dataset as a whole
OF_DRAWS = 128 | 256  # flags that only joint draws can set


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def read_png(path):
    """Width, height and all pixels (without undoing the filters) of a PNG; raises where it is damaged or cut off."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("no PNG signature")
    at, chunks = 8, []
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] != zlib.crc32(kind + body):
            raise ValueError(f"chunk {kind} is damaged")
        chunks.append((kind, body))
        at += 12 + length
    if chunks[-1][0] != b"IEND":
        raise ValueError("no end")
    width, height = struct.unpack(">II", chunks[0][1][:8])
    return width, height, zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))


class Catalogue(Case):
    """The real frame's catalogue. Its median probability is a threshold that keeps half of it, whatever the model."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.first_run = cls.catalog(REAL_CONFIG, cls.shared, "--samples", SAMPLES)
        cls.path = cls.shared / "catalog.h5"
        with h5py.File(cls.path) as file:
            cls.sources, cls.fields, cls.samples = file["catalog"][:], file["fields"][:], file["samples"][:]
            cls.attributes = {name: text(value) for name, value in file.attrs.items()}
            cls.member_attributes = {name: {key: text(value) for key, value in file[name].attrs.items()}
                                     for name in ("catalog", "fields", "samples")}
        cls.half = float(numpy.median(cls.sources["p_source"]))

    def setUp(self):
        super().setUp()
        self.assertDone(self.first_run)

    def test_attributes(self):
        self.assertEqual(self.attributes["schema_version"], SCHEMA)
        self.assertIn(f"bliss-mpi {self.attributes['program_version']}\n", bliss("--version").out)
        self.assertEqual(self.attributes["model_sha256"], sha256(self.model))
        configuration = self.attributes["configuration"]
        self.assertEqual(self.attributes["configuration_sha256"], hashlib.sha256(configuration.encode()).hexdigest())
        for line in (f'model = "{self.model}"', "sources_per_tile = 0.0065", 'fields = ["94-1-12"]', "floor = 0.05"):
            self.assertIn(line, configuration.splitlines())

    def test_every_member_has_its_unit_and_meaning(self):
        for dataset, rows in (("catalog", self.sources), ("fields", self.fields), ("samples", self.samples)):
            members = rows.dtype.names
            attributes = self.member_attributes[dataset]
            of_members = {f"{m}.{what}" for m in members for what in ("unit", "about")}
            self.assertEqual(set(attributes) - set(COUNTS[dataset]), of_members)
            for member in members:
                self.assertTrue(attributes[f"{member}.about"], member)
        for member in self.sources.dtype.names:
            self.assertEqual(self.member_attributes["catalog"][f"{member}.unit"], UNITS.get(member, ""), member)

    def test_counts(self):
        mode = (self.sources["flags"] & MODE) != 0
        counts = {name: int(self.member_attributes[dataset][name]) for dataset, names in COUNTS.items() for name in names}
        self.assertEqual(counts, {"mode_rows": mode.sum(), "mode_primary_rows": (mode & (self.sources["primary"] == 1)).sum(),
                                  "draws": SAMPLES})
        self.assertTrue(self.sources["primary"].all(), "of one field all are primary")

    def test_every_flag_is_explained(self):
        about = self.member_attributes["catalog"]["flags.about"]
        bits = int(numpy.bitwise_or.reduce(self.sources["flags"])) | MODE
        for bit in (1 << k for k in range(32) if bits >> k & 1):
            self.assertRegex(about, rf"\b{bit}\b")

    def test_field(self):
        self.assertEqual(len(self.fields), 1)
        field = self.fields[0]
        self.assertEqual([field[name] for name in ("run", "camcol", "field", "status", "first_source")], [94, 1, 12, 0, 0])
        self.assertEqual((text(field["band"]), text(field["reason"])), ("r", ""))
        self.assertEqual((field["height_px"], field["width_px"]), (1489, 2048))
        self.assertEqual(field["source_count"], len(self.sources))
        self.assertTrue(2 < field["psf_fwhm_px"] < 6 and 500 < field["background_e"] < 1500)

    def test_sources(self):
        s = self.sources
        self.assertGreater(len(s), 100)
        self.assertTrue(((s["p_source"] >= FLOOR) & (s["p_source"] <= 1)).all())
        self.assertTrue(((s["p_star"] >= 0) & (s["p_star"] <= 1)).all())
        for name, side in (("x_px", 2048), ("y_px", 1489)):  # the last tile row reaches beyond the frame, sources do not
            self.assertTrue(((s[name] >= -0.5) & (s[name] < side - 0.5)).all(), name)
        self.assertTrue((numpy.abs(s["x_px"] - 4 * s["tile_col"] - 1.5) < 6).all(), "no further than a neighbouring tile")
        numpy.testing.assert_allclose(s["mag"], 22.5 - 2.5 * numpy.log10(s["flux_nmgy"]), rtol=0, atol=1e-9)
        numpy.testing.assert_array_equal((s["flags"] & MODE) != 0, s["p_source"] >= 0.5)

    def test_shapes(self):
        s = self.sources
        for name in ("half_light_radius", "axis_ratio"):
            unit = "_px" if name == "half_light_radius" else ""
            low, value, high = (s[f"{name}{what}{unit}"] for what in ("_low", "", "_high"))
            self.assertTrue(((0 < low) & (low <= value) & (value <= high)).all(), name)
            self.assertTrue((s[f"{name}_err{unit}"] > 0).all(), name)
        self.assertTrue((s["axis_ratio_high"] <= 1).all())
        self.assertTrue(((s["angle_deg"] >= 0) & (s["angle_deg"] < 180) & (s["angle_err_deg"] > 0)).all())

    def test_samples(self):
        """Joint draws: as many as asked for, of as many sources as expected, and where the catalogue has them."""
        s = self.samples
        self.assertEqual(set(s["sample"]), set(range(SAMPLES)))
        self.assertEqual((self.fields["first_sample"][0], self.fields["sample_count"][0]), (0, len(s)))
        self.assertEqual(set(s["field_index"]), {0})
        expected = self.fields["expected_sources"][0]
        self.assertLess(abs(len(s) / SAMPLES - expected), 0.1 * expected)
        star = s["is_star"] == 1
        self.assertTrue(0.05 < star.mean() < 0.95)
        for name in ("half_light_radius_px", "axis_ratio", "angle_deg"):
            numpy.testing.assert_array_equal(numpy.isnan(s[name]), star, name)
        sure = self.sources[(self.sources["p_source"] > 0.99) & (self.sources["flags"] & 1 == 0)]
        self.assertGreater(len(sure), 100)
        for sample in range(SAMPLES):
            one = s[s["sample"] == sample]
            distance = numpy.hypot(one["x_px"][:, None] - sure["x_px"], one["y_px"][:, None] - sure["y_px"])
            self.assertGreater((distance.min(axis=0) < 2).mean(), 0.97)
            numpy.fill_diagonal(between := numpy.hypot(one["x_px"][:, None] - one["x_px"], one["y_px"][:, None] - one["y_px"]), 99)
            self.assertLess((between.min(axis=0) < 0.5).mean(), 0.02, "one source is not drawn twice")

    def test_without_samples_there_is_no_such_dataset(self):
        self.assertDone(self.catalog(REAL_CONFIG, self.folder))
        with h5py.File(self.folder / "catalog.h5") as file:
            self.assertNotIn("samples", file)
            sources = file["catalog"][:]
        for name in set(sources.dtype.names) - {"p_fit", "surroundings_sigma", "flags"}:
            numpy.testing.assert_array_equal(sources[name], self.sources[name], name)
        numpy.testing.assert_array_equal(sources["flags"], self.sources["flags"] & ~numpy.uint32(OF_DRAWS))

    def test_sky_positions_are_astropys(self):
        with warnings.catch_warnings(action="ignore"):
            wcs = WCS(fits.getheader(REAL_FOLDER / "frame-r-000094-1-0012.fits.bz2"))
        ra, dec = wcs.all_pix2world(self.sources["x_px"], self.sources["y_px"], 0)
        numpy.testing.assert_allclose(self.sources["ra_deg"], ra, rtol=0, atol=1e-8)
        numpy.testing.assert_allclose(self.sources["dec_deg"], dec, rtol=0, atol=1e-8)

    def assertSameTable(self, table, expected):
        self.assertEqual(tuple(table.colnames), expected.dtype.names)
        self.assertEqual(len(table), len(expected))
        for name in table.colnames:
            numpy.testing.assert_array_equal(numpy.asarray(table[name]), expected[name], err_msg=name)

    def test_astropy_reads_the_catalogue(self):
        self.assertSameTable(Table.read(self.path, path="catalog"), self.sources)
        self.assertEqual(len(Table.read(self.path, path="fields")), 1)

    def export(self, kind, threshold, expected):
        path = self.folder / f"exported.{kind}"
        run = bliss("export", self.path, "--format", kind, "--threshold", threshold, "-o", path)
        self.assertEqual(self.assertDone(run).out, f"{path}: {len(expected)} sources\n")
        self.assertNoLeftovers(self.folder)
        return path

    def kept(self):
        kept = self.sources[self.sources["p_source"] >= self.half]
        self.assertTrue(0 < len(kept) < len(self.sources), "the threshold must choose")
        return kept

    def test_fits(self):
        for threshold, expected in ((0, self.sources), (self.half, self.kept())):
            with self.subTest(threshold=threshold), warnings.catch_warnings(action="ignore"):
                path = self.export("fits", threshold, expected)
                self.assertSameTable(Table.read(path, hdu=1), expected)
        with fits.open(path) as hdus:
            hdus.verify("exception")
            self.assertEqual([hdu.name for hdu in hdus], ["PRIMARY", "CATALOG", "FIELDS"])
            header = hdus["CATALOG"].header
            self.assertEqual((header["MODELSHA"], header["SCHEMA"]), (sha256(self.model), int(SCHEMA)))
            self.assertEqual(header["CONFSHA"], self.attributes["configuration_sha256"])
            for column in hdus["CATALOG"].columns:
                unit = {"px": "pixel"}.get(UNITS.get(column.name), UNITS.get(column.name))  # the FITS standard's word
                self.assertEqual(column.unit, unit, column.name)
            fields = hdus["FIELDS"].data
            self.assertEqual((fields["first_source"][0], fields["source_count"][0]), (0, len(self.kept())))

    def test_csv(self):
        for threshold, expected in ((0, self.sources), (self.half, self.kept())):
            with self.subTest(threshold=threshold):
                with open(self.export("csv", threshold, expected), newline="") as file:
                    header, *rows = csv.reader(file)
                self.assertEqual(tuple(header), expected.dtype.names)
                self.assertEqual(len(rows), len(expected))
                for name, column in zip(header, zip(*rows)):
                    numpy.testing.assert_array_equal(numpy.array(column).astype(expected.dtype[name]), expected[name], name)

    def test_ds9(self):
        for threshold, expected in ((0, self.sources), (self.half, self.kept())):
            with self.subTest(threshold=threshold):
                lines = self.export("ds9", threshold, expected).read_text().splitlines()
                self.assertIn("icrs", lines)
                circles = [re.fullmatch(r'circle\(([^,]+),([^,]+),[\d.]+"\) # .*', line) for line in lines[3:]]
                self.assertEqual(len(circles), len(expected))
                numpy.testing.assert_allclose([float(c[1]) for c in circles], expected["ra_deg"], rtol=0, atol=1e-7)
                numpy.testing.assert_allclose([float(c[2]) for c in circles], expected["dec_deg"], rtol=0, atol=1e-7)

    def test_export_beside_the_catalogue(self):
        shutil.copyfile(self.path, self.folder / "mine.h5")
        self.assertDone(bliss("export", self.folder / "mine.h5"))
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["mine.fits", "mine.h5"])
        self.assertEqual(len(Table.read(self.folder / "mine.fits", hdu=2)), 1)

    def test_info(self):
        out = self.assertDone(bliss("info", self.path)).out
        self.assertIn(f"1 field(s), {len(self.sources)} candidates, {(self.sources['p_source'] >= 0.5).sum()} sources", out)
        self.assertIn(sha256(self.model), out)
        self.assertRegex(out, rf"94-1-12 +r +1489x2048 +{len(self.sources)} .* done\n")
        out = self.assertDone(bliss("info", self.model)).out
        self.assertRegex(out, r"bands r, tiles of 4 px, at most \d+ source\(s\) a tile, \d{5,} weights")
        self.assertRegex(out, r"trained \d+ steps on \d+ simulated tiles")

    def test_render(self):
        run = bliss("render", self.path, "--config", REAL_CONFIG, "--field", "94-1-12", "--threshold", self.half, "-o", self.folder)
        self.assertDone(run)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["model.fits", "residual.fits", "residual.png"])
        model, header = fits.getdata(self.folder / "model.fits", header=True)
        residual = fits.getdata(self.folder / "residual.fits")
        self.assertEqual((model.shape, residual.shape, header["BUNIT"]), ((1489, 2048), (1489, 2048), "electron"))
        self.assertTrue((model >= 0).all() and model.max() > 0)
        self.assertTrue(0.9 < numpy.median(numpy.abs(residual[residual != 0])) / 0.6745 < 1.3, "sky noise in sigmas")
        with warnings.catch_warnings(action="ignore"):
            ra, dec = WCS(header).all_pix2world(self.sources["x_px"], self.sources["y_px"], 0)
        numpy.testing.assert_allclose((ra, dec), (self.sources["ra_deg"], self.sources["dec_deg"]), rtol=0, atol=1e-8)
        width, height, pixels = read_png(self.folder / "residual.png")
        self.assertEqual((width, height), (3 * 1024 + 2 * 8, 744))
        self.assertEqual(len(pixels), height * (width + 1))


class Residual(Case):
    def test_is_data_minus_model_over_noise(self):
        """On a simulated frame, where the background is one number that its configuration holds."""
        survey, out = self.folder / "survey", self.folder / "out"
        self.assertDone(simulate(survey, 1))
        config = survey / "catalog.toml"
        self.assertDone(self.catalog(config, out))
        self.assertDone(bliss("render", out / "catalog.h5", "--config", config, "--set", f"model={self.model}", "--field",
                              "0-0-0", "--threshold", FLOOR, "-o", out))
        background = float(re.search(r"background_value = ([\d.]+)", (survey / "frame-0000.toml").read_text())[1])
        data, mask = (fits.getdata(survey / f"{kind}-0000.fits").astype(float) for kind in ("frame", "mask"))
        model = fits.getdata(out / "model.fits").astype(float)
        expected = numpy.where(mask != 0, 0, (data - background - model) / numpy.sqrt(background + model))
        self.assertEqual(expected.shape, (HEIGHT_PX, WIDTH_PX))
        numpy.testing.assert_allclose(fits.getdata(out / "residual.fits"), expected, rtol=1e-4, atol=1e-3)
        self.assertEqual(read_png(out / "residual.png")[:2], (3 * (WIDTH_PX // 2) + 2 * 8, HEIGHT_PX // 2))


if __name__ == "__main__":
    unittest.main()
