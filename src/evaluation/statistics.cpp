#include "statistics.hpp"

#include "bliss/core/statistics.hpp"

#include <cmath>
#include <limits>

namespace bliss::evaluation::detail {

double mad_scatter(std::vector<double> values) {
    const double centre = median(values);
    for (double& value : values) value = std::abs(value - centre);
    return 1.4826 * median(std::move(values));
}

double ratio(double a, double b) { return b == 0 ? std::numeric_limits<double>::quiet_NaN() : a / b; }

}  // namespace bliss::evaluation::detail
