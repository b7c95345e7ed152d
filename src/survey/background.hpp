#pragma once

#include "bliss/core/image.hpp"

namespace bliss::survey {

/// The smooth level of an image: sigma-clipped medians of boxes of about `box_px`, joined bilinearly between the boxes'
/// centres and constant outside them. Boxes with too few valid pixels take the mean of their nearest neighbours'.
/// @param valid pixels that are 0 do not count.
/// @throws DataError when no box has enough valid pixels.
[[nodiscard]] Image<float> estimate_background(const Image<float>& image, const Image<std::uint8_t>& valid,
                                               std::int64_t box_px = 128);

}  // namespace bliss::survey
