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

/// A posterior in short: median, half the central 68.3 % interval, 5 % and 95 % quantiles.
struct Interval {
    double median = 0;
    double error = 0;
    double low = 0;
    double high = 0;
};

/// How often the truth lies within one error of the median, and between the 5 % and 95 % quantiles.
struct Coverage {
    std::int64_t count = 0;
    std::int64_t inside_68 = 0;
    std::int64_t inside_90 = 0;

    /// Adds one posterior; nothing when a number is not finite or the error is not positive.
    void add(double truth, const Interval& posterior);
    [[nodiscard]] double share_68() const;  ///< NaN when nothing was added
    [[nodiscard]] double share_90() const;
};

}  // namespace bliss::evaluation
