#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>
#include <functional>
#include <set>

namespace {

using namespace bliss;
using Catch::Matchers::WithinAbs;

struct Sample {
    double mean = 0;
    double variance = 0;
};

constexpr int k_draws = 200'000;

Sample sample(const std::function<double(RandomStream&)>& draw) {
    RandomStream random{42, StreamPurpose::catalog, 1, 2};
    double sum = 0, square = 0;
    for (int i = 0; i < k_draws; ++i) {
        const double x = draw(random);
        sum += x;
        square += x * x;
    }
    const double mean = sum / k_draws;
    return {mean, square / k_draws - mean * mean};
}

/// Five standard errors of the mean, and of the variance given the kurtosis.
void check_moments(const Sample& s, double mean, double variance, double kurtosis) {
    CHECK_THAT(s.mean, WithinAbs(mean, 5 * std::sqrt(variance / k_draws)));
    CHECK_THAT(s.variance, WithinAbs(variance, 5 * variance * std::sqrt((kurtosis - 1) / k_draws)));
}

}  // namespace

TEST_CASE("distributions have their mean and variance") {
    check_moments(sample([](RandomStream& r) { return r.uniform(); }), 0.5, 1.0 / 12, 1.8);
    check_moments(sample([](RandomStream& r) { return r.normal(); }), 0, 1, 3);
    for (const double mean : {0.3, 12.0, 29.9, 30.1, 900.0}) {
        INFO("Poisson " << mean);
        check_moments(sample([mean](RandomStream& r) { return static_cast<double>(r.poisson(mean)); }), mean, mean, 3 + 1 / mean);
    }
    for (const double shape : {0.39330758, 1.0, 7.5}) {
        INFO("Gamma " << shape);
        check_moments(sample([shape](RandomStream& r) { return r.gamma(shape); }), shape, shape, 3 + 6 / shape);
    }
}

TEST_CASE("a stream depends on all of its keys and on nothing else") {
    const auto first = [](std::uint64_t seed, StreamPurpose purpose, std::uint32_t step, std::uint32_t sample_number, std::uint32_t part) {
        return RandomStream{seed, purpose, step, sample_number, part}.bits();
    };
    CHECK(first(1, StreamPurpose::noise, 2, 3, 4) == first(1, StreamPurpose::noise, 2, 3, 4));
    const std::set<std::uint32_t> different{first(1, StreamPurpose::noise, 2, 3, 4), first(1ull << 32, StreamPurpose::noise, 2, 3, 4),
                                            first(2, StreamPurpose::noise, 2, 3, 4), first(1, StreamPurpose::mask, 2, 3, 4),
                                            first(1, StreamPurpose::noise, 3, 3, 4), first(1, StreamPurpose::noise, 2, 4, 4),
                                            first(1, StreamPurpose::noise, 2, 3, 5)};
    CHECK(different.size() == 7);
}
