#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace bliss::evaluation {

/// A probability that was stated and whether what it is about was so.
struct Forecast {
    double p = 0;
    bool came_true = false;
};

/// Forecasts with p in [low, high).
struct ReliabilityBin {
    double low = 0;
    double high = 0;
    std::int64_t count = 0;
    double mean_p = 0;      ///< NaN without forecasts
    double share_true = 0;  ///< NaN without forecasts
};

/// Equal-width bins over [0, 1]; p = 1 falls into the last.
[[nodiscard]] std::vector<ReliabilityBin> reliability(std::span<const Forecast> forecasts, int bins = 10);

/// Expected calibration error: mean over forecasts of |mean p - share true| of their bin; NaN without forecasts.
/// @source Guo et al. 2017, equation 3.
[[nodiscard]] double expected_calibration_error(std::span<const ReliabilityBin> bins);

/// How often the truth lies in the central 50 % and 90 % intervals of Normal posteriors.
struct Coverage {
    std::int64_t count = 0;
    std::int64_t inside_50 = 0;
    std::int64_t inside_90 = 0;

    /// Adds one posterior; nothing when the numbers are not finite or the standard deviation is not positive.
    void add(double truth, double mean, double sd);
    [[nodiscard]] double share_50() const;  ///< NaN when nothing was added
    [[nodiscard]] double share_90() const;
};

}  // namespace bliss::evaluation
