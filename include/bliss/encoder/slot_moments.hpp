#pragma once

#include "bliss/encoder/detection.hpp"

namespace bliss::encoder {

/// Mean and standard deviation of a source's place in its tile, in tiles, and of ln(flux / electron).
struct SlotMoments {
    struct Of {
        double mean = 0, sd = 0;
    };
    Of u, v, ln_flux;
};

/// Of one slot of one tile, all parts together. @param q float and contiguous (TilePosterior::plain)
[[nodiscard]] SlotMoments slot_moments(const TilePosterior& q, std::int64_t tile, std::int64_t slot);

}  // namespace bliss::encoder
