"""Disks that fail while a run reads and writes, and a rank ten times as slow as the others: no hang, a clear message, and the same command
completes the run. Failing calls are those of a library that is loaded before the program (tests/support/faults.c)."""

import json
import os
import shutil
import signal
import threading
import time
import unittest
from pathlib import Path

import h5py

from support import REAL_CONFIG, REAL_FOLDER, REPO, Case, finish, sha256, start
from test_stripe import simulate_stripe

FAULTS = os.environ.get("BLISS_FAULTS", str(REPO / "build/release/lib/libbliss_faults.so"))
BAD_FRAME = "frame-r-000094-1-0012"


class Faults(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stripe = cls.shared / "stripe"
        cls.simulated = simulate_stripe(cls.stripe, "--set=stripe.broken_fields=0", "--set=stripe.fields_per_camcol=8",
                                        "--set=height_px=320", "--set=width_px=360")
        cls.config = cls.stripe / "catalog.toml"
        cls.first = cls.catalog(cls.config, cls.shared / "out")

    def setUp(self):
        super().setUp()
        self.assertDone(self.simulated)
        self.assertDone(self.first)
        self.assertTrue(Path(FAULTS).exists(), f"{FAULTS}: build the tests first")
        self.expected = sha256(self.shared / "out/catalog.h5")
        self.out = self.folder / "out"

    def run_with(self, ranks, **faults):
        before = dict(os.environ)
        os.environ.update({"LD_PRELOAD": FAULTS, "ASAN_OPTIONS": "verify_asan_link_order=0"})
        os.environ.update({f"BLISS_FAULT_{name.upper()}": str(value) for name, value in faults.items()})
        try:
            return self.catalog(self.config, self.out, ranks=ranks)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def assertCompletes(self, ranks):
        self.assertDone(self.catalog(self.config, self.out, ranks=ranks))
        self.assertEqual(sha256(self.out / "catalog.h5"), self.expected)

    def test_read_error_in_the_middle_of_a_frame(self):
        size = (self.stripe / f"94/1/{BAD_FRAME}.fits").stat().st_size
        for ranks in (0, 2):
            with self.subTest(ranks=ranks):
                shutil.rmtree(self.out, ignore_errors=True)
                run = self.run_with(ranks, read=BAD_FRAME, at=size // 2)
                self.assertFails(run, 1, "field 94-1-12 failed", BAD_FRAME)
                with h5py.File(self.out / "catalog.h5") as file:
                    rows = file["fields"][:]
                self.assertEqual([(r["run"], r["field"]) for r in rows if r["status"]], [(94, 12)])
                self.assertTrue((rows["source_count"][rows["status"] == 0] > 50).all())
                self.assertCompletes(2 - ranks)

    def test_read_error_in_a_compressed_frame(self):
        frame = self.folder / "data" / f"{BAD_FRAME}.fits.bz2"
        shutil.copytree(REAL_FOLDER, frame.parent)
        os.environ.update({"LD_PRELOAD": FAULTS, "BLISS_FAULT_READ": frame.name, "BLISS_FAULT_AT": str(frame.stat().st_size // 2)})
        try:
            run = self.catalog(REAL_CONFIG, self.out, "--set", f"survey.folder={frame.parent}")
        finally:
            for name in ("LD_PRELOAD", "BLISS_FAULT_READ", "BLISS_FAULT_AT"):
                del os.environ[name]
        self.assertFails(run, 1, "field 94-1-12 failed", frame.name, "reading the file failed; check the disk")

    def test_journal_that_cannot_be_synced_on_one_rank(self):
        """That rank throws; the others finish their fields and end."""
        for ranks, rank, call in ((0, 0, 1), (2, 1, 2), (3, 2, 1), (2, 0, 3)):
            with self.subTest(ranks=ranks, rank=rank, call=call):
                shutil.rmtree(self.out, ignore_errors=True)
                run = self.run_with(ranks, sync=call, rank=rank)
                self.assertFails(run, 3, "journal", "cannot be synced to disk: Input/output error", "kept for the next run")
                self.assertFalse((self.out / "catalog.h5").exists())
                self.assertCompletes(2)

    def test_read_error_in_a_journal(self):
        """What was kept cannot be read back when the catalogue is made of it."""
        for rank in (1, 2):  # which read no journal before the catalogue is written
            shutil.rmtree(self.out, ignore_errors=True)
            run = self.run_with(3, read=".journal", at=0, rank=rank)
            self.assertFails(run, 3, ".journal", "cannot be read: Input/output error")
            self.assertFalse((self.out / "catalog.h5").exists())
            self.assertNoLeftovers(self.out)
            self.assertCompletes(1)

    def is_second_rank(self, pid):
        try:
            environment, command = Path(f"/proc/{pid}/environ").read_bytes(), Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return b"OMPI_COMM_WORLD_RANK=1\0" in environment and str(self.out).encode() in command

    def test_a_slow_rank_holds_up_no_other(self):
        """One rank gets a tenth of the time; hand-out by request gives it fewer fields."""
        process = start("catalog", self.config, "--set", f"model={self.model}", "-o", self.out, ranks=2)
        slowed, done = [], threading.Event()
        while process.poll() is None and not slowed:
            slowed = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self.is_second_rank(pid)]
        while process.poll() is None and len(list(self.out.glob("journal/*.journal"))) < 2:  # both ranks have finished a field
            time.sleep(0.005)

        def slow_down():
            while not done.is_set():
                try:
                    os.kill(slowed[0], signal.SIGSTOP)
                    done.wait(0.09)
                    os.kill(slowed[0], signal.SIGCONT)
                except ProcessLookupError:
                    return
                time.sleep(0.01)

        thread = threading.Thread(target=slow_down)
        thread.start()
        try:
            run = finish(process)
        finally:
            done.set()
            thread.join()
        self.assertDone(run)
        self.assertEqual(len(slowed), 1)
        self.assertEqual(sha256(self.out / "catalog.h5"), self.expected)
        report = json.loads((self.out / "run-report.json").read_text())
        fast, slow = (rank["fields"] for rank in report["per_rank"])
        self.assertEqual(fast + slow, 16)
        self.assertGreaterEqual(fast, 10, report)


if __name__ == "__main__":
    unittest.main()
