#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bliss::evaluation {

struct FieldPair;

/// Where a true count lies among those of the draws: as a rank among them it is uniform on (0, 1) when the draws are calibrated; a count
/// that some draws have too covers an interval.
struct RankInterval {
    double low = 0, high = 0;
};

/// How many sources joint draws hold, against the labelled truth.
struct DrawnCounts {
    std::int64_t draws = 0;   ///< 0: the catalogue holds none
    double drawn = 0;         ///< mean over the draws of the sources in all boxes
    double truth = 0;
    std::int64_t boxes = 0;
    std::vector<RankInterval> ranks;   ///< of the boxes

    /// Share of the boxes whose count lies in the central interval of this probability; NaN without boxes.
    [[nodiscard]] double share_in(double probability) const;
};

/// Counts in square boxes that fill the fields but for a border. @param box_px side
[[nodiscard]] DrawnCounts count_draws(std::span<const FieldPair> fields, double box_px, double border_px);

}  // namespace bliss::evaluation
