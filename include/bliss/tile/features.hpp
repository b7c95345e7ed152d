#pragma once

#include "bliss/survey/frame.hpp"
#include "bliss/survey/psf.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace bliss::tile {

/// Pixels as the networks' raw input: electrons, background and validity of B images.
struct PixelBlock {
    at::Tensor electrons;     ///< (B, H, W) float
    at::Tensor background_e;  ///< (B, 1, 1) or (B, H, W) float, positive
    at::Tensor valid;         ///< (B, H, W) uint8

    /// The same on a device.
    [[nodiscard]] PixelBlock to(c10::Device device) const { return {electrons.to(device), background_e.to(device), valid.to(device)}; }
};

/// Side of a matched filter, pixels.
inline constexpr std::int64_t k_filter_px = 11;
/// Matched filters of an image: for a star, and for round galaxies of two sizes.
inline constexpr std::int64_t k_filter_count = 3;
/// Signal-to-noise ratio at which the compression of a filtered image sets in: about that of the faintest sources.
inline constexpr double k_filtered_scale = 3;

/// The PSF convolved with Gaussians of sigma 0, 1.5 and 3.5 px, cut to the filter's square and scaled to a sum of squares of 1: an
/// image in units of its noise, convolved with it, gives at every pixel the signal-to-noise ratio of such a source's light within
/// the square. Masked pixels count as empty.
/// @return (k_filter_count, k_filter_px, k_filter_px)
[[nodiscard]] at::Tensor matched_filters(const survey::Psf& psf);

/// What the networks see. With u = (x - gamma) / sqrt(gamma): for each compression scale s the channel asinh(u / s); for each
/// matched filter k the channel asinh((u * k) / k_filtered_scale); last the validity. Pixels that are not valid have u = 0.
/// The filters reach k_filter_px / 2 pixels around a pixel; off the image u is 0. The bits do not depend on the threads.
/// @param filters (B, k_filter_count, k_filter_px, k_filter_px), on the device of the pixels, where the features are made, too
/// @return (B, feature_count(scales), H, W), channels last in memory
[[nodiscard]] at::Tensor features(const PixelBlock& pixels, const at::Tensor& filters, const std::vector<double>& compression_scales);

/// The same in a few operations on all images together: what `features` does on a GPU.
[[nodiscard]] at::Tensor features_together(const PixelBlock& pixels, const at::Tensor& filters,
                                           const std::vector<double>& compression_scales);

/// Channels of `features` for one band.
[[nodiscard]] constexpr std::int64_t feature_count(std::size_t compression_scales) {
    return static_cast<std::int64_t>(compression_scales) + k_filter_count + 1;
}

/// Rows [row_begin - padding, row_end + padding) of a frame with the padding of a padded tile on all sides; what lies off
/// the frame is not valid. @return one image (1, row_end - row_begin + 48, W' + 48) with W' the width in whole tiles
[[nodiscard]] PixelBlock padded_rows(const survey::Frame& frame, std::int64_t row_begin, std::int64_t row_end);

/// `padded_rows` of all tiles, on a device.
[[nodiscard]] PixelBlock padded_frame(const survey::Frame& frame, c10::Device device);

/// The same padded on the device itself: what `padded_frame` does on a GPU.
[[nodiscard]] PixelBlock padded_frame_there(const survey::Frame& frame, c10::Device device);

/// Cuts square windows out of the channels. @param centre_col, centre_row pixel of each window's centre (n)
/// @param image index of each window's image (n) @param side window side; the centre is at index side / 2
/// @return (n, C, side, side), zero (not valid) off the image
[[nodiscard]] at::Tensor crops(const at::Tensor& channels, const std::vector<std::int64_t>& image,
                               const std::vector<std::int64_t>& centre_row, const std::vector<std::int64_t>& centre_col,
                               std::int64_t side);

/// The same in a few operations on all windows together: what `crops` does on a GPU, where one copy a window would be slow.
[[nodiscard]] at::Tensor crops_by_index(const at::Tensor& channels, const std::vector<std::int64_t>& image,
                                        const std::vector<std::int64_t>& centre_row, const std::vector<std::int64_t>& centre_col,
                                        std::int64_t side);

}  // namespace bliss::tile
