#include "bliss/inference/candidates.hpp"

#include "bliss/inference/posterior.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace {

using namespace bliss;
using namespace bliss::inference;
using Catch::Matchers::WithinAbs;
using Catch::Matchers::WithinRel;

/// What one tile says: a Normal of the width given about a place in it.
Candidate candidate(std::int32_t row, std::int32_t col, double p, double x, double y, double sd) {
    Candidate c;
    c.tile = {row, col};
    c.p_source = p;
    c.x_px = {x, sd};
    c.y_px = {y, sd};
    c.parts = {{c.tile, p, (x + 0.5) / 4 - col, sd / 4, (y + 0.5) / 4 - row, sd / 4, 7, 0.2}};
    return c;
}

/// A posterior with the widths given everywhere, and the other numbers as `map` makes them from a pair.
template <class Map>
encoder::TilePosterior posterior(const at::Tensor& count_logits, const Map& map, std::pair<float, float> u, float place_sd,
                                 std::pair<float, float> ln_flux, float ln_flux_sd) {
    encoder::TilePosterior q;
    q.count_logits = count_logits;
    q.log_weight = map(0, 0);
    q.u_mean = map(u.first, u.second);
    q.v_mean = map(0.5f, 0.5f);
    q.u_sd = q.v_sd = map(place_sd, place_sd);
    q.ln_flux_mean = map(ln_flux.first, ln_flux.second);
    q.ln_flux_sd = map(ln_flux_sd, ln_flux_sd);
    return q;
}

}  // namespace

TEST_CASE("candidates carry the tile posterior's moments in pixels") {
    encoder::TilePosterior q;
    q.count_logits = torch::tensor({-9.0f, -9.0f}).view({1, 2, 1, 1}).repeat({1, 1, 2, 3});
    q.count_logits[0][0].fill_(4.0f);
    q.count_logits[0][1].fill_(0.0f);
    q.count_logits[0][1][1][2] = 6.0f;
    const auto map = [](float value) { return torch::full({1, 1, 1, 2, 3}, value); };
    q.log_weight = map(0.0f);
    q.u_mean = map(0.5f);
    q.v_mean = map(0.25f);
    q.u_sd = q.v_sd = map(0.02f);
    q.ln_flux_mean = map(7.2f);
    q.ln_flux_sd = map(0.3f);
    const Detections all = list_candidates(q, 1, 0.5);
    REQUIRE(all.candidates.size() == 1);
    const Candidate& c = all.candidates[0];
    CHECK(c.tile == TileIndex{1, 2});
    CHECK_THAT(c.p_source, WithinAbs(1 / (1 + std::exp(-2.0)), 1e-5));
    CHECK_THAT(c.x_px.mean, WithinAbs(4 * 2.5 - 0.5, 1e-3));
    CHECK_THAT(c.y_px.mean, WithinAbs(4 * 1.25 - 0.5, 1e-3));
    CHECK_THAT(c.x_px.sd, WithinRel(0.08, 1e-3));
    CHECK_THAT(all.expected_sources, WithinRel(1 / (1 + std::exp(-2.0)) + 5 / (1 + std::exp(4.0)), 1e-4));
    CHECK(list_candidates(q, 1, 0.01).candidates.size() == 6);
}

