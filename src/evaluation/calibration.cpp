#include "bliss/evaluation/calibration.hpp"

#include "bliss/core/check.hpp"
#include "statistics.hpp"

#include <algorithm>
#include <cmath>

namespace bliss::evaluation {

std::vector<ReliabilityBin> reliability(std::span<const Forecast> forecasts, int bins) {
    BLISS_EXPECT(bins > 0, "there is a bin");
    std::vector<ReliabilityBin> result(static_cast<std::size_t>(bins));
    for (int i = 0; i < bins; ++i) {
        result[static_cast<std::size_t>(i)].low = static_cast<double>(i) / bins;
        result[static_cast<std::size_t>(i)].high = static_cast<double>(i + 1) / bins;
    }
    for (const Forecast& forecast : forecasts) {
        const int i = std::clamp(static_cast<int>(forecast.p * bins), 0, bins - 1);
        ReliabilityBin& bin = result[static_cast<std::size_t>(i)];
        ++bin.count;
        bin.mean_p += forecast.p;
        bin.share_true += forecast.came_true;
    }
    for (ReliabilityBin& bin : result) {
        bin.mean_p = detail::ratio(bin.mean_p, static_cast<double>(bin.count));
        bin.share_true = detail::ratio(bin.share_true, static_cast<double>(bin.count));
    }
    return result;
}

double expected_calibration_error(std::span<const ReliabilityBin> bins) {
    double sum = 0;
    double count = 0;
    for (const ReliabilityBin& bin : bins) {
        if (bin.count == 0) continue;
        sum += static_cast<double>(bin.count) * std::abs(bin.mean_p - bin.share_true);
        count += static_cast<double>(bin.count);
    }
    return detail::ratio(sum, count);
}

void Coverage::add(double truth, const Interval& posterior) {
    const auto& [median, error, low, high] = posterior;
    for (const double number : {truth, median, error, low, high}) {
        if (!std::isfinite(number)) return;
    }
    if (!(error > 0)) return;
    ++count;
    inside_68 += std::abs(truth - median) <= error;
    inside_90 += truth >= low && truth <= high;
}

double Coverage::share_68() const { return detail::ratio(static_cast<double>(inside_68), static_cast<double>(count)); }
double Coverage::share_90() const { return detail::ratio(static_cast<double>(inside_90), static_cast<double>(count)); }

}  // namespace bliss::evaluation
