#pragma once

#include "bliss/encoder/detection.hpp"

namespace bliss::encoder {

/// The numbers of a tile's anchor, in order.
enum AnchorNumber : std::int64_t { anchor_ln_flux, anchor_u, anchor_v, k_anchor_numbers };

/// Numbers that tell of the pixels about an anchor: see `Anchors`.
inline constexpr std::int64_t k_evidence_numbers = 12;

/// The star that every tile shows if it shows one, as its matched filter has it, without any learning (decision 28).
///
/// It is a peak of the filter's answers: a pixel that is the highest among its own eight neighbours. The highest peak of the tile's own
/// pixels is held against the highest of these and the pixels around the tile, whose place may be the tile's only within its error. Where
/// there is no peak the highest pixel is taken. The anchor is the top of the parabola of two dimensions through the answers about it.
struct Anchors {
    /// (B, T_h, T_w, k_anchor_numbers) of AnchorNumber: ln flux against the noise of a pixel, place in tiles
    at::Tensor numbers;
    /// (B, T_h, T_w, k_evidence_numbers) of order one: signal-to-noise ratio; how much more the galaxies' filters answer; whether it is a
    /// peak; its place; its bends; on which side of each of the tile's borders it lies, in units of a star's error of location there
    at::Tensor evidence;
};

/// @param features (B, C, 4 T_h + 48, 4 T_w + 48) of tile::features @param filter_channel of them: the star's matched filter
/// @return ln flux against the noise of a pixel (B, T_h, T_w, 1) of a star where the filter's answer is highest in and around the tile,
/// behind a typical PSF (decision 17)
[[nodiscard]] at::Tensor flux_anchors(const at::Tensor& features, std::int64_t filter_channel, std::int64_t tile_px);

/// The same parameters; and what the images' PSFs are.
[[nodiscard]] Anchors find_anchors(const at::Tensor& features, const ImageConditions& conditions, std::int64_t filter_channel,
                                   std::int64_t tile_px);

}  // namespace bliss::encoder
