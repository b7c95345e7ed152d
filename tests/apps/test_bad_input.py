"""Bad configurations, models and output folders: one line that says what and where, exit code 2 or 3, nothing written."""

import re
import shutil
import struct
import unittest

from support import REAL_CONFIG, SIMULATION, Case, bliss, simulate


class Survey(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.shared / "survey"
        cls.simulated = simulate(cls.survey, 1)
        cls.config = cls.survey / "catalog.toml"

    def setUp(self):
        super().setUp()
        self.assertDone(self.simulated)
        self.out = self.folder / "out"

    def check_refused(self, code, arguments, *words, ranks=(0, 2)):
        for count in ranks:
            shutil.rmtree(self.out, ignore_errors=True)
            with self.subTest(arguments=list(map(str, arguments)), ranks=count):
                self.assertFails(bliss(*arguments, ranks=count), code, *words)
                self.assertFalse(self.out.exists(), "nothing should be written")

    def check_catalog_refused(self, code, options, *words, ranks=(0,)):
        self.check_refused(code, ["catalog", self.config, "-o", self.out, *options], *words, ranks=ranks)


class Configuration(Survey):
    def test_unknown_key(self):
        config = self.folder / "mine.toml"
        config.write_text('model = "x"\ntreshold = 0.4\n')
        self.check_refused(2, ["catalog", config, "-o", self.out], "mine.toml:2:", "treshold", "did you mean 'threshold'")
        config.write_text('[survey]\nfoldr = "x"\n')
        self.check_refused(2, ["catalog", config, "-o", self.out], "mine.toml:2:", "survey.foldr", "'survey.folder'", ranks=(0,))

    def test_unknown_key_of_each_command(self):
        config = self.folder / "mine.toml"
        config.write_text("sed = 1\n")
        for command in ("train", "simulate"):
            self.check_refused(2, [command, config, "-o", self.out], "mine.toml:1:", "did you mean 'seed'", ranks=(0,))

    def test_not_toml(self):
        config = self.folder / "mine.toml"
        config.write_text("model = \n")
        self.check_refused(2, ["catalog", config, "-o", self.out], "mine.toml:1:", ranks=(0,))

    def test_missing_file(self):
        self.check_refused(2, ["catalog", self.folder / "absent.toml", "-o", self.out], "absent.toml")

    def test_wrong_type_and_range(self):
        config = self.folder / "mine.toml"
        for line, word in (("threshold = 7", "0 to 1"), ('threshold = "high"', "number"), ("survey = 3", "table"),
                           ('precision = "float16"', "bfloat16")):
            config.write_text(line + "\n")
            self.check_refused(2, ["catalog", config, "-o", self.out], "mine.toml:1:", line.split()[0], word, ranks=(0,))

    def test_set(self):
        for value, words in (("treshold=0.4", ["treshold", "did you mean 'threshold'"]),
                             ("survey.bnd=r", ["survey.bnd", "'survey.band'"]),
                             ("threshold", ["section.key=value"]),
                             ("threshold=abc", ["threshold", "number"]),
                             ("threshold=7", ["threshold", "0 to 1"]),
                             ("samples=5000", ["samples", "0 to 4096"]),
                             ("threshold.x=7", ["threshold"])):
            self.check_catalog_refused(2, ["--set", value], *words)

    @unittest.skipIf(shutil.which("nvidia-smi"), "there is a GPU here")
    def test_gpu_that_is_not_there(self):
        """Asked for by name it is an error; \"auto\" takes the cores."""
        self.check_catalog_refused(2, ["--set", f"model={self.model}", "--set", "device=cuda"], "device", "no GPU is seen", "auto")

    def test_set_is_named_as_the_place(self):
        """The error is on the command line, not in the file."""
        for value in ("treshold=0.4", "threshold=abc", "threshold=7"):
            self.check_catalog_refused(2, ["--set", value], f"--set {value}")

    def test_options_have_ranges_too(self):
        """--threshold 7 is the same mistake as threshold = 7."""
        for option in (["--threshold", "7"], ["--floor", "0"], ["--threshold", "0.01"], ["--samples", "5000"], ["--reconstruct"],
                       ["--reconstruct", "--samples", "7"]):
            self.check_catalog_refused(2, ["--set", f"model={self.model}", *option], option[0].strip("-"))

    def test_field_that_the_survey_does_not_hold(self):
        self.check_catalog_refused(2, ["--set", f"model={self.model}", "--field", "0-0-7"], "0-0-7")

    def test_field_that_is_none(self):
        self.check_refused(2, ["catalog", REAL_CONFIG, "-o", self.out, "--field", "94/1/12"], "94/1/12", ranks=(0,))

    def test_usage(self):
        for arguments, word in (([], "subcommand"), (["catalog"], "config is required"), (["export", "x", "--format", "xml"], "xml"),
                                (["catalog", "x", "--theshold", "1"], "theshold")):
            with self.subTest(arguments=arguments):
                run = bliss(*arguments)
                self.assertEqual(run.code, 2, run)
                self.assertIn(word, run.err)


class Model(Survey):
    """Every command that reads a model refuses a bad one."""

    def check(self, *words, name="bad.safetensors", ranks=(0,)):
        model = self.folder / name
        self.check_catalog_refused(3, ["--set", f"model={model}"], model, *words, ranks=ranks)
        self.check_refused(3, ["info", model], model, *words, ranks=(0,))

    def write(self, data):
        (self.folder / "bad.safetensors").write_bytes(data)

    def test_missing(self):
        self.check("no such file", name="absent.safetensors", ranks=(0, 2))

    def test_not_named(self):
        self.check_catalog_refused(2, [], "model")

    def test_truncated(self):
        data = self.model.read_bytes()
        self.write(data[:len(data) // 2])
        self.check("truncated", ranks=(0, 2))
        for length, word in ((len(data) - 1, "truncated"), (100, "truncated"), (4, "header"), (0, "header")):
            self.write(data[:length])
            self.check(word)

    def test_of_another_version(self):
        data = self.model.read_bytes()
        versions = re.findall(rb'"version":"(\d+)"', data)
        self.assertEqual(len(versions), 1)
        self.write(data.replace(b'"version":"%s"' % versions[0], b'"version":"9"'))
        self.check("version 9", f"version {versions[0].decode()}", ranks=(0, 2))

    def test_of_another_kind(self):
        self.write(self.model.read_bytes().replace(b'"format":"bliss-model"', b'"format":"other-model"'))
        self.check("not a bliss model")
        self.write(b"SIMPLE  =                    T" * 100)
        self.check("not a tensor file")

    def test_whose_metadata_are_no_texts(self):
        header = b'{"__metadata__":{"format":1}}'
        self.write(struct.pack("<Q", len(header)) + header)
        self.check()

    def test_whose_weights_are_missing(self):
        data = self.model.read_bytes()
        name = b'"detection.conv1.weight"'
        self.assertEqual(data.count(name), 1)
        self.write(data.replace(name, name.replace(b"weight", b"weighs")))  # the same bytes in the same order: not damaged
        self.check("detection.conv1.weight")

    def test_whose_weights_are_damaged(self):
        data = bytearray(self.model.read_bytes())
        data[-1000] ^= 0x10
        self.write(bytes(data))
        self.check("damaged")


class Output(Survey):
    """Below a regular file no folder can be made, not even by root."""

    def setUp(self):
        super().setUp()
        self.file = self.folder / "file"
        self.file.write_text("in the way")

    def check(self, *arguments, ranks=(0,)):
        for count in ranks:
            with self.subTest(arguments=list(map(str, arguments)), ranks=count):
                self.assertFails(bliss(*arguments, ranks=count), 3, self.file)
                self.assertEqual(self.file.read_text(), "in the way")
                self.assertEqual(list(self.folder.iterdir()), [self.file])

    def test_catalog(self):
        self.check("catalog", self.config, "--set", f"model={self.model}", "-o", self.file / "out", ranks=(0, 2))

    def test_train_and_simulate(self):
        small = ("--set", "encoder.width=4", "--set", "steps=1", "--set", "images_per_step=4", "--set", "tiles_per_side=2")
        config = self.shared / "train.toml"
        config.touch()
        self.check("train", config, *small, "-o", self.file / "out", ranks=(0, 2))
        self.check("simulate", SIMULATION, "-o", self.file / "out", ranks=(0, 2))

    def test_export_and_render(self):
        done = self.shared / "done"
        self.assertDone(self.catalog(self.config, done))
        for kind in ("fits", "csv", "ds9"):
            self.check("export", done / "catalog.h5", "--format", kind, "-o", self.file / "x")
        self.check("render", done / "catalog.h5", "--config", self.config, "--field", "0-0-0", "-o", self.file / "x")
        shutil.rmtree(done)


class Catalogue(Survey):
    def test_that_is_none(self):
        truth = self.survey / "truth-0000.fits"
        for path in (self.folder / "absent.h5", self.survey / "frame-0000.fits"):
            for command in (["export", path, "-o", self.out], ["evaluate", path, "--truth", truth],
                            ["render", path, "--config", self.config, "--field", "0-0-0", "-o", self.out]):
                self.check_refused(3, command, path, ranks=(0,))

    def test_that_is_truncated(self):
        whole = self.folder / "whole"
        self.assertDone(self.catalog(self.config, whole))
        data = (whole / "catalog.h5").read_bytes()
        broken = self.folder / "broken.h5"
        for length in (len(data) // 2, 1000, 100):
            broken.write_bytes(data[:length])
            self.check_refused(3, ["export", broken, "-o", self.out], broken, ranks=(0,))
            self.check_refused(3, ["info", broken], broken, ranks=(0,))


if __name__ == "__main__":
    unittest.main()
