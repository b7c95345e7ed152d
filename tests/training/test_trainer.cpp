#include "bliss/training/trainer.hpp"

#include "bliss/comm/communicator.hpp"
#include "bliss/core/error.hpp"
#include "bliss/simulator/runtime.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>

namespace {

using namespace bliss;
using Catch::Matchers::WithinRel;

training::TrainingConfig small_config() {
    training::TrainingConfig config;
    config.steps = 200;
    config.images_per_step = 4;
    config.tiles_per_side = 8;
    config.warmup_steps = 300;  // as the shipped training: with large steps from the start rounding grows faster
    config.precision = encoder::Precision::float32;
    config.encoder = {.width = 24, .head_width = 48, .classifier_width = 4};  // wide enough for Muon's matrices
    config.simulator.conditions.sources_per_tile_low = 0.05;
    config.simulator.conditions.sources_per_tile_high = 0.1;
    return config;
}

}  // namespace

TEST_CASE("the loss curve does not depend on the number of ranks") {
    const simulator::Runtime runtime{1};
    // All ranks together against each rank alone: rounding of sums is what may differ.
    const comm::Communicator world = comm::Communicator::world();
    training::Trainer together{small_config(), world};
    training::Trainer alone{small_config(), comm::Communicator::self()};
    const double untrained = alone.validate().loss;
    for (int step = 0; step < 20; ++step) {
        const training::StepReport a = together.step(), b = alone.step();
        CHECK_THAT(a.loss, WithinRel(b.loss, 1e-5));
        CHECK_THAT(a.loss_type, WithinRel(b.loss_type, 1e-5));
    }
    const training::StepReport a = together.validate(), b = alone.validate();
    CHECK_THAT(a.loss, WithinRel(b.loss, 1e-5));
    CHECK(a.loss < untrained);  // it does learn
}

TEST_CASE("widths are fitted after the last step: likelier on the images fitted to and on others, with any number of ranks") {
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
    CHECK_THAT(a.before, WithinRel(b.before, 1e-4));
    CHECK_THAT(a.after, WithinRel(b.after, 2e-2));   // searches that end in one flat valley
    CHECK(b.after < b.before - 0.01);
    const training::StepReport fitted = alone.validate();
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