TEST_CASE("the parts of one tile are one claim, with the moments of their mixture") {
    encoder::TilePosterior q;
    q.count_logits = torch::tensor({0.0f, 2.0f}).view({1, 2, 1, 1});
    const auto two = [](float first, float second) { return torch::tensor({first, second}).view({1, 1, 2, 1, 1}); };
    q.log_weight = torch::log(two(0.75f, 0.25f));
    q.u_mean = two(0.4f, 0.6f);
    q.v_mean = two(0.5f, 0.5f);
    q.u_sd = q.v_sd = two(0.02f, 0.05f);
    q.ln_flux_mean = two(7, 8);
    q.ln_flux_sd = two(0.1f, 0.4f);
    const Detections all = list_candidates(q, 1, 0.5);
    REQUIRE(all.candidates.size() == 1);
    const Candidate& c = all.candidates[0];
    REQUIRE(c.parts.size() == 2);
    CHECK_THAT(c.parts[0].weight, WithinRel(0.75 * c.p_source, 1e-5));
    CHECK_THAT(c.x_px.mean, WithinAbs(4 * 0.45 - 0.5, 1e-4));
    CHECK_THAT(c.x_px.sd, WithinRel(4 * std::sqrt(0.75 * 0.0004 + 0.25 * 0.0025 + 0.75 * 0.25 * 0.04), 1e-3));
    const Source source = summarize(c);
    CHECK_FALSE(source.merged);
    CHECK(source.ln_flux_e.median > 7);
    CHECK(source.ln_flux_e.high > 8);
}

TEST_CASE("a source on a border is reported once, with the sum of its probabilities") {
    const auto joined = join_across_borders({candidate(3, 3, 0.55, 15.3, 14, 0.15), candidate(3, 4, 0.43, 15.65, 14.1, 0.15)}, 0.05);
    REQUIRE(joined.size() == 1);
    CHECK_THAT(joined[0].p_source, WithinRel(0.98, 1e-9));
    REQUIRE(joined[0].parts.size() == 2);
    CHECK(joined[0].parts[0].weight == 0.55);
    CHECK(joined[0].parts[1].tile == TileIndex{3, 4});
}

TEST_CASE("a source on a corner is joined from four tiles") {
    const auto joined = join_across_borders({candidate(3, 3, 0.3, 15.3, 15.3, 0.2), candidate(3, 4, 0.28, 15.7, 15.3, 0.2),
                                             candidate(4, 3, 0.22, 15.3, 15.7, 0.2), candidate(4, 4, 0.18, 15.7, 15.7, 0.2)}, 0.05);
    REQUIRE(joined.size() == 1);
    CHECK_THAT(joined[0].p_source, WithinRel(0.98, 1e-9));
}

TEST_CASE("two certain sources stay two, however close; far ones too") {
    CHECK(join_across_borders({candidate(3, 3, 0.97, 15.0, 14, 0.1), candidate(3, 4, 0.96, 16.0, 14, 0.1)}, 0.05).size() == 2);
    CHECK(join_across_borders({candidate(3, 3, 0.5, 12.5, 14, 0.1), candidate(3, 4, 0.5, 18.5, 14, 0.1)}, 0.05).size() == 2);
    CHECK(join_across_borders({candidate(3, 3, 0.5, 15.3, 14, 0.1), candidate(3, 5, 0.5, 15.6, 14, 0.1)}, 0.05).size() == 2);
}

TEST_CASE("two certain claims at one place on a border are one source") {
    const auto joined = join_across_borders({candidate(3, 3, 0.9, 15.4, 14, 0.05), candidate(3, 4, 0.8, 15.6, 14.05, 0.05)}, 0.05);
    REQUIRE(joined.size() == 1);
    CHECK(joined[0].p_source < 1);
    CHECK(joined[0].tiles == 2);
}

TEST_CASE("a certain source away from the border leaves a faint neighbour of unknown place alone") {
    const Candidate certain = candidate(3, 3, 0.97, 13.0, 13.5, 0.1), faint = candidate(3, 4, 0.3, 16.2, 13.5, 1.1);
    const auto apart = join_across_borders({certain, faint}, 0.05);
    REQUIRE(apart.size() == 2);
    CHECK(apart[0].p_source == 0.97);
    CHECK(apart[1].p_source == 0.3);
    CHECK(join_across_borders({candidate(3, 3, 0.97, 13.5, 13.0, 0.1), candidate(4, 3, 0.3, 13.5, 16.2, 1.1)}, 0.05).size() == 2);
    const Candidate unsure = candidate(3, 3, 0.6, 13.0, 13.5, 0.9);  // could itself lie over there
    CHECK(join_across_borders({unsure, faint}, 0.05).size() == 1);
}

