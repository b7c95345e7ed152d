"""A small training, and what it is compared by."""

import json
import shutil
import time
from pathlib import Path

from support import TIMEOUT_S, Case, bliss, contents, finish, read_safetensors, start

STEPS = 20
CONFIG = f"""
seed = 4
steps = {STEPS}
images_per_step = 4
images_at_once = 1
tiles_per_side = 8
warmup_steps = 2
precision = "float32"
validation_images = 4
validation_every = 1
checkpoint_every = 1
width_images = 32

[encoder]
bands = ["r"]
width = 8
head_width = 8
source_width = 8
width_terms = 2
flux_low_e = 500

[simulator.conditions]
sources_per_tile_low = 0.05
sources_per_tile_high = 0.1
"""


def read_metrics(folder):
    """The record of each step, which stands once, also after a kill."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [record["step"] for record in records]
    assert steps == sorted(set(steps)), steps
    return dict(zip(steps, records))


def count_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def ranks_of(mpirun):
    """Process ids of the ranks that an mpirun started."""
    return sorted(int(pid) for task in Path(f"/proc/{mpirun.pid}/task").iterdir()
                  for pid in (task / "children").read_text().split())


class Train(Case):
    """One straight run is what all others are compared with."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.config = cls.shared / "train.toml"
        cls.config.write_text(CONFIG)
        cls.straight = cls.shared / "straight"
        cls.first_run = cls.train(cls.straight)

    def setUp(self):
        super().setUp()
        self.assertDone(self.first_run)

    @classmethod
    def train(cls, output, *arguments, ranks=0):
        return bliss("train", cls.config, "-o", output, *arguments, ranks=ranks)

    def copy_of_straight(self):
        return Path(shutil.copytree(self.straight, self.folder / "run"))

    def start_and_wait_for_lines(self, folder, lines, ranks=0):
        process = start("train", self.config, "-o", folder, "--quiet", ranks=ranks)
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None and count_lines(folder / "metrics.jsonl") < lines:
            self.assertLess(time.monotonic(), deadline, "the training does not get on")
            time.sleep(0.002)
        return process

    def checkpoint_step(self, folder):
        return int(read_safetensors(folder / "checkpoint.safetensors")[0]["step"])

    def interrupted(self, folder, lines, kill, ranks=0):
        """A run killed in the middle; where the machine was so slow to kill that the run ended, another."""
        for _ in range(5):
            process = self.start_and_wait_for_lines(folder, lines, ranks)
            if process.poll() is None:
                kill(process)
            run = finish(process)
            step = self.checkpoint_step(folder)
            if step < STEPS:
                self.assertNotEqual(run.code, 0, run)
                self.assertGreaterEqual(step, lines - 1)
                return step
            shutil.rmtree(folder)
        self.fail("the run could not be killed before its end")

    def assertSameRun(self, run):
        """Losses of all steps and all weights, bit by bit, are those of the straight run."""
        ours, theirs = read_metrics(run), read_metrics(self.straight)
        self.assertEqual(sorted(ours), list(range(1, STEPS + 1)))
        self.assertEqual(sorted(theirs), sorted(ours))
        for step, record in ours.items():
            for key in (key for key in record if "loss" in key or key in ("gradient_norm", "learning_rate")):
                self.assertEqual(record[key], theirs[step][key], f"step {step}, {key}")
        ours, theirs = (read_safetensors(folder / "model.safetensors")[1] for folder in (run, self.straight))
        self.assertEqual(ours.keys(), theirs.keys())
        self.assertGreater(len(ours), 10)
        for name in ours:
            self.assertEqual(ours[name], theirs[name], f"weights {name} differ")
        for name in ("model.safetensors", "checkpoint.safetensors", "config.toml"):
            self.assertEqual(contents(run)[name], contents(self.straight)[name], name)
        self.assertNoLeftovers(run)

    def assertSameFiles(self, run, reference):
        for name in ("model.safetensors", "checkpoint.safetensors"):
            self.assertEqual(contents(run)[name], contents(reference)[name], name)
