#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace bliss {

/// The median, of an even number the mean of the middle two; NaN without values.
template <class T>
[[nodiscard]] double median(std::vector<T> values) {
    if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
    const auto middle = values.begin() + std::ssize(values) / 2;
    std::ranges::nth_element(values, middle);
    const double upper = *middle;
    if (values.size() % 2 == 1) return upper;
    return (upper + *std::max_element(values.begin(), middle)) / 2;
}

/// P(chi^2 > x), of `freedom` degrees that need not be whole. Wilson and Hilferty's approximation: within 0.005 from three degrees on,
/// within 0.001 from ten on.
[[nodiscard]] inline double chi_square_tail(double x, double freedom) {
    const double ninth = 2 / (9 * freedom);
    return 0.5 * std::erfc((std::cbrt(x / freedom) - (1 - ninth)) / std::sqrt(2 * ninth));
}

/// Kolmogorov-Smirnov distance of two samples: the largest difference of their distribution functions, 0 ... 1; NaN without values.
[[nodiscard]] inline double ks_distance(std::vector<double> a, std::vector<double> b) {
    if (a.empty() || b.empty()) return std::numeric_limits<double>::quiet_NaN();
    std::ranges::sort(a);
    std::ranges::sort(b);
    double largest = 0;
    std::size_t i = 0, j = 0;
    while (i < a.size() && j < b.size()) {
        const double at = std::min(a[i], b[j]);
        while (i < a.size() && a[i] == at) ++i;
        while (j < b.size() && b[j] == at) ++j;
        const double difference =
            static_cast<double>(i) / static_cast<double>(a.size()) - static_cast<double>(j) / static_cast<double>(b.size());
        largest = std::max(largest, std::abs(difference));
    }
    return largest;
}

}  // namespace bliss