TEST_CASE("the floor is judged after joining, and the result is in tile order") {
    const auto joined = join_across_borders({candidate(2, 9, 0.9, 37, 9, 0.1), candidate(3, 3, 0.03, 15.3, 14, 0.3),
                                             candidate(3, 4, 0.04, 15.6, 14, 0.3), candidate(7, 0, 0.03, 1, 30, 0.3)}, 0.05);
    REQUIRE(joined.size() == 2);
    CHECK(joined[0].tile == TileIndex{2, 9});
    CHECK(joined[1].tile == TileIndex{3, 4});
}

TEST_CASE("a certain source on a border stays certain at another rate") {
    // Two tiles with odds one each: by itself each would fall to 1/5 at a quarter of the rate; together they are one source.
    const auto tiles = [](float left, float right) { return torch::tensor({left, right}).view({1, 1, 1, 1, 2}); };
    const encoder::TilePosterior q = posterior(torch::zeros({1, 2, 1, 2}), tiles, {1, 0}, 0.05f, {9, 9}, 0.1f);
    const FieldSources found = find_sources(q, 0.25, 0.05);
    REQUIRE(found.sources.size() == 1);
    CHECK(found.sources[0].p_source > 0.99);
    CHECK_THAT(found.sources[0].x_px.median, WithinAbs(3.5, 1e-3));
    CHECK_THAT(found.sources[0].x_px.error, WithinRel(0.2, 1e-2));  // two halves of one Normal of sd 0.05 tiles
    CHECK_THAT(found.expected_sources, WithinAbs(1, 0.01));
}

TEST_CASE("a source's estimates are median and central interval of the mixture of its tiles") {
    Candidate claims = candidate(3, 3, 0.55, 15.3, 14, 0.15);
    claims.parts.push_back({{3, 4}, 0.43, 0.02, 0.06, 0.4, 0.2, 7.3, 0.5});
    claims.tiles = 2;
    const Source source = summarize(claims);
    CHECK(source.merged);
    // The mixture's distribution function on a fine grid, from the textbook form of each part.
    const auto phi = [](double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); };
    const auto part_below = [&](const TilePart& part, double x) {
        const double t = std::clamp((x + 0.5) / 4 - part.tile.col, 0.0, 1.0), low = phi(-part.u_mean / part.u_sd);
        return part.weight * (phi((t - part.u_mean) / part.u_sd) - low) / (phi((1 - part.u_mean) / part.u_sd) - low);
    };
    const auto quantile = [&](double p) {
        double x = 14;
        while ((part_below(claims.parts[0], x) + part_below(claims.parts[1], x)) / 0.98 < p) x += 1e-4;
        return x;
    };
    CHECK_THAT(source.x_px.median, WithinAbs(quantile(0.5), 3e-4));
    CHECK_THAT(source.x_px.error, WithinAbs(0.5 * (quantile(0.841345) - quantile(0.158655)), 3e-4));
    CHECK_THAT(source.x_px.low, WithinAbs(quantile(0.05), 3e-4));
    CHECK_THAT(source.x_px.high, WithinAbs(quantile(0.95), 3e-4));
    const auto flux_below = [&](double f) { return (0.55 * phi((f - 7) / 0.2) + 0.43 * phi((f - 7.3) / 0.5)) / 0.98; };
    CHECK_THAT(flux_below(source.ln_flux_e.median), WithinAbs(0.5, 1e-3));
    CHECK_THAT(flux_below(source.ln_flux_e.low), WithinAbs(0.05, 1e-3));
    CHECK_THAT(flux_below(source.ln_flux_e.high), WithinAbs(0.95, 1e-3));
    CHECK(source.ln_flux_e.error > 0.2);
    CHECK(source.ln_flux_e.error < 0.5);
}

