#include "statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bliss::evaluation::detail {

double median(std::vector<double> values) {
    if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
    const auto middle = values.begin() + std::ssize(values) / 2;
    std::ranges::nth_element(values, middle);
    const double upper = *middle;
    if (values.size() % 2 == 1) return upper;
    return (upper + *std::max_element(values.begin(), middle)) / 2;
}

double mad_scatter(std::vector<double> values) {
    const double centre = median(values);
    for (double& value : values) value = std::abs(value - centre);
    return 1.4826 * median(std::move(values));
}

double ratio(double a, double b) { return b == 0 ? std::numeric_limits<double>::quiet_NaN() : a / b; }

}  // namespace bliss::evaluation::detail
