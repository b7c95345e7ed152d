#pragma once

#include "bliss/encoder/classification.hpp"
#include "bliss/encoder/detection.hpp"
#include "bliss/encoder/model.hpp"
#include "bliss/training/config.hpp"
#include "bliss/training/labels.hpp"

namespace bliss::training {

/// Simulated images as the networks read them, with what they should say. B images of T x T labelled tiles.
struct Batch {
    at::Tensor features;      ///< (B, C, 4 T + 48, 4 T + 48)
    encoder::ImageConditions conditions;
    at::Tensor psf_profiles;  ///< (B, k_profile_length)
    at::Tensor is_star;       ///< (sources) 1 or 0
    Labels labels;
    simulator::SampleRange range;
};

[[nodiscard]] Batch make_batch(const TrainingConfig& config, const simulator::GalaxyDecoder* decoder,
                               const simulator::SampleRange& range, std::int64_t images);

/// Windows about the labelled sources, each off its true location by an error of the size the detection encoder gives, as
/// it will be when the classifier follows the detection encoder (paper section 3.1).
[[nodiscard]] encoder::SourceWindows windows_at_inferred_locations(const Batch& batch, const encoder::TilePosterior& q);

/// Mean labelled sources per tile over the training images.
[[nodiscard]] double mean_rate(const simulator::SimulatorConfig& config);

[[nodiscard]] encoder::ModelCard make_card(const TrainingConfig& config, std::int64_t steps, const std::string& metrics_json);

}  // namespace bliss::training
