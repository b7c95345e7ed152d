#include "bliss/evaluation/drawn_counts.hpp"

#include "bliss/core/random.hpp"
#include "bliss/evaluation/metrics.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>

#include <cmath>

namespace {

using namespace bliss;
using namespace bliss::evaluation;
using Catch::Matchers::WithinAbs;

TruthSource source_at(double x, double y, bool labelled = true) { return {.x_px = x, .y_px = y, .labelled = labelled}; }

catalog::SampleRow drawn_at(std::int32_t sample, double x, double y) {
    catalog::SampleRow row{};
    row.sample = sample;
    row.x_px = x;
    row.y_px = y;
    return row;
}

}  // namespace

TEST_CASE("counts of a few draws in boxes, by hand") {
    // With a border of 10 px, 2 x 3 boxes of 20 px: columns from 10 to 70, rows from 10 to 50.
    const std::vector<TruthSource> truth{source_at(15, 15), source_at(29.9, 10), source_at(30.1, 10), source_at(15, 20, false),
                                         source_at(5, 15)};
    const std::vector<catalog::SampleRow> samples{drawn_at(0, 12, 12), drawn_at(0, 20, 20), drawn_at(1, 12, 12), drawn_at(1, 40, 12),
                                                  drawn_at(2, 12, 60), drawn_at(2, 71, 15)};
    const FieldPair field{.truth = truth, .height_px = 61, .width_px = 81, .samples = samples};
    const DrawnCounts counts = count_draws(std::span{&field, 1}, 20, 10);
    CHECK(counts.draws == 3);
    CHECK(counts.boxes == 6);
    CHECK(counts.truth == 3);
    CHECK_THAT(counts.drawn, WithinAbs(4.0 / 3, 1e-12));
    // The first box truly has 2; the draws 2, 1 and 0: two are below, one is equal.
    CHECK_THAT(counts.ranks[0].low, WithinAbs(0.5, 1e-12));
    CHECK_THAT(counts.ranks[0].high, WithinAbs(1, 1e-12));
    // The second has 1; the draws 0, 1 and 0. The last has nothing, in truth and in all draws.
    CHECK_THAT(counts.ranks[1].low, WithinAbs(0.5, 1e-12));
    CHECK_THAT(counts.ranks[5].low, WithinAbs(0, 1e-12));
    CHECK_THAT(counts.ranks[5].high, WithinAbs(1, 1e-12));
    CHECK_THAT(counts.share_in(0.5), WithinAbs((2 * 0.5 + 4 * 0.5) / 6, 1e-12));
}

TEST_CASE("draws from the truth's own distribution are calibrated, biased ones are not") {
    RandomStream random{9, StreamPurpose::catalog, 0, 0};
    const auto share = [&](double rate_of_draws) {
        std::vector<TruthSource> truth;
        std::vector<catalog::SampleRow> samples;
        for (double y = 10; y < 400; y += 20) {
            for (double x = 10; x < 400; x += 20) {
                for (std::int64_t n = random.poisson(6); n > 0; --n) truth.push_back(source_at(x, y));
                for (std::int32_t k = 0; k < 32; ++k) {
                    for (std::int64_t n = random.poisson(rate_of_draws); n > 0; --n) samples.push_back(drawn_at(k, x, y));
                }
            }
        }
        const FieldPair field{.truth = truth, .height_px = 401, .width_px = 401, .samples = samples};
        const DrawnCounts counts = count_draws(std::span{&field, 1}, 20, 0);
        REQUIRE(counts.boxes == 400);
        return counts.share_in(0.9);
    };
    CHECK_THAT(share(6), WithinAbs(0.9, 0.05));  // over three standard errors of 400 boxes
    CHECK(share(3) < 0.7);
}

TEST_CASE("a catalogue without draws has no counts") {
    const FieldPair field{.height_px = 100, .width_px = 100};
    CHECK(count_draws(std::span{&field, 1}, 20, 0).draws == 0);
    CHECK(std::isnan(DrawnCounts{}.share_in(0.9)));
}
