"""The jobs under jobs/ on a SLURM cluster of two nodes, started on this machine (tools/slurm_cluster.sh)."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from support import REPO, SHIPPED_MODEL, TIMEOUT_S, Case, bliss, sha256, simulate

FRAMES = 6
CLUSTER = REPO / "tools/slurm_cluster.sh"


class Jobs(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        a_node = ["unshare", "-m", "-u", "sh", "-c", "hostname node && mount -t tmpfs tmpfs /tmp"]
        if os.geteuid() != 0 or not shutil.which("unshare") or subprocess.run(a_node, capture_output=True).returncode != 0:
            reason = "NOT TESTED: SLURM jobs: a cluster on one machine takes root, unshare, and leave to mount"
            print(f"\n*** {reason}", file=sys.stderr)
            raise unittest.SkipTest(reason)
        # Not under /tmp, of which each node has its own.
        (REPO / "build").mkdir(exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="slurm-test-", dir=REPO / "build")
        cls.addClassCleanup(folder.cleanup)
        cls.nodes_see = Path(folder.name)
        cls.nodes_see.chmod(0o755)  # munge has a user of its own
        at = ("--folder", str(cls.nodes_see / "cluster"), "--cpus", "2", "--port", "17500")
        cls.addClassCleanup(subprocess.run, [CLUSTER, "stop", *at], check=True)
        started = subprocess.run([CLUSTER, "start", *at], capture_output=True, text=True, timeout=600)
        if started.returncode != 0:
            raise AssertionError(f"the cluster does not start:\n{started.stdout}\n{started.stderr}")
        cls.environment = {**os.environ, "SLURM_CONF": str(cls.nodes_see / "cluster/slurm.conf")}
        cls.environment.pop("OMP_NUM_THREADS", None)
        cls.survey = cls.nodes_see / "survey"
        cls.model = shutil.copyfile(SHIPPED_MODEL, cls.nodes_see / "model.safetensors")
        cls.simulated = simulate(cls.survey, FRAMES, threads=2, more=["--set", "height_px=700", "--set", "width_px=900"])
        cls.config = cls.survey / "catalog.toml"
        cls.reference = bliss("catalog", cls.config, "--set", f"model={cls.model}", "-o", cls.nodes_see / "reference")

    def setUp(self):
        super().setUp()
        self.assertDone(self.simulated)
        self.assertDone(self.reference)
        self.out = Path(tempfile.mkdtemp(prefix="out-", dir=self.nodes_see))
        self.log = self.out.with_suffix(".log")

    def slurm(self, *command):
        return subprocess.run(list(map(str, command)), env=self.environment, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=REPO)

    def submit(self, job, *arguments, options=()):
        run = self.slurm("sbatch", "--parsable", f"--output={self.log}", "--cpus-per-task=1", *options, REPO / "jobs" / job, *arguments)
        self.assertEqual(run.returncode, 0, run.stderr)
        number = run.stdout.strip()
        self.addCleanup(self.slurm, "scancel", number)
        return number

    def submit_catalog(self):
        return self.submit("catalog.sbatch", self.config, self.out, "--set", f"model={self.model}")

    def wait(self, what, happened):
        deadline = time.monotonic() + TIMEOUT_S
        while not happened():
            self.assertLess(time.monotonic(), deadline, f"{what} did not happen\n{self.slurm('squeue').stdout}\n{self.said()}")
            time.sleep(0.2)

    def said(self):
        return self.log.read_text() if self.log.exists() else ""

    def finished(self, number):
        return self.slurm("squeue", "-h", "-j", number).stdout.strip() == ""

    def assertSameCatalogue(self):
        self.assertEqual(sha256(self.out / "catalog.h5"), sha256(self.nodes_see / "reference/catalog.h5"), self.said())
        self.assertFalse((self.out / "journal").exists())

    def test_catalogue_on_two_nodes(self):
        number = self.submit_catalog()
        self.wait("the end of the job", lambda: self.finished(number))
        self.assertIn("on node[1-2]", self.said())
        self.assertIn("ended with status 0", self.said())
        self.assertSameCatalogue()

    def test_a_job_that_is_warned_queues_itself_again(self):
        number = self.submit_catalog()
        self.wait("the first field", lambda: any(p.stat().st_size > 100_000 for p in self.out.glob("journal/*.journal")))
        self.assertEqual(self.slurm("scancel", "--signal=USR1", number).returncode, 0)
        self.wait("the end of the first attempt", lambda: "ended with status 4" in self.said())
        self.wait("the second attempt", lambda: "attempt 2" in self.said())
        self.wait("the end of the job", lambda: self.finished(number))
        self.assertIn("are in the journal of earlier attempts", self.said())
        self.assertSameCatalogue()

    def test_training_on_two_nodes(self):
        config = self.nodes_see / "train.toml"
        config.write_text((REPO / "configs/train/sdss-r.toml").read_text())
        small = ["steps=2", "images_per_step=2", "tiles_per_side=12", "validation_images=1", "width_images=0",
                 f"galaxies.model={self.model}"]
        number = self.submit("train.sbatch", config, self.out, *(word for setting in small for word in ("--set", setting)))
        self.wait("the end of the job", lambda: self.finished(number))
        self.assertTrue((self.out / "model.safetensors").exists(), self.said())
        self.assertDone(bliss("info", self.out / "model.safetensors"))


if __name__ == "__main__":
    unittest.main()
