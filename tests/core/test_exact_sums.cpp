#include "bliss/core/exact_sums.hpp"

#include "bliss/core/random.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <limits>
#include <vector>

using namespace bliss;
using Catch::Matchers::WithinAbs;

namespace {

constexpr std::size_t k_size = 100;

std::vector<std::vector<float>> some_terms(int count) {
    RandomStream random{1, StreamPurpose::catalog, 0, 0};
    std::vector<std::vector<float>> terms(static_cast<std::size_t>(count), std::vector<float>(k_size));
    for (auto& vector : terms) {
        for (float& term : vector) term = static_cast<float>(random.normal() * random.log_uniform(1e-6, 1e3));
    }
    return terms;
}

std::vector<float> read(const ExactSums& sums) {
    std::vector<float> out(k_size);
    sums.read(out);
    return out;
}

}  // namespace

TEST_CASE("sums are the same in any order and any parts, and right to the rounding of their terms") {
    const auto terms = some_terms(37);
    ExactSums forward{k_size}, backward{k_size}, first{k_size}, second{k_size};
    std::vector<double> expected(k_size);
    for (std::size_t k = 0; k < terms.size(); ++k) {
        REQUIRE(forward.add(terms[k]));
        REQUIRE(backward.add(terms[terms.size() - 1 - k]));
        REQUIRE((k % 3 == 0 ? first : second).add(terms[k]));
        for (std::size_t i = 0; i < k_size; ++i) expected[i] += terms[k][i];
    }
    first.add(second, 0, k_size / 2);
    first.add(second, k_size / 2, k_size);
    CHECK(read(backward) == read(forward));
    CHECK(read(first) == read(forward));
    for (std::size_t i = 0; i < k_size; ++i) CHECK_THAT(read(forward)[i], WithinAbs(expected[i], 1e-10 + 1e-7 * std::abs(expected[i])));
    forward.clear();
    CHECK(read(forward) == std::vector<float>(k_size));
}

TEST_CASE("what cannot be added is not, not even in part") {
    ExactSums sums{k_size};
    REQUIRE(sums.add(some_terms(1)[0]));
    const auto before = read(sums);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -8192.0f}) {
        auto terms = some_terms(1)[0];
        terms.back() = bad;
        CHECK_FALSE(sums.add(terms));
        CHECK(read(sums) == before);
    }
    CHECK(ExactSums{1, 24}.add(std::vector<float>{5e8f}));
    CHECK_FALSE(ExactSums{1, 24}.add(std::vector<float>{6e8f}));
}
