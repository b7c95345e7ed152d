#include "bliss/training/trainer.hpp"

#include "bliss/comm/communicator.hpp"
#include "bliss/core/error.hpp"
#include "bliss/core/hash.hpp"
#include "bliss/fits/file.hpp"
#include "bliss/simulator/frames.hpp"
#include "bliss/simulator/runtime.hpp"
#include "support/temporary_folder.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <omp.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace bliss;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::WithinRel;

training::TrainingConfig small_config() {
    training::TrainingConfig config;
    config.steps = 200;
    config.images_per_step = 4;
    config.tiles_per_side = 8;
    config.images_at_once = 1;
    config.warmup_steps = 20;
    config.precision = encoder::Precision::float32;
    config.encoder = {.width = 24, .head_width = 48, .source_width = 4};  // wide enough for Muon's matrices
    config.simulator.conditions.sources_per_tile_low = 0.05;
    config.simulator.conditions.sources_per_tile_high = 0.1;
    return config;
}

}  // namespace

TEST_CASE("losses and weights have the same bits for any number of ranks and threads") {
    const simulator::Runtime runtime{1};
    const auto folder = std::filesystem::temp_directory_path();
    // All ranks together on one thread against each rank alone on three.
    const comm::Communicator world = comm::Communicator::world();
    training::Trainer together{small_config(), world};
    omp_set_num_threads(3);
    training::Trainer alone{small_config(), comm::Communicator::self()};
    const double untrained = alone.validate().loss;
    std::vector<double> losses;
    for (int step = 0; step < 20; ++step) {
        const training::StepReport report = alone.step();
        losses.insert(losses.end(), {report.loss, report.loss_type, report.gradient_norm});
    }
    const double trained = alone.validate().loss;
    CHECK(trained < untrained);  // it does learn
    omp_set_num_threads(1);
    for (int step = 0; step < 20; ++step) {
        const training::StepReport report = together.step();
        const auto k = static_cast<std::size_t>(3 * step);
        CHECK(report.loss == losses[k]);
        CHECK(report.loss_type == losses[k + 1]);
        CHECK(report.gradient_norm == losses[k + 2]);
    }
    CHECK(together.validate().loss == trained);
    const auto path_of = [&](const char* name) { return folder / (name + std::to_string(world.rank()) + std::to_string(::getpid())); };
    together.save_checkpoint(path_of("together"), "{}");
    alone.save_checkpoint(path_of("alone"), "{}");
    CHECK(sha256_of_file(path_of("together")) == sha256_of_file(path_of("alone")));
    std::filesystem::remove(path_of("together"));
    std::filesystem::remove(path_of("alone"));
}

TEST_CASE("a step with a loss that is not finite changes no weights; too many end the training") {
    const simulator::Runtime runtime{1};
    training::TrainingConfig config = small_config();
    config.learning_rate = 1e30;
    config.warmup_steps = 0;
    config.most_skipped_steps = 2;
    training::Trainer trainer{config, comm::Communicator::world()};
    CHECK_FALSE(trainer.step().skipped);
    CHECK(trainer.step().skipped);
    CHECK(trainer.step().skipped);
    CHECK_THROWS_AS(trainer.step(), Error);
}

TEST_CASE("what is written of a step's images is what the training saw") {
    const simulator::Runtime runtime{1};
    const test::TemporaryFolder folder;
    const training::TrainingConfig config = small_config();
    const std::int64_t side = training::image_side_px(config);
    // Images 1 and 2 of step 3, of a piece that begins with image 0.
    std::vector<float> electrons(static_cast<std::size_t>(3 * side * side));
    std::vector<std::uint8_t> valid(electrons.size());
    const simulator::SampleRange piece{static_cast<std::uint64_t>(config.seed), 3, 0};
    const auto truths = simulator::simulate(config.simulator, nullptr, piece, {{electrons.data(), 3, side, side}, valid.data()});
    simulator::FramesConfig frames;
    frames.seed = config.seed;
    frames.frames = 2;
    frames.height_px = frames.width_px = side;
    frames.simulator = config.simulator;
    simulator::write_samples(frames, nullptr, {piece.seed, piece.step, 1}, folder.path(), comm::Communicator::self());
    for (std::size_t k = 0; k < 2; ++k) {
        const std::string number = "-000" + std::to_string(k) + ".fits";
        auto file = fits::FitsFile::open(folder.path() / ("frame" + number));
        const Image<float> pixels = file.read_image<float>();
        auto masks = fits::FitsFile::open(folder.path() / ("mask" + number));
        const Image<std::uint8_t> mask = masks.read_image<std::uint8_t>();
        const std::size_t first = (k + 1) * static_cast<std::size_t>(side * side);
        CHECK(std::ranges::equal(pixels.pixels(), std::span{electrons}.subspan(first, pixels.pixels().size())));
        CHECK(std::ranges::equal(mask.pixels(), std::span{valid}.subspan(first, mask.pixels().size()),
                                 [](std::uint8_t masked, std::uint8_t seen) { return masked != seen; }));
        CHECK_THAT(file.read_key<double>("BACKGND"), WithinRel(truths[k + 1].conditions.background_e, 1e-12));
    }
}

