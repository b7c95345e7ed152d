#pragma once

#include <algorithm>
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

}  // namespace bliss
