#pragma once

#include "bliss/encoder/model.hpp"
#include "bliss/survey/frame.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace bliss::inference {

/// What the encoders see of a frame: the features with the padding on all sides, and what conditions the networks.
struct FrameInput {
    at::Tensor features;     ///< (1, C, 4 T_h + 48, 4 T_w + 48); pixel (row, col) of the frame is at (row + 24, col + 24)
    encoder::ImageConditions conditions;   ///< of this one frame
};

/// @param sources_per_tile prior rate the networks are told
[[nodiscard]] FrameInput prepare(const survey::Frame& frame, const encoder::EncoderConfig& config, double sources_per_tile);

/// The detection encoder on all tiles at once, in strips of rows. @return raw outputs (1, K, T_h, T_w)
[[nodiscard]] at::Tensor detect_dense(encoder::DetectionEncoder& network, const FrameInput& input);

/// The same tile by tile, each on its own padded tile: the oracle of the dense form, and slow.
/// @param tiles which (row-major tile numbers) @return raw outputs (1, K, 1, tiles)
[[nodiscard]] at::Tensor detect_tiled(encoder::DetectionEncoder& network, const FrameInput& input,
                                      const std::vector<std::int64_t>& tiles);

/// Moves count posteriors to another source rate: the odds of n sources change by (rate / trained rate)^n.
/// @source Bayes' rule with a Poisson prior, whose probability of n in a tile is proportional to rate^n for small rates.
/// @param count_logits (B, M + 1, T_h, T_w)
[[nodiscard]] at::Tensor retarget_rate(const at::Tensor& count_logits, double rate_ratio);

}  // namespace bliss::inference