TEST_CASE("weights that are not the same on all ranks are found") {
    const simulator::Runtime runtime{1};
    const comm::Communicator world = comm::Communicator::world();
    training::Trainer trainer{small_config(), world};
    const auto before = std::filesystem::temp_directory_path() / ("before" + std::to_string(world.rank()) + std::to_string(::getpid()));
    trainer.save_checkpoint(before, "notes");
    (void)trainer.step();
    CHECK_NOTHROW(trainer.check_ranks());
    if (world.rank() == world.size() - 1) CHECK(trainer.load_checkpoint(before) == "notes");
    std::filesystem::remove(before);
    if (world.size() > 1) {
        CHECK_THROWS_WITH(trainer.check_ranks(), ContainsSubstring("rank(s) " + std::to_string(world.size() - 1)));
    } else {
        CHECK_NOTHROW(trainer.check_ranks());
    }
}

TEST_CASE("widths are fitted after the last step: likelier on the images fitted to and on others, the same for any number of ranks") {
    const simulator::Runtime runtime{1};
    training::TrainingConfig config = small_config();
    config.encoder.width_terms = 3;
    config.encoder.components = 2;
    config.encoder.flux_low_e = config.simulator.prior.label_flux_min_e;
    config.width_images = 48;
    const comm::Communicator world = comm::Communicator::world();
    training::Trainer together{config, world};
    training::Trainer alone{config, comm::Communicator::self()};
    const training::StepReport untrained = alone.validate();
    const training::WidthReport a = together.fit_widths(), b = alone.fit_widths();
    CHECK(a.sources == b.sources);
    CHECK(b.sources > 100);
    CHECK(a.before == b.before);
    CHECK(a.after == b.after);
    CHECK(b.after < b.before - 0.01);
    const training::StepReport fitted = alone.validate();
    CHECK(fitted.loss == together.validate().loss);
    CHECK(fitted.loss_location + fitted.loss_flux < untrained.loss_location + untrained.loss_flux);
    CHECK(fitted.loss_count == untrained.loss_count);
    config.encoder.width_terms = 0;
    CHECK(training::Trainer(config, comm::Communicator::self()).fit_widths().sources == 0);
}

TEST_CASE("a least flux above the label limit is refused: labelled sources would have no density") {
    training::TrainingConfig config = small_config();
    config.encoder.flux_low_e = config.simulator.prior.label_flux_min_e;
    CHECK_NOTHROW(training::check_training(config, 1));
    config.encoder.flux_low_e *= 1.01;
    CHECK_THROWS_AS(training::check_training(config, 1), ConfigError);
}

TEST_CASE("the learning rate warms up and falls on a cosine") {
    training::TrainingConfig config = small_config();
    config.learning_rate = 1e-3;
    config.warmup_steps = 5;
    CHECK_THAT(training::learning_rate_at(config, 0), WithinRel(2e-4, 1e-12));
    CHECK_THAT(training::learning_rate_at(config, 4), WithinRel(1e-3, 1e-12));
    CHECK_THAT(training::learning_rate_at(config, 5 + 195 / 2), WithinRel(1e-3 * (0.01 + 0.99 * 0.5), 0.02));
    CHECK_THAT(training::learning_rate_at(config, 200), WithinRel(1e-5, 1e-9));
}
