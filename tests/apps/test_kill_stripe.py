"""A stripe on a SLURM cluster of two nodes, where at random moments a rank, all ranks, or a node is killed with signal 9; each restart has
another number of ranks. In the end the catalogue has the bytes that one undisturbed rank writes: no field is lost or there twice.

A short form by default. With 60 fields, from this folder, with the project's Python and BLISS_BINARY set as in tests/CMakeLists.txt
(BLISS_TEST_STRIPE=full: of full size, which takes most of an hour on two cores):

    BLISS_TEST_STRIPE=sixty BLISS_TEST_KILLS=24 BLISS_TEST_SEED=1 python -m unittest -v test_kill_stripe
"""

import collections
import os
import random
import re
import signal
import time
import unittest
from pathlib import Path

import h5py

from cluster import ClusterCase
from support import REPO, bliss, finish, sha256, start

KILLS = int(os.environ.get("BLISS_TEST_KILLS", "3"))
SEED = int(os.environ.get("BLISS_TEST_SEED", "20261127"))
STRIPE = os.environ.get("BLISS_TEST_STRIPE", "short")
FULL = STRIPE == "full"
SMALL_FIELDS = ["height_px=500", "width_px=600", "stripe.overlap_rows_px=64", "stripe.overlap_cols_px=64"]
SETTINGS = {"full": [], "sixty": SMALL_FIELDS,
            "short": [*SMALL_FIELDS, "stripe.camcols=1", "stripe.fields_per_camcol=6", "stripe.broken_fields=2"]}[STRIPE]
RUN_S = 1800 if FULL else 500  # also for SLURM to see that a node has lost its job
WORKER = "bliss-mpi"


def processes():
    """(pid, command line, UTS namespace) of what runs here."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            yield int(folder.name), (folder / "cmdline").read_text(errors="replace").split("\0"), os.readlink(folder / "ns/uts")
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue


def is_gone(pid):
    """Also where nobody has asked for its status yet."""
    try:
        return re.search(r"^State:\s*[ZX]", Path(f"/proc/{pid}/status").read_text(), re.M) is not None
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill(pids):
    """Kills them and waits for their end. How many of them were still there."""
    killed = []
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        except ProcessLookupError:
            pass
    while not all(map(is_gone, killed)):
        time.sleep(0.01)
    return len(killed)


class KillStripe(ClusterCase):
    PORT = 17600

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.environment["BLISS_MOST_RESTARTS"] = "0"  # each restart is to have another number of ranks
        cls.stripe = cls.nodes_see / "stripe"
        settings = [f"--set={setting}" for setting in SETTINGS]
        cls.simulated = bliss("simulate", REPO / "configs/simulate/stripe.toml", "-o", cls.stripe, *settings, threads=2)
        cls.reference = cls.run_alone(cls.nodes_see / "reference", 0)

    @classmethod
    def run_alone(cls, out, ranks):
        config = cls.stripe / "catalog.toml"
        return finish(start("catalog", config, "--set", f"model={cls.model}", "--samples", "2", "-o", out, ranks=ranks,
                            threads=1 if ranks else 2), RUN_S)

    def setUp(self):
        super().setUp()
        self.assertDone(self.simulated)
        self.assertEqual(self.reference.code, 1, self.reference)  # some fields are broken on purpose
        self.expected = sha256(self.nodes_see / "reference/catalog.h5")

    def submit_catalog(self, nodes, ranks):
        return self.submit("catalog.sbatch", self.stripe / "catalog.toml", self.out, "--set", f"model={self.model}", "--samples", "2",
                           options=[f"--nodes={nodes}", f"--ntasks-per-node={ranks // nodes}", "--overcommit"])

    def ranks(self):
        """(pid, UTS namespace) of the ranks of this test's job."""
        return [(pid, uts) for pid, command, uts in processes() if command[0].endswith(WORKER) and str(self.out) in command]

    def kill_something(self, kind, draw):
        """How many processes were killed."""
        if kind == "node":  # with its slurmd and all else that runs on it; then it is started again
            nodes = sorted({uts for _, uts in self.ranks()})
            if not nodes:
                return 0
            node = draw.choice(nodes)
            killed = kill(pid for pid, _, uts in processes() if uts == node)
            self.cluster("start")
            return killed
        ranks = [pid for pid, _ in self.ranks()]
        if kind == "rank" and ranks:
            ranks = [draw.choice(ranks)]
        return kill(ranks)

    def test_same_bytes_on_any_ranks(self):
        for ranks in (2, 4):
            out = self.nodes_see / f"ranks{ranks}"
            self.assertEqual(self.run_alone(out, ranks).code, 1)
            self.assertEqual(sha256(out / "catalog.h5"), self.expected, f"{ranks} ranks")

    def test_killed_at_random_moments(self):
        draw = random.Random(SEED)
        kills = collections.Counter()
        attempts = 0
        while True:
            nodes, ranks = draw.choice([(1, 1), (1, 2), (2, 2), (2, 4)])
            number = self.submit_catalog(nodes, ranks)
            attempts += 1
            self.assertLess(attempts, 20 * KILLS + 20, self.said())
            while not self.finished(number):
                if sum(kills.values()) >= KILLS:
                    self.wait("the end of the job", lambda: self.finished(number), RUN_S)
                    break
                self.wait("a rank at work", lambda: self.finished(number) or self.ranks(), RUN_S)
                time.sleep(draw.uniform(0.5, 30 if FULL else 6))
                kind = draw.choice(["rank", "all", "node"])
                if self.kill_something(kind, draw):
                    kills[kind] += 1
                    print(f"killed: {kind}, {nodes} node(s), {ranks} rank(s), {len(list(self.out.glob('journal/*')))} journals", flush=True)
                self.wait("the job's end or its next attempt", lambda: self.finished(number) or not self.ranks(), RUN_S)
            if (self.out / "catalog.h5").exists():
                same = sha256(self.out / "catalog.h5") == self.expected
                self.assertTrue(same, f"seed {SEED}, after {dict(kills)}\n{self.said()}")
                if sum(kills.values()) >= KILLS:
                    break
                # Done before its time: begin anew.
                for path in [*self.out.glob("journal/*"), self.out / "catalog.h5"]:
                    path.unlink()
        self.assertGreaterEqual(sum(kills.values()), KILLS)
        with h5py.File(self.out / "catalog.h5") as file:
            fields = [f"{r['run']}-{r['camcol']}-{r['field']}" for r in file["fields"][:]]
        listed = [line.split("#")[0].strip() for line in (self.stripe / "fields.txt").read_text().splitlines()]
        self.assertEqual(sorted(fields), sorted(listed))
        print(f"{sum(kills.values())} kills ({dict(kills)}), {attempts} jobs submitted, {len(fields)} fields, the same bytes")


if __name__ == "__main__":
    unittest.main()
