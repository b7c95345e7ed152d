#pragma once

#include "bliss/encoder/model.hpp"
#include "bliss/survey/frame.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace bliss::inference {

/// What the encoders see of a frame: the features with the padding on all sides, and what conditions the networks.
struct FrameInput {
    at::Tensor features;     ///< (1, C, 4 T_h + 48, 4 T_w + 48); pixel (row, col) of the frame is at (row + 24, col + 24)
    encoder::ImageConditions conditions;   ///< of this one frame
    double background_e = 0;               ///< median of its valid pixels
    std::vector<char> seen;                ///< of each of the networks' tiles, row by row: whether it sees enough to be asked (decision 21)
};

/// The prior rate that the networks are told is left open. @param device where the networks are
[[nodiscard]] FrameInput prepare(const survey::Frame& frame, const encoder::EncoderConfig& config, c10::Device device = c10::kCPU);

/// The detection encoder's trunk on all tiles at once, in strips of rows. @return (rows, cols, hidden + A) of tiles
[[nodiscard]] at::Tensor trunk_dense(encoder::DetectionEncoder& network, const FrameInput& input);

/// The same, padded tile by padded tile: the oracle of the dense form, and slow.
/// @param cells which 4 x 4-pixel tiles (row-major numbers) @return (cells, s, s, hidden + A), with s x s tiles of the networks in each
[[nodiscard]] at::Tensor trunk_tiled(encoder::DetectionEncoder& network, const FrameInput& input, const std::vector<std::int64_t>& cells);

/// Asks the head about tiles. Batches of tiles are each computed on one thread: the bits do not depend on the threads.
/// @param tiles (n, hidden + A) of the trunk @param context (n, context_length) of their neighbourhoods
[[nodiscard]] encoder::TilePosterior ask_head(encoder::DetectionEncoder& network, const at::Tensor& tiles, const at::Tensor& context,
                                              const encoder::ImageConditions& conditions);

}  // namespace bliss::inference
