"""A disk that fills up: the error names the file and the disk, and nothing half-written stays behind.

The disk is a tiny file system in memory. Where mounting is not allowed (not root, a container), those tests are skipped; files that
may not grow (a resource limit, which anybody may set) meet the same errors and are tested everywhere.
"""

import shutil
import subprocess
import sys
import unittest

from support import SIMULATION, Case, bliss, contents, read_safetensors, simulate
from training import CONFIG, STEPS

NO_SPACE = "o space"  # the system's "No space left on device", or advice about free space


def results(folder):
    """Contents of a run's output folder without what tells of each field's seconds, which a run begins anew."""
    return {path: value for path, value in contents(folder).items() if "run-fields/" not in path}


class DiskFull(Case):
    def mount(self, kilobytes):
        """An empty disk of this size, taken down after the test."""
        disk = self.folder / "disk"
        disk.mkdir(exist_ok=True)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", disk], capture_output=True, text=True)
        if mounted.returncode != 0:
            reason = f"NOT TESTED: full disks ({self.id()}): cannot mount a tmpfs here: {mounted.stderr.strip()}"
            print(f"\n*** {reason}", file=sys.stderr)
            self.skipTest(reason)
        self.addCleanup(subprocess.run, ["umount", disk], check=True)
        return disk

    def resize(self, disk, kilobytes):
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", disk], check=True)

    def fill(self, disk):
        with open(disk / "filler", "wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * 4096) == 4096:
                    pass
            except OSError:
                pass

    def assertFull(self, run, *words):
        self.assertFails(run, 3, *words)
        self.assertRegex(run.problems()[0], r"space|disk is not full", run)


class Survey(DiskFull):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.shared / "survey"
        cls.config = cls.survey / "catalog.toml"
        cls.done = cls.shared / "done"
        cls.runs = [simulate(cls.survey, 2), cls.catalog(cls.config, cls.done, "--floor", "0.002")]

    def setUp(self):
        super().setUp()
        for run in self.runs:
            self.assertDone(run)
        self.size_kb = (self.done / "catalog.h5").stat().st_size // 1024

    def run_catalog(self, disk, ranks):
        return self.catalog(self.config, disk / "out", "--floor", "0.002", ranks=ranks)

    def test_catalog(self):
        """Full in the journal, and in the catalogue that is made of it; when there is space again the run goes on."""
        for kilobytes, name in ((16, "journal"), (100, "journal"), (self.size_kb // 4 * 3, "journal"),
                                (self.size_kb // 2 * 3, "catalog.h5")):
            for ranks in (0, 2):
                with self.subTest(kilobytes=kilobytes, ranks=ranks):
                    disk = self.mount(kilobytes)
                    self.assertFull(self.run_catalog(disk, ranks), name, NO_SPACE)
                    self.assertIn({path.name for path in (disk / "out").iterdir()}, ({"journal"}, {"journal", "run-fields"}))
                    self.resize(disk, 4 * self.size_kb)
                    self.assertDone(self.run_catalog(disk, 2 - ranks))
                    self.assertEqual((disk / "out/catalog.h5").read_bytes(), (self.done / "catalog.h5").read_bytes())

    def test_earlier_catalogue_stays(self):
        for kilobytes, name in ((self.size_kb + 100, "journal"), (self.size_kb // 2 * 5, "catalog.h5")):
            with self.subTest(name):
                disk = self.mount(kilobytes)
                shutil.copytree(self.done, disk / "out")
                before = results(disk)
                self.assertFull(self.run_catalog(disk, 2), name, NO_SPACE)
                after = results(disk)
                self.assertEqual({path: after[path] for path in before}, before)
                self.assertEqual({path.split("/")[1] for path in after if path not in before}, {"journal"})

    def test_simulate(self):
        disk = self.mount(500)
        self.assertFull(simulate(disk / "survey", 2), "frame-0001.fits")
        self.assertNoLeftovers(disk)
        expected = contents(self.survey)
        written = {name: value for name, value in contents(disk / "survey").items() if name.startswith(("frame", "mask", "truth"))}
        self.assertGreater(len(written), 3)
        for name, value in written.items():
            self.assertEqual(value, expected[name], name)

    def test_export(self):
        for kind in ("fits", "csv", "ds9"):
            with self.subTest(kind):
                disk = self.mount(12)
                path = disk / f"x.{kind}"
                self.assertFull(bliss("export", self.done / "catalog.h5", "--threshold", 0, "--format", kind, "-o", path), path)
                self.assertEqual(list(disk.iterdir()), [])

    def test_evaluate(self):
        disk = self.mount(16)
        self.fill(disk)
        truths = sorted(self.survey.glob("truth-*.fits"))
        self.assertFull(bliss("evaluate", self.done / "catalog.h5", "--truth", *truths, "--json", disk / "x.json"), "x.json")
        self.assertEqual([p.name for p in disk.iterdir()], ["filler"])

    def test_render(self):
        """Two FITS images take 620 kB, the picture tens more: each of the three is the one that does not fit."""
        for kilobytes, name in ((200, "model.fits"), (450, "residual.fits"), (628, "residual.png")):
            with self.subTest(name):
                disk = self.mount(kilobytes)
                self.assertFull(bliss("render", self.done / "catalog.h5", "--config", self.config, "--field", "0-0-0", "-o",
                                      disk / "out"), name)
                self.assertNoLeftovers(disk)
                self.assertNotIn(name, [p.name for p in (disk / "out").iterdir()])


class Train(DiskFull):
    def train(self, disk, ranks=0):
        config = self.shared / "train.toml"
        config.write_text(CONFIG)
        return bliss("train", config, "-o", disk / "out", ranks=ranks)

    def test_train(self):
        """Room for the configuration; for the best checkpoint too; for the model; for a checkpoint but not for the next beside it."""
        for kilobytes, name in ((12, "best.safetensors"), (2600, "model.safetensors"), (3600, "checkpoint.safetensors"),
                                (6500, "best.safetensors")):
            for ranks in (0, 2):
                with self.subTest(kilobytes=kilobytes, ranks=ranks):
                    disk = self.mount(kilobytes)
                    self.assertFull(self.train(disk, ranks), name, NO_SPACE)
                    self.assertNoLeftovers(disk)
                    for path in disk.rglob("*.safetensors"):
                        self.assertGreater(len(read_safetensors(path)[1]), 0, "what has its final name is whole")

    def test_goes_on_when_there_is_space_again(self):
        disk = self.mount(8000)
        self.assertFull(self.train(disk), "best.safetensors")
        self.assertEqual(read_safetensors(disk / "out/checkpoint.safetensors")[0]["step"], "2")
        self.resize(disk, 20000)
        self.assertIn("resuming at step 2", self.assertDone(self.train(disk)).err)
        self.assertEqual(read_safetensors(disk / "out/checkpoint.safetensors")[0]["step"], str(STEPS))

    def test_full_from_the_start(self):
        disk = self.mount(16)
        self.fill(disk)
        self.assertFull(self.train(disk), "config.toml")
        self.assertNoLeftovers(disk)


class FilesThatMayNotGrow(Case):
    TOO_LARGE = "File too large"

    def test_catalog_and_what_is_made_of_it(self):
        self.assertDone(simulate(self.folder / "survey", 1))
        config, out = self.folder / "survey/catalog.toml", self.folder / "out"
        self.assertDone(self.catalog(config, out, "--floor", "0.002"))
        before = results(out)
        whole = (out / "catalog.h5").stat().st_size
        for file_bytes, name in ((20_000, "journal"), (whole - 3_000, "catalog.h5")):  # a journal is smaller
            for ranks in (0, 2):
                with self.subTest(file_bytes=file_bytes, ranks=ranks):
                    run = self.catalog(config, out, "--floor", "0.002", ranks=ranks, file_bytes=file_bytes)
                    self.assertFails(run, 3, name, self.TOO_LARGE, "ulimit")
                    after = results(out)
                    self.assertEqual({path: after[path] for path in before}, before)
                    self.assertEqual({path.split("/")[0] for path in after if path not in before}, {"journal"})
        self.assertDone(self.catalog(config, out, "--floor", "0.002"))
        self.assertEqual(contents(out)["catalog.h5"], before["catalog.h5"])
        for kind in ("fits", "csv", "ds9"):
            path = self.folder / f"x.{kind}"
            self.assertFails(bliss("export", out / "catalog.h5", "--threshold", 0, "--format", kind, "-o", path, file_bytes=4_000), 3,
                             path)
            self.assertFalse(path.exists())
        self.assertFails(bliss("render", out / "catalog.h5", "--config", config, "--field", "0-0-0", "-o", self.folder / "picture",
                               file_bytes=100_000), 3, "model.fits")
        self.assertEqual(list((self.folder / "picture").iterdir()), [])

    def test_train(self):
        config = self.folder / "train.toml"
        config.write_text(CONFIG)
        run = bliss("train", config, "-o", self.folder / "out", file_bytes=50_000)
        self.assertFails(run, 3, "best.safetensors", self.TOO_LARGE)
        self.assertNoLeftovers(self.folder / "out")

    def test_simulate(self):
        run = bliss("simulate", SIMULATION, "-o", self.folder / "out", "--set", "frames=1", file_bytes=100_000)
        self.assertFails(run, 3, "frame-0000.fits")
        self.assertNoLeftovers(self.folder / "out")


if __name__ == "__main__":
    unittest.main()
