"""The jobs under jobs/ on a SLURM cluster of two nodes, started on this machine (tools/slurm_cluster.sh)."""

import socket
import tempfile
import unittest
from pathlib import Path

from cluster import ClusterCase
from support import BINARY, REPO, bliss, sha256, simulate

FRAMES = 6


class Jobs(ClusterCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.survey = cls.nodes_see / "survey"
        cls.simulated = simulate(cls.survey, FRAMES, threads=2, more=["--set", "height_px=700", "--set", "width_px=900"])
        cls.config = cls.survey / "catalog.toml"
        cls.reference = bliss("catalog", cls.config, "--set", f"model={cls.model}", "-o", cls.nodes_see / "reference")

    def setUp(self):
        super().setUp()
        self.assertDone(self.simulated)
        self.assertDone(self.reference)

    def submit_catalog(self, *arguments, options=()):
        return self.submit("catalog.sbatch", self.config, self.out, "--set", f"model={self.model}", *arguments, options=options)

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
        self.wait("the end of the first attempt", lambda: "left, the job queues itself again" in self.said())
        self.wait("the second attempt", lambda: "attempt 2" in self.said())
        self.wait("the end of the job", lambda: self.finished(number))
        self.assertIn("are in the journal of earlier attempts", self.said())
        self.assertSameCatalogue()

    def test_a_fresh_job_is_fresh_once(self):
        """An attempt that is ended from outside, its shell too, is gone on with."""
        number = self.submit_catalog("--fresh")
        self.wait("the first field", lambda: any(p.stat().st_size > 100_000 for p in self.out.glob("journal/*.journal")))
        self.assertEqual(self.slurm("scontrol", "requeue", number).returncode, 0)
        self.wait("the second attempt", lambda: "attempt 2" in self.said())
        self.wait("the end of the job", lambda: self.finished(number))
        self.assertIn("are in the journal of earlier attempts", self.said())
        self.assertSameCatalogue()
        self.assertEqual(list(self.out.glob(".job-*")), [])

    def test_a_step_that_is_not_started_is_tried_again(self):
        """What a node that was killed leaves behind is in the way of the next attempt, and srun's status is 0."""
        first = self.submit_catalog()
        self.wait("the end of the first job", lambda: self.finished(first))
        (self.out / "catalog.h5").unlink()
        for node in ("node1", "node2"):
            left = self.nodes_see / f"cluster/spool-{node}/stepd.slurm.pmix.{int(first) + 1}.0"
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(str(left))
        number = self.submit_catalog()
        self.assertEqual(int(number), int(first) + 1)
        self.wait("the end of the job", lambda: self.finished(number))
        self.assertIn("step 1 of the job was not started", self.said())
        self.assertIn("ended with status 0", self.said())
        self.assertSameCatalogue()

    def test_what_ends_by_itself_is_not_tried_again(self):
        for option, word in (("--help", "--samples"), ("--no-such-option", "--no-such-option")):
            number = self.submit_catalog(option)
            self.wait("the end of the job", lambda: self.finished(number))
            self.assertIn(word, self.said())
            self.assertNotIn("step 1 of the job", self.said())

    def test_a_step_that_is_ended_before_it_begins_is_tried_again(self):
        """As Open MPI 4.1.4 does it now and then: rank 1 crashes while the others start MPI."""
        programs = Path(tempfile.mkdtemp(prefix="bin-", dir=self.nodes_see))
        program = programs / "bliss-mpi"
        program.write_text(f"""#!/bin/sh
if [ "$SLURM_PROCID" = 1 ] && [ ! -e {programs}/ended ]; then
    : >{programs}/ended
    kill -SEGV $$
fi
exec {BINARY} "$@"
""")
        program.chmod(0o755)
        number = self.submit_catalog(options=[f"--export=ALL,BLISS_BIN={programs}"])
        self.wait("the end of the job", lambda: self.finished(number))
        self.assertRegex(self.said(), r"step 1 of the job was ended by a signal \(status \d+\) before the program began")
        self.assertIn("ended with status 0", self.said())
        self.assertSameCatalogue()

    def submit_training(self, *settings):
        config = self.nodes_see / "train.toml"
        config.write_text((REPO / "configs/train/sdss-r.toml").read_text())
        small = ["images_per_step=4", "images_at_once=1", "tiles_per_side=12", "validation_images=1", "width_images=0",
                 f"galaxies.model={self.model}"]
        return self.submit("train.sbatch", config, self.out, *(word for setting in [*small, *settings] for word in ("--set", setting)))

    def test_training_on_two_nodes(self):
        number = self.submit_training("steps=2")
        self.wait("the end of the job", lambda: self.finished(number))
        self.assertIn("ended with status 0", self.said())
        self.assertTrue((self.out / "model.safetensors").exists(), self.said())
        self.assertDone(bliss("info", self.out / "model.safetensors"))

    def test_a_training_that_is_warned_queues_itself_again(self):
        number = self.submit_training("steps=40", "validation_every=1", "checkpoint_every=1000")
        self.wait("the first steps", lambda: (self.out / "metrics.jsonl").exists())
        self.assertEqual(self.slurm("scancel", "--signal=USR1", number).returncode, 0)
        self.wait("the second attempt", lambda: "attempt 2" in self.said())
        self.wait("the end of the job", lambda: self.finished(number))
        self.assertRegex(self.said(), r"stopped at step \d+ of 40")
        self.assertIn("resuming at step", self.said())
        self.assertIn("ended with status 0", self.said())


if __name__ == "__main__":
    unittest.main()
