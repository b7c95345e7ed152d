#pragma once

#include "bliss/survey/wcs.hpp"

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace bliss::catalog {

/// A position of the first list and one of the second that are taken for the same source.
struct MatchedPair {
    std::size_t first = 0;
    std::size_t second = 0;
    double distance_px = 0;  ///< Euclidean
};

/// Matches two lists of positions one to one. A pair may be closer than `limit_px` (> 0) in x and in y; of all such
/// matchings it gives one with the most pairs, and among those the least sum of Euclidean distances.
/// Positions that are not finite match nothing. Pairs come in the order of `first`.
/// @param may_match whether a position of the first list may be paired with one of the second, by their places; empty: any may
/// @source Hansen et al. 2022, section 4: matches within 1 pixel in L-infinity, by assignment.
[[nodiscard]] std::vector<MatchedPair> match_positions(std::span<const survey::PixelPosition> first,
                                                       std::span<const survey::PixelPosition> second, double limit_px = 1,
                                                       const std::function<bool(std::size_t, std::size_t)>& may_match = {});

}  // namespace bliss::catalog
