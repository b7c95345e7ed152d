#pragma once

#include "bliss/comm/communicator.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/training/config.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

namespace bliss::training {

/// Seconds of one step on one rank; those of stages are summed over its threads.
struct StepTimes {
    double simulate_s = 0;  ///< images, their features and labels; on a GPU, where these are made meanwhile, what was waited for them
    double detect_s = 0;    ///< detection encoder, forward and backward
    double sources_s = 0;   ///< windows about sources; the encoder of their types and shapes
    double sum_s = 0;       ///< sums of gradients over ranks, from beginning to end
    double wait_s = 0;      ///< of it, what was waited for
    double optimise_s = 0;  ///< not summed over threads

    void add(const StepTimes& other);
};

/// Mean losses of one step over the global batch, nats.
struct StepReport {
    std::int64_t step = 0;     ///< steps done
    double loss = 0;           ///< per tile: count + location + flux
    double loss_all = 0;       ///< per tile: these, type and shape
    double loss_count = 0;     ///< per tile
    double loss_location = 0;  ///< per labelled source
    double loss_flux = 0;      ///< per labelled source
    double loss_type = 0;      ///< per labelled source
    double loss_shape = 0;     ///< per labelled galaxy
    double gradient_norm = 0;  ///< of the detection encoder
    double learning_rate = 0;
    bool skipped = false;  ///< something was not finite: a step changed no weights; a validation is without it
    StepTimes times;
};

/// What a fit of the widths of posteriors came to, nats.
struct WidthReport {
    double sources = 0;            ///< fitted to: those alone in their tile
    double before = 0, after = 0;  ///< -ln q of place and flux, a source
};

/// Trains the encoders (paper section 3.1) on simulated images, data-parallel over the ranks of a communicator.
///
/// Image i of step s is made from (seed, s, i) on whichever rank it falls. images_at_once images are computed together, on one thread, and
/// their gradients are added in fixed point (ExactSums): the weights have the same bits on all ranks, and for any number of ranks and
/// threads.
class Trainer {
public:
    /// @param galaxies the decoder of learnt galaxies, the same on all ranks; goes into the model @throws ConfigError. @collective
    Trainer(const TrainingConfig& config, const comm::Communicator& comm, std::optional<encoder::Galaxies> galaxies = {});
    ~Trainer();

    /// One optimiser step. A step with a loss or gradient that is not finite changes no weights. @throws Error on all ranks where more than
    /// config.most_skipped_steps were such. @collective
    StepReport step();

    /// Losses of the averaged weights on the fixed validation images. @collective
    StepReport validate();

    /// Fits the averaged networks' corrections of widths (encoder.width_terms) to config.width_images simulated images, where there are
    /// any. @collective
    WidthReport fit_widths();

    [[nodiscard]] std::int64_t steps_done() const;
    [[nodiscard]] std::int64_t steps_skipped() const;

    /// Checks that weights, averages and moments have the same bits on all ranks. @throws Error on all ranks, naming those that have
    /// others than rank 0. @collective
    void check_ranks() const;

    /// Writes everything needed to go on, atomically, with notes of the caller; call on rank 0. @throws IoError.
    void save_checkpoint(const std::filesystem::path& path, const std::string& notes);

    /// Goes on from a checkpoint of the same configuration. Every rank reads it. @return its notes
    /// @throws DataError when it is of another configuration or damaged.
    std::string load_checkpoint(const std::filesystem::path& path);

    /// The averaged weights with a model card; call on rank 0. @throws IoError.
    void save_model(const std::filesystem::path& path, const std::string& metrics_json);

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// The first of some checkpoints that is not damaged; an empty path where there is none at all.
/// @throws DataError where all are damaged, or that one is of another configuration.
[[nodiscard]] std::filesystem::path choose_checkpoint(const std::vector<std::filesystem::path>& newest_first, const TrainingConfig& config);

/// Why a file is not the checkpoint of this configuration at this step; empty where it is.
[[nodiscard]] std::string problem_with_checkpoint(const std::filesystem::path& path, const TrainingConfig& config, std::int64_t step);

/// Learning rate of a step (0-based): linear warm-up, then a cosine to the final share.
[[nodiscard]] double learning_rate_at(const TrainingConfig& config, std::int64_t step);

}  // namespace bliss::training
