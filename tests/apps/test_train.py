"""Training: the same bytes on any number of ranks and threads."""

import json
import math
import os
import re
import shutil
import time
import unittest
from pathlib import Path

import h5py
import numpy
from astropy.io import fits

from support import TIMEOUT_S, bliss, contents, finish, read_safetensors, simulate, start
from training import STEPS, Train, read_metrics


class LossCurve(Train):
    def test_straight_run_learns(self):
        metrics = read_metrics(self.straight)
        self.assertEqual(sorted(metrics), list(range(1, STEPS + 1)))
        for name in ("", "_count", "_location", "_flux", "_type"):
            self.assertIn(f"loss{name}", metrics[1])
            self.assertIn(f"validation_loss{name}", metrics[1])
        self.assertLess(metrics[STEPS]["validation_loss"], 0.8 * metrics[1]["validation_loss"])
        self.assertNoLeftovers(self.straight)

    def test_widths_are_fitted_at_the_end(self):
        fitted = re.search(r"widths fitted to (\d+) sources: location and flux (\S+) -> (\S+) nats", self.first_run.err)
        self.assertGreater(int(fitted[1]), 20)
        self.assertLess(float(fitted[3]), float(fitted[2]))
        # What is validated and written is what they were fitted to: all else is as without.
        self.assertDone(self.train(self.folder, "--set", "width_images=0"))
        ours, plain = (read_safetensors(folder / "model.safetensors")[1] for folder in (self.straight, self.folder))
        self.assertEqual([name for name in ours if ours[name] != plain[name]], ["detection.width_terms"])
        ours, plain = (read_metrics(folder)[STEPS] for folder in (self.straight, self.folder))
        for name in ("loss", "validation_loss"):
            self.assertEqual(ours[name], plain[name], name)
        for part in ("location", "flux"):
            self.assertNotEqual(ours[f"model_validation_loss_{part}"], plain[f"validation_loss_{part}"])
        self.assertLess(ours["model_validation_loss"], plain["validation_loss"])
        card = self.assertDone(bliss("info", self.straight / "model.safetensors")).out
        self.assertIn(str(ours["model_validation_loss"])[:12], card)

    def test_ranks_and_threads(self):
        for ranks, threads in ((2, 1), (3, 1), (4, 1), (0, 3), (2, 2)):
            with self.subTest(ranks=ranks, threads=threads):
                run = self.folder / f"{ranks}-{threads}"
                self.assertDone(self.train(run, "--threads", threads, ranks=ranks))
                self.assertSameRun(run)

    def test_another_seed_gives_another_curve(self):
        """What the comparison above sees: other images."""
        self.assertDone(self.train(self.folder, "--set", "seed=5"))
        ours, theirs = read_metrics(self.folder)[STEPS]["loss"], read_metrics(self.straight)[STEPS]["loss"]
        self.assertGreater(abs(ours - theirs), 1e-3 * abs(theirs))

    def catalogue_with(self, *settings):
        """Trains with these settings, catalogues a simulated frame, and gives its rows and draws."""
        model = self.folder / "trained/model.safetensors"
        self.assertDone(self.train(model.parent, "--fresh", *(word for setting in settings for word in ("--set", setting))))
        self.assertDone(simulate(self.folder / "survey", 1))
        self.assertDone(bliss("catalog", self.folder / "survey/catalog.toml", "--set", f"model={model}", "--set", "sources_per_tile=0.1",
                              "--floor", "0.02", "--samples", "3", "-o", self.folder / "out"))
        with h5py.File(self.folder / "out/catalog.h5") as file:
            sources, samples = file["catalog"][:], file["samples"][:]
        # No draw and no quantile is below the least flux of its posterior.
        self.assertGreaterEqual(samples["ln_flux_e"].min(), math.log(500))
        self.assertGreaterEqual(sources["ln_flux_e_low"].min(), math.log(500))
        return sources, samples

    def test_models_of_other_tiles_and_counts_catalogue(self):
        for name, settings in {"three sources": ["encoder.max_sources=3", "encoder.components=2"],
                               "independent tiles": ["encoder.reach=0"],
                               "anchored places": ["encoder.place_anchor=true"],
                               "tiles of 2 px": ["encoder.tile_px=2", "encoder.reach=2"]}.items():
            with self.subTest(name):
                sources, samples = self.catalogue_with(*settings)
                self.assertGreater(len(sources), 0)
                self.assertGreater(len(samples), 0)
                side = 2 if "tiles of 2 px" in name else 4
                off = numpy.abs(sources["x_px"] - side * sources["tile_col"] - (side - 1) / 2)
                self.assertTrue((off < 1.5 * side).all(), "no further than a neighbouring tile")
                self.assertTrue(numpy.isnan(sources["axis_ratio"]).all(), "trained without learnt galaxies")

    def test_learnt_galaxies(self):
        """The galaxy VAE comes first, is kept for the next run, and goes into the model and the simulator."""
        settings = ["simulator.prior.galaxies=learnt", "galaxies.steps=3", "galaxies.stamps_per_step=8", "galaxies.coupling_steps=3"]
        sources, samples = self.catalogue_with(*settings)
        self.assertTrue((sources["axis_ratio"] > 0).all())
        self.assertEqual(set(numpy.isnan(samples["axis_ratio"]) == (samples["is_star"] == 1)), {True})
        self.assertIn("loss_shape", read_metrics(self.folder / "trained")[STEPS])
        model = Path(shutil.copyfile(self.folder / "trained/model.safetensors", self.folder / "model.safetensors"))
        self.assertIn("learnt galaxies: 8 latents", self.assertDone(bliss("info", model)).out)
        again = self.train(self.folder / "trained", *(word for setting in settings for word in ("--set", setting)))
        self.assertIn("galaxies.safetensors is of these settings", self.assertDone(again).err)
        galaxies = self.folder / "trained/galaxies.safetensors"
        about = self.assertDone(bliss("info", galaxies)).out
        for words in ("galaxy decoder, 8 latents, 8 Gaussians", "ks_distances", "stamps_per_step = 8"):
            self.assertIn(words, about)
        self.replayed(self.folder / "trained/config.toml", self.folder / "replayed", "--replay", "3", "--images", "2")
        # What cannot be done is refused before anything is removed; a run that starts over removes them.
        kept = contents(self.folder / "trained")
        learnt = ("--fresh", "--set", "simulator.prior.galaxies=learnt")
        for source, reason in ((self.folder / "absent.safetensors", "absent.safetensors"), (galaxies, "would replace"),
                               (self.folder / "trained/model.safetensors", "would replace")):
            run = self.train(self.folder / "trained", *learnt, "--set", f"galaxies.model={source}", ranks=2)
            self.assertFails(run, 2 if reason == "would replace" else 3, reason)
        self.assertEqual(contents(self.folder / "trained"), kept)
        before = galaxies.read_bytes()
        other = [word for setting in [*settings, "galaxies.steps=4"] for word in ("--set", setting)]
        self.assertFails(self.train(self.folder / "trained", *other), 3, "another configuration")
        self.assertEqual(galaxies.read_bytes(), before)
        process = start("train", self.config, "-o", self.folder / "trained", "--fresh", *other, "--set", "galaxies.steps=100000")
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None and galaxies.exists():
            self.assertLess(time.monotonic(), deadline, "the training does not get on")
            time.sleep(0.01)
        process.kill()
        self.assertNotEqual(finish(process).code, 0)
        self.assertEqual(list(galaxies.parent.glob("*.safetensors")), [])
        frames = self.folder / "frames"
        self.assertDone(simulate(frames, 1, more=["--set", "simulator.prior.galaxies=learnt", "--set", f"galaxy_model={model}"]))
        with fits.open(frames / "truth-0000.fits") as hdus:
            truth = hdus["TRUTH"].data
        galaxies = truth[truth["IS_STAR"] == 0]
        self.assertTrue(((galaxies["AXIS_RATIO"] > 0) & (galaxies["AXIS_RATIO"] <= 1) & (galaxies["R_HALF_PX"] > 0)).all())
        self.assertFails(simulate(frames, 1, more=["--set", "simulator.prior.galaxies=learnt"]), 2, "galaxy_model")
        plain = self.straight / "model.safetensors"
        self.assertFails(simulate(frames, 1, more=["--set", "simulator.prior.galaxies=learnt", "--set", f"galaxy_model={plain}"]), 3,
                         "holds no galaxy decoder")
        self.assertFails(simulate(frames, 1, more=["--set", "simulator.prior.galaxies=learnt", "--set", f"galaxy_model={model}",
                                                   "--set", "simulator.prior.size_law=gamma"]), 2, "size_law")
        reused = self.train(self.folder / "reused", "--set", "simulator.prior.galaxies=learnt", "--set", f"galaxies.model={model}")
        self.assertDone(reused)
        self.assertNotIn("galaxies: step", reused.err)
        # From the configuration that a run leaves behind its galaxies are found, here another's.
        self.replayed(self.folder / "reused/config.toml", self.folder / "replayed-reused", "--replay", "3", "--images", "2")

    def replayed(self, config, output, *arguments, ranks=0):
        """The pixels of each image that `simulate --replay` writes."""
        self.assertDone(bliss("simulate", config, "-o", output, *arguments, ranks=ranks))
        images = []
        for path in sorted(output.glob("frame-*.fits")):
            self.assertTrue((output / path.name.replace("frame", "truth")).exists())
            with fits.open(path) as hdus:
                images.append(hdus[0].data.copy())
        self.assertEqual({image.shape for image in images}, {(8 * 4 + 48, 8 * 4 + 48)})
        return images

    def test_images_of_a_step_that_was_left_out(self):
        """The error says how to get at them, and these are they."""
        run = self.folder / "run"
        failed = self.train(run, "--set", "learning_rate=1e30", "--set", "warmup_steps=0", "--set", "most_skipped_steps=2")
        self.assertFails(failed, 3, "are not finite", "2 steps were left out before it", "most_skipped_steps")
        command = re.search(r"bliss-mpi (simulate config.toml --replay (\d+) --images (\d)-\d) in the output folder", failed.problems()[0])
        step, first = int(command[2]), int(command[3])
        arguments = command[1].split()[2:]
        ours = self.replayed(run / "config.toml", self.folder / "some", *arguments)
        self.assertEqual(len(ours), 1)
        every = self.replayed(run / "config.toml", self.folder / "all", "--replay", step, ranks=2)
        self.assertEqual(len(every), 4)
        numpy.testing.assert_array_equal(ours[0], every[first])
        self.assertGreater(numpy.abs(every[0] - every[1]).max(), 0)
        catalogued = bliss("catalog", self.folder / "all/catalog.toml", "--set", f"model={self.model}", "-o", self.folder / "seen")
        self.assertDone(catalogued)

    def test_replays_of_what_was_not_simulated(self):
        for arguments, words in ((("--replay", STEPS), ("--replay", f"steps 0 to {STEPS - 1}")),
                                 (("--replay", 1, "--images", "2-4"), ("--images 2-4", "0 to 3")),
                                 (("--replay", 1, "--images", "3-2"), ("--images 3-2",)),
                                 (("--replay", 1, "--images", "few"), ("--images few",))):
            run = bliss("simulate", self.config, "-o", self.folder / "out", *arguments, ranks=2)
            self.assertFails(run, 2, *words)
        self.assertFails(bliss("simulate", self.config, "-o", self.folder / "out", "--images", "1"), 2, "--replay")
        self.assertFalse((self.folder / "out").exists())

    def test_the_best_weights_are_kept(self):
        """At a rate at which it unlearns, a training ends early, with the weights that were best."""
        run = self.folder / "run"
        settings = ("--set", "learning_rate=0.05", "--set", "steps=300", "--set", "patience=4", "--set", "width_images=0")
        ended = self.assertDone(self.train(run, *settings, ranks=2))
        losses = {step: record["validation_loss"] for step, record in read_metrics(run).items()}
        best, last = (int(step) for step in re.search(
            r"the weights of step (\d+) are taken, which validated better than those of step (\d+)", ended.err).groups())
        self.assertEqual(last, best + 4)
        self.assertEqual(last, max(losses))
        self.assertLess(last, 300)
        ours, theirs = (read_safetensors(run / name) for name in ("checkpoint.safetensors", "best.safetensors"))
        self.assertEqual(ours[1], theirs[1])
        self.assertEqual(ours[0]["step"], str(best))
        about = json.loads(json.loads(read_safetensors(run / "model.safetensors")[0]["card"])["metrics"])
        self.assertAlmostEqual(about["validation_loss"], losses[best], places=12)
        # There is nothing to go on with.
        before = contents(run)
        self.assertDone(self.train(run, *settings))
        self.assertEqual(contents(run), before)

    def test_without_the_best_checkpoint_the_last_weights_are_taken(self):
        settings = ("--set", "learning_rate=0.05", "--set", "steps=300", "--set", "patience=4", "--set", "width_images=0",
                    "--set", "checkpoint_every=1000")
        run = self.folder / "run"
        process = start("train", self.config, "-o", run, *settings)
        deadline = time.monotonic() + TIMEOUT_S
        while process.poll() is None:  # each new one is damaged at once
            self.assertLess(time.monotonic(), deadline, "the training does not end")
            if (run / "best.safetensors").exists():
                os.truncate(run / "best.safetensors", 1000)
            time.sleep(0.001)
        ended = self.assertDone(finish(process))
        self.assertRegex(ended.err, r"warning .*best.safetensors: .*the weights of step \d+ are taken, though those of step \d+ validated")

    def test_evaluate_judges_a_model(self):
        model = self.straight / "model.safetensors"
        run = bliss("evaluate", model, "--tiles", "2000", "--json", self.folder / "scores.json", ranks=2)
        self.assertIn("nats a tile", self.assertDone(run).out)
        scores = json.loads((self.folder / "scores.json").read_text())
        self.assertGreaterEqual(scores["tiles"], 2000)
        alone = self.assertDone(bliss("evaluate", model, "--tiles", "2000", "--json", "-"))
        self.assertAlmostEqual(json.loads(alone.out)["nll"], scores["nll"], places=6)
        for option, value in (("--truth", model), ("--box", "20"), ("--x-column", "X")):
            self.assertFails(bliss("evaluate", model, option, value, ranks=2), 2, "is a model", option)

    def test_more_sources_than_a_tile_can_hold(self):
        self.assertFails(self.train(self.folder / "out", "--set", "encoder.max_sources=5"), 2, "encoder.max_sources", "1 to 4")

    def test_gpus_that_are_not_there(self):
        refused = {("gradient_sums=nccl", "device=cpu"): ("compute on cores", "auto")}
        if not shutil.which("nvidia-smi"):
            refused[("device=cuda",)] = ("no GPU is seen",)
        for settings, words in refused.items():
            for ranks in (0, 2):
                run = self.train(self.folder / "out", *(word for setting in settings for word in ("--set", setting)), ranks=ranks)
                self.assertFails(run, 2, *words)
                self.assertFalse((self.folder / "out").exists())

    def test_more_ranks_than_pieces_of_work(self):
        self.assertFails(self.train(self.folder / "out", "--set", "images_at_once=2", ranks=3), 2, "images_per_step (4)", "3 ranks")
        self.assertFalse((self.folder / "out").exists())


if __name__ == "__main__":
    unittest.main()
