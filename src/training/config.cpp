#include "bliss/training/config.hpp"

#include "bliss/core/error.hpp"
#include "bliss/tile/grid.hpp"

#include <fmt/format.h>

namespace bliss::training {

void describe(ConfigVisitor& visitor, TrainingConfig& config) {
    visitor.field("seed", config.seed, "of weights and simulated images", k_not_negative);
    visitor.field("steps", config.steps, "optimiser steps", Range{1, 4e9});
    visitor.field("images_per_step", config.images_per_step, "simulated images of one step, over all ranks", Range{1, 65536});
    visitor.field(
        "images_at_once", config.images_at_once,
        "images that one thread computes together: a step has work for images_per_step / images_at_once threads on all ranks; part "
        "of what decides the bits of the weights",
        Range{1, 1024});
    visitor.field("tiles_per_side", config.tiles_per_side, "labelled tiles along an image's side", Range{1, 512});
    visitor.field("sources_per_image", config.sources_per_image, "sources of each image, at most, whose type and shape are learnt",
                  Range{1, 1e6});
    visitor.field("learning_rate", config.learning_rate, "of the optimiser, at its highest", k_positive);
    visitor.field("warmup_steps", config.warmup_steps, "steps of linear warm-up", k_not_negative);
    visitor.field("final_learning_rate_share", config.final_learning_rate_share, "last learning rate against the highest (cosine)",
                  k_unit_interval);
    visitor.field("gradient_norm_limit", config.gradient_norm_limit, "gradients are scaled down to this norm", k_positive);
    visitor.field("weight_average_decay", config.weight_average_decay, "of the exponential average that becomes the model",
                  Range{0, 0.999999});
    visitor.field("most_skipped_steps", config.most_skipped_steps,
                  "steps left out because a loss or gradient is not finite; one more ends the training", k_not_negative);
    encoder::describe_precision(visitor, config.precision);
    encoder::describe_device(visitor, config.device);
    visitor.choice(
        "gradient_sums", config.gradient_sums,
        "what adds up gradients over ranks; auto: NCCL where each rank has a GPU of its own and the program was built with it, "
        "else MPI",
        {Choice<Summing>{"auto", Summing::automatic}, Choice<Summing>{"mpi", Summing::mpi}, Choice<Summing>{"nccl", Summing::nccl}});
    visitor.field("validation_images", config.validation_images, "fixed simulated images the average is judged on", k_not_negative);
    visitor.field("validation_every", config.validation_every, "steps between validations", Range{1, 1e9});
    visitor.field("patience", config.patience,
                  "validations in a row that are no better than the best before them, after which the training ends; 0: it goes on",
                  k_not_negative);
    visitor.field("checkpoint_every", config.checkpoint_every, "steps between checkpoints", Range{1, 1e9});
    visitor.field("keep_checkpoints", config.keep_checkpoints, "checkpoints that are kept, for the case that the disk damages the newest",
                  Range{1, 1e6});
    visitor.field("check_ranks_every", config.check_ranks_every, "steps between comparisons of the weights of all ranks", Range{1, 1e9});
    visitor.field("width_images", config.width_images,
                  "simulated images that encoder.width_terms are fitted to after the last step; 0: they stay as trained", Range{0, 1e5});
    visitor.section("encoder", config.encoder);
    visitor.section("galaxies", config.galaxies);
    visitor.section("simulator", config.simulator);
}

std::int64_t image_side_px(const TrainingConfig& config) { return config.tiles_per_side * config.encoder.tile_px + 2 * tile::k_padding_px; }

void check_training(const TrainingConfig& config, int ranks) {
    simulator::check_simulator(config.simulator);
    const std::int64_t pieces = (config.images_per_step + config.images_at_once - 1) / config.images_at_once;
    if (pieces < ranks) {
        throw ConfigError(
            fmt::format("{} ranks, but images_per_step ({}) and images_at_once ({}) make {} pieces of work in a step; use fewer "
                        "ranks, or more images a step",
                        ranks, config.images_per_step, config.images_at_once, pieces));
    }
    if (config.galaxies.size_unit_px_low > config.galaxies.size_unit_px_high) {
        throw ConfigError(fmt::format("galaxies: size_unit_px_low ({}) is above size_unit_px_high ({})", config.galaxies.size_unit_px_low,
                                      config.galaxies.size_unit_px_high));
    }
    encoder::check_encoder(config.encoder);
    if (config.encoder.flux_low_e > config.simulator.prior.label_flux_min_e) {
        throw ConfigError(
            fmt::format("encoder.flux_low_e ({}) is above simulator.prior.label_flux_min_e ({}): labelled sources would have no "
                        "density; make them equal",
                        config.encoder.flux_low_e, config.simulator.prior.label_flux_min_e));
    }
    if (config.tiles_per_side * config.encoder.tile_px % 4 != 0) {
        throw ConfigError(
            fmt::format("tiles_per_side ({}) of encoder.tile_px ({}) pixels are no whole number of 4-pixel cells; use an even number",
                        config.tiles_per_side, config.encoder.tile_px));
    }
    if (config.simulator.prior.galaxies == simulator::GalaxyModel::bulge_disk && !config.galaxies.model.empty()) {
        throw ConfigError(
            "galaxies.model is given, but simulator.prior.galaxies is \"bulge_disk\": set it to \"learnt\" or leave the model out");
    }
}

}  // namespace bliss::training
