#pragma once

#include "bliss/survey/frame.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace bliss::tile {

/// Pixels as the networks' raw input: electrons, background and validity of B images.
struct PixelBlock {
    at::Tensor electrons;     ///< (B, H, W) float
    at::Tensor background_e;  ///< (B, 1, 1) or (B, H, W) float, positive
    at::Tensor valid;         ///< (B, H, W) uint8
};

/// What the networks see: for each compression scale s the channel asinh(u / s) with u = (x - gamma) / sqrt(gamma), and the
/// validity as last channel. Pixels that are not valid are 0 in every channel. Scale constants bring channels to order one.
/// @return (B, scales + 1, H, W), channels last in memory
[[nodiscard]] at::Tensor features(const PixelBlock& pixels, const std::vector<double>& compression_scales);

/// Rows [row_begin - padding, row_end + padding) of a frame with the padding of a padded tile on all sides; what lies off
/// the frame is not valid. @return one image (1, row_end - row_begin + 48, W' + 48) with W' the width in whole tiles
[[nodiscard]] PixelBlock padded_rows(const survey::Frame& frame, std::int64_t row_begin, std::int64_t row_end);

/// Cuts square windows out of the channels. @param centre_col, centre_row pixel of each window's centre (n)
/// @param image index of each window's image (n) @param side window side; the centre is at index side / 2
/// @return (n, C, side, side), zero (not valid) off the image
[[nodiscard]] at::Tensor crops(const at::Tensor& channels, const std::vector<std::int64_t>& image,
                               const std::vector<std::int64_t>& centre_row, const std::vector<std::int64_t>& centre_col,
                               std::int64_t side);

}  // namespace bliss::tile
