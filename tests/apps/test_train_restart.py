"""A training that is ended at any moment goes on where it was, and ends with the same bytes."""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
import unittest

from support import TIMEOUT_S, contents, finish, read_safetensors, start
from training import STEPS, Train, count_lines, ranks_of, read_metrics

KILLS = int(os.environ.get("BLISS_TEST_KILLS", "3"))
SEED = int(os.environ.get("BLISS_TEST_SEED", "20261127"))


class Resume(Train):
    def test_killed_run_ends_with_the_same_bytes(self):
        run = self.folder / "run"
        step = self.interrupted(run, 6, lambda process: process.send_signal(signal.SIGKILL))
        again = self.assertDone(self.train(run))
        self.assertIn(f"resuming at step {step}", again.err)
        self.assertSameRun(run)

    def test_early_weights_are_not_the_last(self):
        """What the comparison above sees: a run that was not taken to its end."""
        run = self.folder / "run"
        self.interrupted(run, 3, lambda process: process.send_signal(signal.SIGKILL))
        ours, theirs = (read_safetensors(folder / "model.safetensors")[1] for folder in (run, self.straight))
        self.assertEqual(ours.keys(), theirs.keys())
        self.assertNotEqual(ours, theirs)

    def test_a_rank_dies_and_one_rank_goes_on(self):
        def kill_last_rank(mpirun):
            ranks = ranks_of(mpirun)
            self.assertEqual(len(ranks), 2)
            os.kill(ranks[-1], signal.SIGKILL)

        run = self.folder / "run"
        step = self.interrupted(run, 6, kill_last_rank, ranks=2)
        again = self.assertDone(self.train(run))
        self.assertIn(f"resuming at step {step}", again.err)
        self.assertSameRun(run)

    def test_a_second_run_in_the_folder_waits_for_the_first(self):
        run = self.folder / "run"
        first = self.start_and_wait_for_lines(run, 1)
        second = self.assertDone(self.train(run))
        self.assertDone(finish(first))
        self.assertIn("another run is at work in this folder; waiting for its end", second.err)
        self.assertIn(f"resuming at step {STEPS}", second.err)
        self.assertSameRun(run)

    def test_finished_run_has_nothing_to_do(self):
        run = self.copy_of_straight()
        before = contents(run)
        self.assertDone(self.train(run))
        self.assertEqual(contents(run), before)

    def test_fresh_starts_over(self):
        run = self.copy_of_straight()
        self.assertDone(self.train(run, "--fresh", "--set", "steps=2"))
        self.assertEqual(sorted(read_metrics(run)), [1, 2])
        self.assertEqual(self.checkpoint_step(run), 2)

    def test_fresh_run_killed_early_starts_over_again(self):
        """The old checkpoint is no longer there to be resumed."""
        run = self.copy_of_straight()
        process = start("train", self.config, "-o", run, "--fresh", "--set", "checkpoint_every=1000", "--set", "validation_every=1",
                        "--set", "steps=2000", "--quiet")
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None and count_lines(run / "metrics.jsonl") in (0, STEPS):
            self.assertLess(time.monotonic(), deadline, "the training does not get on")
            time.sleep(0.002)
        process.kill()
        self.assertNotEqual(finish(process).code, 0)
        self.assertEqual([path.name for path in run.glob("*.safetensors")], ["best.safetensors"])
        self.assertNotIn("resuming", self.assertDone(self.train(run)).err)
        self.assertSameRun(run)

    def check_refused(self, run, ranks):
        mine = read_safetensors(run / "checkpoint.safetensors")[0]["configuration"]
        other = mine.replace("seed = 4\n", "seed = 5\n")
        self.assertNotEqual(other, mine)
        refused = self.assertFails(self.train(run, "--set", "seed=5", ranks=ranks), 3, "checkpoint.safetensors",
                                   "another configuration", "--fresh")
        self.assertEqual(re.findall(r"\b[0-9a-f]{12}\b", refused.problems()[0]),
                         [hashlib.sha256(text.encode()).hexdigest()[:12] for text in (mine, other)])

    def test_checkpoint_of_another_configuration(self):
        run = self.copy_of_straight()
        before = contents(run)
        for ranks in (0, 2):
            with self.subTest(ranks=ranks):
                self.check_refused(run, ranks)
        for name in ("model.safetensors", "checkpoint.safetensors", "metrics.jsonl"):
            self.assertEqual(contents(run)[name], before[name], name)

    def test_refused_run_leaves_the_configuration(self):
        run = self.copy_of_straight()
        before = (run / "config.toml").read_text()
        self.train(run, "--set", "seed=5")
        self.assertEqual((run / "config.toml").read_text(), before, "config.toml must say how model.safetensors was made")

    def test_damaged_checkpoint(self):
        run = self.copy_of_straight()
        for older in run.glob("checkpoint-*.safetensors"):
            older.unlink()
        checkpoint = run / "checkpoint.safetensors"
        data = checkpoint.read_bytes()
        flipped = data[:-10] + bytes([data[-10] ^ 1]) + data[-9:]
        for damaged, word in ((data[:len(data) // 2], "truncated"), (data[:4], "header"), (b"\xff" * 100, "header"), (flipped, "damaged")):
            with self.subTest(word=word, size=len(damaged)):
                checkpoint.write_bytes(damaged)
                self.assertFails(self.train(run), 3, "checkpoint.safetensors", word, "--fresh")
                self.assertEqual(checkpoint.read_bytes(), damaged)

    def test_the_checkpoint_before_a_damaged_one(self):
        run = self.copy_of_straight()
        self.assertEqual([p.name for p in run.glob("checkpoint-*")], [f"checkpoint-{STEPS - 1}.safetensors"])
        checkpoint = run / "checkpoint.safetensors"
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
        again = self.assertDone(self.train(run))
        self.assertRegex(again.err, r"warning .*checkpoint.safetensors: .*the checkpoint before it is tried")
        self.assertIn(f"resuming at step {STEPS - 1}", again.err)
        self.assertSameRun(run)
        self.assertEqual([p.name for p in run.glob("checkpoint-*")], [f"checkpoint-{STEPS - 1}.safetensors"])
        checkpoint.write_bytes(b"damaged once more")
        self.assertIn(f"resuming at step {STEPS - 1}", self.assertDone(self.train(run)).err)
        self.assertSameRun(run)

    def test_a_run_that_is_asked_to_stop_goes_on_with_the_same_bytes(self):
        settings = ("--set", "checkpoint_every=1000", "--set", "steps=60")
        reference = self.folder / "reference"
        self.assertDone(self.train(reference, *settings))
        for number, ranks in ((signal.SIGUSR1, 0), (signal.SIGTERM, 0), (signal.SIGUSR1, 2)):
            with self.subTest(number=number, ranks=ranks):
                run = self.folder / f"{number}-{ranks}"
                process = start("train", self.config, "-o", run, *settings, ranks=ranks)
                deadline = time.monotonic() + TIMEOUT_S
                while count_lines(run / "metrics.jsonl") < 3:
                    self.assertLess(time.monotonic(), deadline, "the training does not get on")
                    time.sleep(0.002)
                os.kill(ranks_of(process)[-1] if ranks else process.pid, number)
                stopped = finish(process)
                self.assertEqual(stopped.code, 4, stopped)
                step = int(re.search(r"stopped at step (\d+) of 60", stopped.out)[1])
                self.assertEqual(self.checkpoint_step(run), step)
                self.assertIn(f"resuming at step {step}", self.assertDone(self.train(run, *settings)).err)
                self.assertSameFiles(run, reference)

    def test_asked_to_stop_while_galaxies_are_learnt(self):
        for ranks in (0, 2):
            with self.subTest(ranks=ranks):
                run = self.folder / f"{ranks}"
                process = start("train", self.config, "-o", run, "--set", "simulator.prior.galaxies=learnt",
                                "--set", "galaxies.steps=1000000", ranks=ranks)
                time.sleep(3)
                os.kill(ranks_of(process)[-1] if ranks else process.pid, signal.SIGTERM)
                stopped = finish(process)
                self.assertEqual(stopped.code, 4, stopped)
                self.assertIn(f"stopped at step 0 of {STEPS}", stopped.out)
                self.assertEqual(list(run.glob("*.safetensors")), [])

    def test_killed_between_the_best_and_a_checkpoint(self):
        """At a rate at which it unlearns: the best weights are others than the last, and than those of a checkpoint."""
        draw = random.Random(SEED)
        settings = ("--set", "learning_rate=0.05", "--set", "steps=30", "--set", "checkpoint_every=7")
        reference, run = self.folder / "reference", self.folder / "run"
        self.assertIn("validated better", self.assertDone(self.train(reference, *settings)).err)
        for _ in range(4):
            process = start("train", self.config, "-o", run, *settings)
            try:
                process.wait(draw.uniform(0.8, 3))
            except subprocess.TimeoutExpired:
                process.kill()
            finish(process)
        self.assertDone(self.train(run, *settings))
        self.assertSameFiles(run, reference)
        self.assertEqual(contents(run)["best.safetensors"], contents(reference)["best.safetensors"])
        ours, theirs = (read_metrics(folder) for folder in (run, reference))
        self.assertEqual({step: line["validation_loss"] for step, line in ours.items()},
                         {step: line["validation_loss"] for step, line in theirs.items()})

    def test_killed_at_random_moments(self):
        """Ranks, threads and moments are drawn. BLISS_TEST_KILLS=24 BLISS_TEST_SEED=1: 200 steps, 24 kills."""
        draw = random.Random(SEED)
        reference, run, steps = self.straight, self.folder / "run", STEPS
        if KILLS > 3:
            reference, steps = self.folder / "reference", 200
            self.assertDone(self.train(reference, "--set", "steps=200"))
        kills = 0
        for attempt in range(20 * KILLS):
            ranks, threads = draw.choice([(0, 1), (0, 2), (2, 1), (3, 1), (4, 1)])
            process = start("train", self.config, "-o", run, "--set", f"steps={steps}", "--threads", threads, ranks=ranks)
            try:
                process.wait(draw.uniform(0.3, 4))
                if kills < KILLS:  # done before its time: begin anew
                    self.assertSameFiles(run, reference)
                    shutil.rmtree(run)
            except subprocess.TimeoutExpired:
                if kills < KILLS:
                    kills += 1
                    victim = draw.choice(ranks_of(process) or [process.pid]) if ranks and draw.random() < 0.5 else process.pid
                    os.kill(victim, signal.SIGKILL)
            finished = finish(process)
            if finished.code == 0 and kills >= KILLS:
                break
        self.assertDone(finished)
        self.assertGreaterEqual(kills, KILLS)
        self.assertSameFiles(run, reference)
        print(f"{kills} kills, {attempt + 1} attempts, the same bytes after {steps} steps")


if __name__ == "__main__":
    unittest.main()
