#include "bliss/evaluation/calibration.hpp"

#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>

using namespace bliss;
using namespace bliss::evaluation;
using Catch::Matchers::WithinAbs;

namespace {

constexpr int k_draws = 100'000;

/// Forecasts p that come true with probability `truth_of(p)`.
template <class Truth>
double error_of(Truth&& truth_of) {
    RandomStream stream{1, StreamPurpose::posterior, 0, 0};
    std::vector<Forecast> forecasts;
    for (int i = 0; i < k_draws; ++i) {
        const double p = stream.uniform();
        forecasts.push_back({p, stream.uniform() < truth_of(p)});
    }
    return expected_calibration_error(reliability(forecasts));
}

}  // namespace

TEST_CASE("honest forecasts have no calibration error but noise, dishonest ones have theirs") {
    // Noise: each of 10 bins of 10,000 has a standard error of at most .005.
    CHECK(error_of([](double p) { return p; }) < 0.008);
    // The mean of |p - p^2| over [0, 1] is 1/6.
    CHECK_THAT(error_of([](double p) { return p * p; }), WithinAbs(1.0 / 6, 0.01));
}

TEST_CASE("bins hold their ends as they should") {
    const Forecast forecasts[] = {{0, false}, {0.5, true}, {1, true}, {1, false}};
    const auto bins = reliability(forecasts, 2);
    CHECK(bins[0].count == 1);
    CHECK(bins[1].count == 3);
    CHECK_THAT(bins[1].mean_p, WithinAbs(2.5 / 3, 1e-12));
    CHECK_THAT(bins[1].share_true, WithinAbs(2.0 / 3, 1e-12));
    CHECK(std::isnan(expected_calibration_error(reliability({}))));
}

TEST_CASE("Normal draws lie in their 68 and 90 percent intervals that often") {
    RandomStream stream{2, StreamPurpose::posterior, 0, 0};
    Coverage honest;
    Coverage too_sure;
    const auto interval = [](double sd) { return Interval{10, sd, 10 - 1.6448536 * sd, 10 + 1.6448536 * sd}; };
    for (int i = 0; i < k_draws; ++i) {
        const double truth = 10 + 3 * stream.normal();
        honest.add(truth, interval(3));
        too_sure.add(truth, interval(1));
    }
    // Standard error .0015 and .0009.
    CHECK_THAT(honest.share_68(), WithinAbs(0.6827, 0.006));
    CHECK_THAT(honest.share_90(), WithinAbs(0.9, 0.004));
    CHECK_THAT(too_sure.share_90(), WithinAbs(0.4165, 0.006));  // 2 Phi(1.6449 / 3) - 1
}

TEST_CASE("posteriors that say nothing are not counted") {
    Coverage coverage;
    coverage.add(std::nan(""), {0, 1, -2, 2});
    coverage.add(0, {0, 0, -2, 2});
    coverage.add(0, {0, 1, std::nan(""), 2});
    CHECK(coverage.count == 0);
    CHECK(std::isnan(coverage.share_68()));
}
