#pragma once

#include <vector>

namespace bliss::evaluation::detail {

/// 1.4826 median absolute deviation from the median: the standard deviation of Normal values, deaf to outliers.
[[nodiscard]] double mad_scatter(std::vector<double> values);

/// a / b; NaN where b is 0.
[[nodiscard]] double ratio(double a, double b);

}  // namespace bliss::evaluation::detail
