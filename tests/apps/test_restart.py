"""A run that is ended at any moment goes on where it was, on any number of ranks, and gives the same bytes."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
import unittest

import h5py
import numpy

from support import SHIPPED_MODEL, TIMEOUT_S, Case, bliss, finish, sha256, simulate, start

FRAMES = 8
KILLS = int(os.environ.get("BLISS_TEST_KILLS", "3"))
SEED = int(os.environ.get("BLISS_TEST_SEED", "20261127"))


class Restart(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.shared / "survey"
        simulate(cls.survey, FRAMES, threads=2)
        images = [f"frame-{i:04}.toml" for i in range(FRAMES)]
        images.insert(3, "absent.toml")
        cls.gap = cls.survey / "gap.toml"
        cls.gap.write_text(f'model = "{cls.model}"\nsamples = 4\n[survey]\nkind = "generic"\nimages = {json.dumps(images)}\n')
        cls.config = cls.survey / "all.toml"
        cls.config.write_text(cls.gap.read_text().replace('"absent.toml", ', ""))
        cls.reference = cls.shared / "reference"
        cls.first = bliss("catalog", cls.config, "-o", cls.reference)

    def setUp(self):
        super().setUp()
        self.assertDone(self.first)
        self.expected = sha256(self.reference / "catalog.h5")
        self.out = self.folder / "out"

    def journals(self):
        return sorted((self.out / "journal").glob("*.journal"))

    def wait_for(self, condition, process):
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None and not condition():
            self.assertLess(time.monotonic(), deadline, "the run does not get on")
            time.sleep(0.005)

    def report(self):
        return json.loads((self.out / "run-report.json").read_text())

    def test_a_finished_run_leaves_no_journal(self):
        self.assertEqual(sorted(p.name for p in self.reference.iterdir()), ["catalog.h5", "run-fields", "run-report.json"])

    def test_killed_at_random_moments(self):
        """Ranks and moments are drawn; each attempt goes on with what the ones before it had finished."""
        draw = random.Random(SEED)
        kills = finished = 0
        for attempt in range(20 * KILLS):
            ranks = draw.choice([0, 1, 2, 3])
            process = start("catalog", self.config, "-o", self.out, ranks=ranks)
            delay, killed = draw.uniform(0.5, 4.0), False
            try:
                process.wait(delay)
            except subprocess.TimeoutExpired:
                kills += 1
                killed = True
                process.kill()
            run = finish(process)
            if not killed:
                self.assertEqual(run.code, 0, f"attempt {attempt}, seed {SEED}\n{run}")
                self.assertEqual(sha256(self.out / "catalog.h5"), self.expected, f"attempt {attempt}, seed {SEED}\n{run}")
                self.assertEqual(self.journals(), [])
                finished += 1
                if kills >= KILLS:
                    break
        self.assertGreaterEqual(kills, KILLS)
        self.assertGreater(finished, 0)
        self.assertDone(run)  # the last
        self.assertNoLeftovers(self.out)

    def test_goes_on_with_another_number_of_ranks(self):
        process = start("catalog", self.config, "-o", self.out)
        self.wait_for(lambda: any(p.stat().st_size > 100_000 for p in self.journals()), process)
        process.kill()
        finish(process)
        self.assertFalse((self.out / "catalog.h5").exists())
        for of in (self.out, self.out / "journal", *self.journals()):
            said = self.assertDone(bliss("info", of)).out
            self.assertRegex(said, r"journal, [1-7] field\(s\) of which 0 failed, \d+\.\d MB")
            self.assertRegex(said, r"configuration [0-9a-f]{64}\n  model [0-9a-f]{64}")
        self.assertIn("which the next attempt tries again", self.assertDone(bliss("info", self.out)).out)
        plan = self.assertDone(bliss("catalog", self.config, "-o", self.out, "--dry-run"))
        self.assertIn("are in the journal of earlier attempts", plan.err)
        run = self.assertDone(bliss("catalog", self.config, "-o", self.out, ranks=2))
        self.assertIn("are in the journal of earlier attempts", run.err)
        report = self.report()
        done = sum(rank["fields"] for rank in report["per_rank"])
        self.assertGreater(report["fields_done_before"], 0)
        self.assertEqual(done + report["fields_done_before"], FRAMES)
        self.assertEqual((report["attempt"], report["fields_left"]), (2, 0))
        lines = {path.name: [json.loads(line) for line in path.read_text().splitlines()] for path in (self.out / "run-fields").iterdir()}
        self.assertEqual(sorted(lines), ["00001-000000.jsonl", "00002-000000.jsonl", "00002-000001.jsonl"])
        self.assertEqual(len({line["field"] for of_rank in lines.values() for line in of_rank}), FRAMES)
        second = lines["00002-000000.jsonl"] + lines["00002-000001.jsonl"]
        self.assertEqual(len(second), done)
        self.assertTrue(all(line["detect_s"] > 0 for line in second))
        self.assertAlmostEqual(sum(line["total_s"] for line in second), report["all_ranks"]["total_s"], places=6)
        self.assertGreater(report["all_ranks"]["fields_per_s"], 0)
        self.assertIn("field(s), 0 of them failed, in", run.err)
        self.assertEqual(sha256(self.out / "catalog.h5"), self.expected)

    def test_a_signal_lets_the_present_field_finish(self):
        for ranks, number in ((0, signal.SIGUSR1), (0, signal.SIGTERM), (2, signal.SIGUSR1)):
            with self.subTest(ranks=ranks, signal=number):
                shutil.rmtree(self.out, ignore_errors=True)
                process = start("catalog", self.config, "-o", self.out, ranks=ranks)
                self.wait_for(lambda: any(p.stat().st_size > 100_000 for p in self.journals()), process)
                process.send_signal(number)
                run = finish(process)
                self.assertEqual(run.code, 4, run)
                self.assertRegex(run.out, r"stopped with \d of 8 field\(s\) left; the same command goes on")
                self.assertFalse((self.out / "catalog.h5").exists())
                self.assertGreater(self.report()["fields_left"], 0)
                self.assertDone(bliss("catalog", self.config, "-o", self.out))
                self.assertEqual(sha256(self.out / "catalog.h5"), self.expected)

    def test_failed_fields_are_tried_again(self):
        run = bliss("catalog", self.gap, "-o", self.out, ranks=2)
        self.assertFails(run, 1, "absent.toml")
        self.assertTrue(self.journals())
        again = bliss("catalog", self.gap, "-o", self.out)
        self.assertFails(again, 1, "absent.toml")
        self.assertEqual(self.report()["fields_done_before"], FRAMES)
        with h5py.File(self.out / "catalog.h5") as file:
            self.assertEqual(file["fields"]["status"].tolist(), [0, 0, 0, 1] + [0] * (FRAMES - 3))
        before = (self.out / "catalog.h5").read_bytes()
        try:
            for suffix in ("toml", "fits"):
                shutil.copyfile(self.survey / f"frame-0000.{suffix}", self.survey / f"absent.{suffix}")
            self.assertDone(bliss("catalog", self.gap, "-o", self.out))
        finally:
            for suffix in ("toml", "fits"):
                (self.survey / f"absent.{suffix}").unlink()
        self.assertNotEqual((self.out / "catalog.h5").read_bytes(), before)
        with h5py.File(self.out / "catalog.h5") as file:
            self.assertFalse(file["fields"]["status"].any())
            counts = file["fields"]["source_count"][:]
        self.assertEqual(counts[3], counts[0])
        self.assertEqual(self.journals(), [])

    def test_another_configuration_or_model_is_refused(self):
        process = start("catalog", self.config, "-o", self.out)
        self.wait_for(lambda: any(p.stat().st_size > 100_000 for p in self.journals()), process)
        process.kill()
        finish(process)
        kept = [sha256(p) for p in self.journals()]
        for ranks in (0, 2):
            run = bliss("catalog", self.config, "-o", self.out, "--threshold", "0.6", ranks=ranks)
            self.assertFails(run, 2, "is the journal of another run", "configuration", "model", "--fresh")
        self.assertEqual(len(set(run.problems()[0].split("configuration ")[k].split(",")[0] for k in (1, 2))), 2)
        self.assertEqual([sha256(p) for p in self.journals()], kept)
        fresh = self.assertDone(bliss("catalog", self.config, "-o", self.out, "--threshold", "0.6", "--fresh"))
        self.assertNotIn("earlier attempts", fresh.err)
        self.assertEqual(self.journals(), [])

    def test_another_image_among_those_of_a_wildcard(self):
        """Images are numbered as they come: a new one gives the others new numbers, and the journal's would be taken for theirs."""
        survey = shutil.copytree(self.survey, self.folder / "survey")
        config = survey / "wildcard.toml"
        config.write_text(f'model = "{self.model}"\n[survey]\nkind = "generic"\nimages = ["frame-*.toml"]\n')
        (survey / "frame-0007.fits").write_bytes(b"broken")
        self.assertEqual(bliss("catalog", config, "-o", self.out).code, 1)
        (self.out / "journal/complete").unlink()  # as if a second attempt at it had been killed
        shutil.copyfile(survey / "frame-0000.toml", survey / "frame-0000a.toml")
        self.assertFails(bliss("catalog", config, "-o", self.out), 2, "is the journal of another run", "images")

    def test_a_damaged_journal_is_named(self):
        process = start("catalog", self.gap, "-o", self.out)
        self.assertEqual(finish(process).code, 1)
        journal, = self.journals()
        data = bytearray(journal.read_bytes())
        data[len(data) // 2] ^= 1
        journal.write_bytes(data)
        run = bliss("catalog", self.gap, "-o", self.out, ranks=2)
        self.assertEqual(run.code, 3, run)
        self.assertIn("the disk has damaged it", run.err)


if __name__ == "__main__":
    unittest.main()
