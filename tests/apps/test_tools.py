"""The scripts of tools/ that users run: each once on small frames, and on input that it has to refuse."""

import json
import re
import subprocess
import sys
import unittest

from support import REAL_FOLDER, REPO, TIMEOUT_S, Case, Run, bliss, simulate


def tool(name, *arguments):
    command = [sys.executable, str(REPO / "tools" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    return Run(command, done.returncode, done.stdout, done.stderr)


class Tools(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.shared / "survey"
        cls.out = cls.shared / "out"
        cls.runs = [simulate(cls.survey, 1), cls.catalog(cls.survey / "catalog.toml", cls.out, "--samples", 8)]
        cls.truth = cls.survey / "truth-0000.fits"

    def setUp(self):
        super().setUp()
        for run in self.runs:
            self.assertDone(run)

    def assertSays(self, run, pattern):
        self.assertEqual(run.code, 0, run)
        self.assertRegex(run.out, pattern)

    def assertRefuses(self, run, *words):
        self.assertNotEqual(run.code, 0, run)
        self.assertNotIn("Traceback", run.err)
        for word in words:
            self.assertIn(word, run.err)

    def assertPicture(self, run, path):
        self.assertEqual(run.code, 0, run)
        self.assertTrue(path.read_bytes().startswith(b"\x89PNG"))

    def test_border_doubles(self):
        run = tool("border_doubles.py", self.out / "catalog.h5", self.truth, "--limit", "23")
        self.assertSays(run, r"all: +[1-9]\d* sources, missing in")
        self.assertRefuses(tool("border_doubles.py", self.out / "catalog.h5", self.truth, self.truth), "1 fields, but 2 truth files")
        self.assertDone(self.catalog(self.survey / "catalog.toml", self.folder))
        self.assertRefuses(tool("border_doubles.py", self.folder / "catalog.h5", self.truth), "no joint draws", "--samples")

    def test_tile_origin_refuses_what_is_not_there(self):
        self.assertRefuses(tool("tile_origin.py", self.folder), "catalog.toml: no such file")
        self.assertRefuses(tool("tile_origin.py", self.survey, "--bliss", "/absent/bliss-mpi"), "/absent/bliss-mpi: no such program")

    def test_sep_baseline(self):
        run = tool("sep_baseline.py", self.survey / "frame-0000.fits", "--truth", self.truth, "--limit", "22")
        self.assertSays(run, r"SEP at [\d.]+ sigma(.|\n)*recall +[1-9]")
        frame, photo = REAL_FOLDER / "frame-r-000094-1-0012.fits.bz2", REAL_FOLDER / "photoObj-000094-1-0012.fits"
        self.assertRefuses(tool("sep_baseline.py", frame, "--truth", photo, "--match-limit", "0.5"), "--match-limit", "simulated frames")

    def test_crowding_limit(self):
        frame = self.survey / "frame-0000.toml"
        self.assertSays(tool("crowding_limit.py", frame, "--windows", "2"), r"frame-0000 +\d\.\d\d ")
        self.assertRefuses(tool("crowding_limit.py", frame, "--side", "290"), "hold no window", "--side")
        self.assertRefuses(tool("crowding_limit.py", frame, "--windows", "0"), "--windows")

    def test_plots(self):
        picture = self.folder / "x.png"
        parts = ("count", "location", "flux", "type", "shape")
        losses = {f"{prefix}loss_{part}": 0.5 for prefix in ("", "validation_") for part in parts}
        metrics = self.folder / "metrics.jsonl"
        metrics.write_text("".join(json.dumps({"step": step, "loss": 1 / step, **losses}) + "\n" for step in (1, 2)) + '{"step": 3, "lo')
        self.assertPicture(tool("plot_training.py", metrics, picture), picture)
        metrics.write_text("")
        self.assertRefuses(tool("plot_training.py", metrics, picture), "no step yet")
        scores = self.folder / "scores.json"
        self.assertDone(bliss("evaluate", self.out / "catalog.h5", "--truth", self.truth, "--json", scores))
        picture.unlink()
        frame = self.survey / "frame-0000.fits"
        self.assertPicture(tool("plot_field.py", self.out / "catalog.h5", frame, picture, "--centre", 130, 150), picture)
        picture.unlink()
        self.assertPicture(tool("plot_calibration.py", scores, picture), picture)
        scores.write_text("{}")
        self.assertRefuses(tool("plot_calibration.py", scores, picture), "evaluate CATALOGUE --json")

    def test_every_script_explains_itself(self):
        scripts = sorted((REPO / "tools").glob("*.py"))
        self.assertGreater(len(scripts), 6)
        for script in scripts:
            with self.subTest(script.name):
                self.assertTrue(script.read_text().startswith("#!/usr/bin/env python3\n"))
                if not re.search(r"^import galsim|^from galsim", script.read_text(), re.M):  # only there to remake golden data
                    self.assertSays(tool(script.name, "--help"), "usage")


if __name__ == "__main__":
    unittest.main()
