#pragma once

#include "bliss/survey/wcs.hpp"

#include <cstdint>
#include <vector>

namespace bliss::survey {

/// Consecutive HEALPix pixels: first, ..., last.
struct PixelRange {
    std::int64_t first = 0;
    std::int64_t last = 0;

    bool operator==(const PixelRange&) const = default;
};

/// The HEALPix pixel (NESTED, nside = 2^order) of a place on the sky, in equatorial coordinates; -1 for one that is not finite.
/// @param order 0 to 29
[[nodiscard]] std::int64_t healpix_pixel(int order, SkyPosition sky);

/// All pixels that a cone touches, and perhaps a few beside it, as ascending ranges that do not touch each other.
/// @param radius_deg 0 to 180
[[nodiscard]] std::vector<PixelRange> healpix_cone(int order, SkyPosition centre, double radius_deg);

}  // namespace bliss::survey
