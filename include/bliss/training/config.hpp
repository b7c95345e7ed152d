#pragma once

#include "bliss/encoder/device.hpp"
#include "bliss/encoder/precision.hpp"
#include "bliss/encoder/settings.hpp"
#include "bliss/simulator/simulation.hpp"
#include "bliss/training/galaxies.hpp"

#include <cstdint>
#include <string>

namespace bliss::training {

/// What adds up gradients over ranks.
enum class Summing {
    automatic,  ///< NCCL where every rank has a GPU of its own and the program was built with it, else MPI
    mpi,
    nccl,
};

/// A training run: everything that, with the seed, decides the weights.
struct TrainingConfig {
    std::int64_t seed = 1;
    std::int64_t steps = 20000;
    std::int64_t images_per_step = 8;     ///< the global batch, over all ranks
    std::int64_t images_at_once = 2;      ///< of these, computed together on one thread
    std::int64_t tiles_per_side = 32;     ///< tiles with labels along an image's side; the image adds the padding
    std::int64_t sources_per_image = 64;  ///< of each image, at most, whose type and shape are learnt
    double learning_rate = 2e-3;
    std::int64_t warmup_steps = 200;
    double final_learning_rate_share = 0.01;
    double gradient_norm_limit = 5;
    double weight_average_decay = 0.999;
    std::int64_t most_skipped_steps = 20;  ///< steps that are left out because something is not finite
    encoder::Precision precision = encoder::Precision::automatic;
    encoder::DeviceChoice device = encoder::DeviceChoice::automatic;
    Summing gradient_sums = Summing::automatic;
    std::int64_t validation_images = 32;
    std::int64_t validation_every = 1000;
    std::int64_t patience = 0;  ///< validations without a better one that end the training early; 0: none do
    std::int64_t checkpoint_every = 1000;
    std::int64_t keep_checkpoints = 2;     ///< the newest, and some before it
    std::int64_t check_ranks_every = 100;  ///< steps
    std::int64_t width_images = 3000;      ///< simulated images that corrections of widths are fitted to, after the last step
    encoder::EncoderConfig encoder;
    GalaxyTrainingConfig galaxies;  ///< for simulator.prior.galaxies = "learnt"
    simulator::SimulatorConfig simulator;
};

void describe(ConfigVisitor& visitor, TrainingConfig& config);

/// Side of a simulated image: the labelled tiles and the padding, pixels.
[[nodiscard]] std::int64_t image_side_px(const TrainingConfig& config);

/// @throws ConfigError when the settings contradict each other or the global batch does not divide over the ranks.
void check_training(const TrainingConfig& config, int ranks);

}  // namespace bliss::training
