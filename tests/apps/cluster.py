"""A SLURM cluster of two nodes on this machine (tools/slurm_cluster.sh), for tests that submit jobs."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from support import REPO, SHIPPED_MODEL, TIMEOUT_S, Case

CLUSTER = REPO / "tools/slurm_cluster.sh"


class ClusterCase(Case):
    """Skipped, loudly, where no cluster can be started. `nodes_see` is a folder of the class that all nodes see."""

    PORT = 17500

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
        cls.addClassCleanup(cls.cluster, "stop")
        cls.cluster("start")
        cls.environment = {**os.environ, "SLURM_CONF": str(cls.nodes_see / "cluster/slurm.conf")}
        cls.environment.pop("OMP_NUM_THREADS", None)
        cls.model = shutil.copyfile(SHIPPED_MODEL, cls.nodes_see / "model.safetensors")

    @classmethod
    def cluster(cls, command):
        """Starts what does not run of it, or stops all."""
        run = subprocess.run([CLUSTER, command, "--folder", cls.nodes_see / "cluster", "--cpus", "2", "--port", str(cls.PORT)],
                             capture_output=True, text=True, timeout=600)
        if run.returncode != 0:
            raise AssertionError(f"slurm_cluster.sh {command}:\n{run.stdout}\n{run.stderr}")

    def setUp(self):
        super().setUp()
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

    def wait(self, what, happened, timeout_s=TIMEOUT_S):
        deadline = time.monotonic() + timeout_s
        while not happened():
            self.assertLess(time.monotonic(), deadline, f"{what} did not happen\n{self.slurm('squeue').stdout}\n{self.said()}")
            time.sleep(0.2)

    def said(self):
        return self.log.read_text() if self.log.exists() else ""

    def finished(self, number):
        run = self.slurm("squeue", "-h", "-j", number)
        if run.returncode != 0 and "Invalid job id" not in run.stderr:
            return False  # nobody has answered
        return run.stdout.strip() == ""