TEST_CASE("a neighbour's faint claim leaves a certain source's estimates as they are") {
    const Candidate one = candidate(3, 3, 0.97, 14.0, 14, 0.05);
    Candidate two = one;
    two.parts.push_back({{3, 4}, 0.02, 0.5, 0.3, 0.4, 0.2, 5.5, 0.5});
    const Source alone = summarize(one), joined = summarize(two);
    CHECK_THAT(joined.x_px.median, WithinAbs(alone.x_px.median, 0.1 * 0.05));
    CHECK_THAT(joined.x_px.error, WithinRel(alone.x_px.error, 0.1));
    CHECK_THAT(joined.ln_flux_e.median, WithinAbs(alone.ln_flux_e.median, 0.1 * 0.2));
    CHECK_THAT(joined.ln_flux_e.error, WithinRel(alone.ln_flux_e.error, 0.1));
}

TEST_CASE("a lone candidate's odds follow the rate, and the floor is the survey's") {
    CHECK_THAT(retarget(0.5, 0.25), WithinRel(0.2, 1e-12));
    CHECK_THAT(retarget(retarget(0.37, 0.3), 1 / 0.3), WithinRel(0.37, 1e-12));
    CHECK(retarget(1, 0.3) == 1);
}

TEST_CASE("another source rate moves the odds of n sources by the ratio to the power n") {
    const at::Tensor logits = torch::tensor({0.2f, -1.0f, -3.0f}).view({1, 3, 1, 1});
    const at::Tensor p = torch::softmax(logits, 1).flatten(), moved = torch::softmax(retarget_rate(logits, 0.25), 1).flatten();
    const auto odds = [](const at::Tensor& t, int n) { return (t[n] / t[0]).item<double>(); };
    CHECK_THAT(odds(moved, 1), WithinRel(0.25 * odds(p, 1), 1e-5));
    CHECK_THAT(odds(moved, 2), WithinRel(0.0625 * odds(p, 2), 1e-5));
}

TEST_CASE("a tile may hold two sources: each slot has the probability that the count exceeds it") {
    const auto slots = [](float first, float second) { return torch::tensor({first, second}).view({1, 2, 1, 1, 1}); };
    const at::Tensor counts = torch::log(torch::tensor({0.1f, 0.3f, 0.6f})).view({1, 3, 1, 1});
    const encoder::TilePosterior q = posterior(counts, slots, {0.25f, 0.75f}, 0.02f, {9, 7}, 0.1f);
    const FieldSources found = find_sources(q, 1, 0.05);
    REQUIRE(found.sources.size() == 2);
    CHECK_THAT(found.expected_sources, WithinRel(0.3 + 2 * 0.6, 1e-5));
    for (const std::int32_t slot : {0, 1}) {
        const Source& source = found.sources[static_cast<std::size_t>(slot)];
        CHECK(source.slot == slot);
        CHECK(source.multiple);
        CHECK_FALSE(source.merged);
        CHECK_THAT(source.p_source, WithinRel(slot == 0 ? 0.9 : 0.6, 1e-5));
        CHECK_THAT(source.x_px.median, WithinAbs(slot == 0 ? 0.5 : 2.5, 1e-3));
        CHECK_THAT(source.ln_flux_e.median, WithinAbs(slot == 0 ? 9 : 7, 1e-5));
    }
    // At a quarter of the rate the weights are 0.1, 0.3 / 4 and 0.6 / 16.
    const FieldSources fewer = find_sources(q, 0.25, 0.05);
    const double total = 0.1 + 0.075 + 0.0375;
    REQUIRE(fewer.sources.size() == 2);
    CHECK_THAT(fewer.sources[0].p_source, WithinRel((0.075 + 0.0375) / total, 1e-5));
    CHECK_THAT(fewer.sources[1].p_source, WithinRel(0.0375 / total, 1e-5));
    CHECK_THAT(fewer.expected_sources, WithinRel((0.075 + 2 * 0.0375) / total, 1e-5));
    CHECK_FALSE(fewer.sources[0].multiple);
}
